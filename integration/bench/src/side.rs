//! The tables beside the main one: booting systemd, inits, supervisors.

use std::fmt::Write;

use crate::peers::{ADDED, DEEP, FLAT, NONE, OURS, Seen};
use crate::row::Row;

/// All three; what was not measured is left out.
pub fn tables(rows: &[Row], seen: &[Seen]) -> String {
    boot(rows) + &inits(rows, seen) + &supervisors(rows, seen)
}

fn row<'a>(rows: &'a [Row], key: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.key == key)
}

fn head(words: &[&str]) -> String {
    format!("\n| {} |\n|{}\n", words.join(" | "), " --- |".repeat(words.len()))
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.decimals$}"))
}

/// Ours, of another's.
fn part(ours: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(ours? / other?).filter(|part| part.is_finite())
}

fn boot(rows: &[Row]) -> String {
    let Some(row) = row(rows, "boot-v2").filter(|row| row.is_measured()) else {
        return String::new();
    };
    let mut text = head(&[&row.title, "ms", "richrun, of it"]);
    for cell in &row.cells {
        let own = row.median(&cell.column);
        let of = part(row.median("richrun"), own);
        let _ = writeln!(text, "| {} | {} | {} |", cell.column, figure(own, 0), figure(of, 2));
    }
    text
}

fn kib(bytes: Option<u64>) -> Option<f64> {
    bytes.map(|bytes| bytes as f64 / 1024.0)
}

fn real(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

fn inits(rows: &[Row], seen: &[Seen]) -> String {
    let Some(row) = row(rows, ADDED).filter(|row| row.is_measured()) else { return String::new() };
    let mut text = head(&[
        "as PID 1 of one payload",
        "on disk (KiB)",
        "needs in the image",
        "private (KiB)",
        "wakes in 10 s",
        "`run` of `true` (ms)",
        "over none (ms)",
        "rich-init, of it",
    ]);
    let none = row.median(NONE);
    let ours = row.median(OURS);
    let bare = Seen { name: NONE.into(), needs: "-".into(), ..Seen::default() };
    for one in std::iter::once(&bare).chain(seen.iter().filter(|one| !one.services)) {
        let run = row.median(&one.name);
        let over = run.zip(none).map(|(run, none)| run - none).filter(|_| one.name != NONE);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            one.name,
            figure(kib(one.bytes), 1),
            one.needs,
            figure(real(one.all_kib()), 0),
            figure(real(one.wakes), 0),
            figure(run, 2),
            figure(over, 2),
            figure(part(ours, run), 2),
        );
    }
    text += "\ns6 is s6-svscan with one service that is the payload, and its s6-supervise. \
             Idle ones were watched at once, so that those with the C library share it.\n";
    text
}

fn supervisors(rows: &[Row], seen: &[Seen]) -> String {
    let seen: Vec<&Seen> = seen.iter().filter(|one| one.services).collect();
    let Some(ours) = seen.iter().find(|one| one.name == OURS) else { return String::new() };
    let median = |key: &str, name: &str| row(rows, key).and_then(|row| row.median(name));
    let mut text = head(&[
        "as PID 1 of 20 services",
        "on disk (KiB)",
        "needs in the image",
        "all up (ms)",
        "rich-init, of it",
        "up, 4 deep (ms)",
        "rich-init, of it",
        "private (KiB)",
        "rich-init, of it",
        "wakes in 10 s",
    ]);
    for one in &seen {
        let (flat, deep) = (median(FLAT, &one.name), median(DEEP, &one.name));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            one.name,
            figure(kib(one.bytes), 1),
            one.needs,
            figure(flat, 0),
            figure(part(median(FLAT, OURS), flat), 2),
            figure(deep, 0),
            figure(part(median(DEEP, OURS), deep), 2),
            figure(real(one.all_kib()), 0),
            figure(part(real(ours.all_kib()), real(one.all_kib())), 3),
            figure(real(one.wakes), 0),
        );
    }
    text += "\nFrom `run` until the last of 20 services, each of which takes 100 ms, is up. \
             supervisord has no dependencies: its priorities wait for nothing to be up. s6 has \
             them by s6-svwait in the run scripts; its memory is that of s6-svscan and 20 \
             s6-supervise. supervisord's is with Python, its size without.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Cell;
    use crate::sample::Outcome;

    fn measured(key: &str, figures: &[(&str, f64)]) -> Row {
        let mut row = Row::new(key, key, "ms", &[]);
        row.cells = figures
            .iter()
            .map(|&(column, value)| Cell {
                column: column.into(),
                outcome: Outcome::Samples(vec![value]),
            })
            .collect();
        row
    }

    #[test]
    fn an_init_stands_with_what_it_adds_and_our_part_of_it() {
        let rows = [measured(ADDED, &[(NONE, 5.0), (OURS, 6.0), ("tini", 8.0)])];
        let tini = Seen { name: "tini".into(), needs: "libc".into(), ..Seen::default() };
        let text = tables(&rows, &[tini]);
        assert!(text.contains("| tini | - | libc | - | - | 8.00 | 3.00 | 0.75 |"), "{text}");
        assert!(text.contains("| no init | - | - | - | - | 5.00 | - | 1.20 |"), "{text}");
    }

    #[test]
    fn a_supervisor_without_an_order_has_no_figure_for_it() {
        let rows = [
            measured(FLAT, &[(OURS, 150.0), ("supervisord", 300.0)]),
            measured(DEEP, &[(OURS, 450.0)]),
        ];
        let one = |name: &str, kib| Seen {
            name: name.into(),
            services: true,
            needs: "-".into(),
            private_kib: Some(kib),
            ..Seen::default()
        };
        let text = tables(&rows, &[one(OURS, 100), one("supervisord", 1000)]);
        let row = "| supervisord | - | - | 300 | 0.50 | - | - | 1000 | 0.100 | - |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        assert_eq!(tables(&[], &[]), "");
        let missing = Row::new(ADDED, "", "ms", &[]).without(OURS, "no root file system");
        assert_eq!(tables(&[missing], &[]), "");
    }
}
