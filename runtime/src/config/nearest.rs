//! What somebody may have meant by a word that nobody knows.

/// The known word that is nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip for each three letters: `moode` is `mode`, `x` is nothing.
    let allowed = word.chars().count().min(MAX_LETTERS) / 3;
    known
        .into_iter()
        .map(|candidate| (slips(word, candidate), candidate))
        .filter(|(slips, _)| *slips <= allowed.max(1) && word.chars().count() > 1)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean NAME?`, or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

/// Longer words are not compared to their end.
const MAX_LETTERS: usize = 40;

/// The number of letters that are to be changed, added, taken away, or exchanged with
/// their neighbour (optimal string alignment).
fn slips(a: &str, b: &str) -> usize {
    let [a, b] = [a, b].map(|word| word.chars().take(MAX_LETTERS).collect::<Vec<char>>());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let above = &rows[i - 1];
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_if_it_is_near() {
        let known = ["dumb-init", "init", "systemd", "sbin-init", "auto"];
        for (word, meant) in [
            ("systmd", Some("systemd")),
            ("ssytemd", Some("systemd")),
            ("dumbinit", Some("dumb-init")),
            ("sbin_init", Some("sbin-init")),
            ("inti", Some("init")),
            ("upstart", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(did_you_mean("atuo", known), "; did you mean auto?");
        assert_eq!(did_you_mean("runit-x", known), "");
        let long = "s".repeat(1 << 20);
        assert_eq!(nearest(&long, known), None);
    }
}
