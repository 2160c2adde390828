//! Kubernetes' quantities: `500m`, `1.5`, `64Mi`, `1e3`.

/// A quantity in thousandths, rounded up as Kubernetes does; `None` if it is none.
pub fn thousandths(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || part.contains('.') || number.len() > 40 {
        return None;
    }
    // The number as an integer over a power of ten, exactly.
    let mantissa: u128 = format!("{whole}{part}").parse().ok()?;
    let below = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let (factor, divisor) = scale(unit)?;
    let above = mantissa.checked_mul(factor)?.checked_mul(1000)?;
    let below = below.checked_mul(divisor)?;
    u64::try_from(above.div_ceil(below)).ok()
}

/// A whole quantity (bytes), rounded up.
pub fn whole(text: &str) -> Option<u64> {
    thousandths(text).map(|thousandths| thousandths.div_ceil(1000))
}

fn scale(unit: &str) -> Option<(u128, u128)> {
    Some(match unit {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (10_u128.pow(15), 1),
        "E" => (10_u128.pow(18), 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let number = exponent.strip_prefix(['e', 'E'])?;
            let number: i32 = number.parse().ok()?;
            let power = 10_u128.checked_pow(number.unsigned_abs())?;
            if number < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_kubernetes() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("500m", Some(500)),
            ("0.1", Some(100)),
            (".5", Some(500)),
            ("1u", Some(1)),
            ("1e3", Some(1_000_000)),
            ("12E-1", Some(1200)),
            ("2Ki", Some(2_048_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("-1", None),
            ("1Xi", None),
            ("1e99", None),
            ("99999999999999999999Ei", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text}");
        }
        assert_eq!(whole("1m"), Some(1));
    }
}
