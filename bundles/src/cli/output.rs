//! How lists are printed: tables, JSON, templates; times as people read them.

use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;
use serde_json::Value;

use super::template::Template;
use crate::error::{At, Error, Result};

/// A way to print a list.
pub(super) enum Style {
    /// Columns.
    Table,
    /// A JSON document a line: for jq.
    Json,
    /// A template a line.
    Template(Template),
}

/// `table`, `json` or a template.
pub(super) fn style(word: &str) -> Result<Style> {
    match word {
        "table" => Ok(Style::Table),
        "json" => Ok(Style::Json),
        text if text.contains("{{") => Ok(Style::Template(Template::parse(text)?)),
        _ => Err(Error::usage(format!(
            "--format {word}: table, json or a template like '{{{{.Name}}}}'"
        ))),
    }
}

/// Prints documents as JSON lines or by a template; tables are left to the caller.
pub(super) fn print_documents(style: &Style, documents: &[Value]) -> Result<()> {
    for document in documents {
        match style {
            Style::Template(template) => println!("{}", template.fill(document)?),
            _ => println!("{}", serde_json::to_string(document).at("write", "JSON")?),
        }
    }
    Ok(())
}

/// Prints columns with a heading. No column is cut.
pub(super) fn print_table(heading: &[&str], rows: &[Vec<String>]) {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        println!("{}", line.trim_end());
    }
}

/// `3 minutes ago`.
pub(super) fn ago(time: Timestamp) -> String {
    let seconds = Timestamp::now().as_second().saturating_sub(time.as_second()).max(0);
    format!("{} ago", span(seconds as u64))
}

/// `3 minutes`.
pub(super) fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// A time: `2026-01-31T10:00:00Z`, or so long ago: `90`, `10m`, `2h`, `3d`.
pub(super) fn time(word: &str) -> Result<Timestamp> {
    if let Ok(time) = word.parse() {
        return Ok(time);
    }
    let wrong =
        || Error::usage(format!("time {word:?}: 2026-01-31T10:00:00Z, or 90s, 10m, 2h, 3d ago"));
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let number: i64 = word[..digits].parse().map_err(|_| wrong())?;
    let factor = match &word[digits..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let ago = number.checked_mul(factor).ok_or_else(wrong)?;
    Timestamp::from_second(Timestamp::now().as_second().saturating_sub(ago)).map_err(|_| wrong())
}

/// `12.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes() {
        assert_eq!(
            (span(1), span(59), span(7200)),
            ("1 second".into(), "59 seconds".into(), "2 hours".into())
        );
        assert_eq!((size(10), size(1536)), ("10 B".into(), "1.5 KiB".into()));
        assert!(time("10m").is_ok() && time("2026-01-31T10:00:00Z").is_ok());
        assert!(time("yesterday").is_err() && time("").is_err());
    }
}
