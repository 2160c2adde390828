//! The figures as a picture: every run a dot, every median a line.

use std::fmt::Write;

use crate::peers::{NONE, OURS};
use crate::report::{is_drawn, number};
use crate::row::Row;
use crate::sample::quantile;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 110.0;
const LINE: f64 = 24.0;

/// What the dots and lines are.
const EVERY_RUN: &str = "A dot is a run, the line is the median; less is better. Runs beyond a panel's \
                         scale are left out.";
/// The rows that README shows.
const FIRST: [&str; 3] = ["run-v2", "cycle-v2", "exec-v2"];

/// One panel a row of the tables, one line a column.
pub fn svg(rows: &[Row]) -> String {
    picture(rows, EVERY_RUN)
}

/// The usual commands only; none where they were not measured.
pub fn usual(rows: &[Row]) -> Option<String> {
    let usual = rows.iter().filter(|row| FIRST.contains(&row.key.as_str()) && row.is_measured());
    let usual: Vec<Row> = usual.cloned().collect();
    (!usual.is_empty()).then(|| svg(&usual))
}

/// Medians that are known from a table.
pub fn medians(columns: &[(&str, f64)], note: &str) -> String {
    let mut row = Row::new("run-v2", "`run /bin/true`, cgroup v2", "ms", &[]);
    row.cells = columns
        .iter()
        .map(|(column, median)| crate::row::Cell {
            column: (*column).to_owned(),
            outcome: crate::sample::Outcome::Samples(vec![*median]),
        })
        .collect();
    picture(&[row], note)
}

fn picture(rows: &[Row], note: &str) -> String {
    let mut body = String::new();
    let mut top = 64.0;
    for row in rows.iter().filter(|row| is_drawn(row) && row.is_measured()) {
        top = panel(&mut body, row, top) + 26.0;
    }
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top:.0}\" \
         font-family=\"system-ui, DejaVu Sans, sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"17\" font-weight=\"600\">\
         richrun beside the kernel's floor and its peers</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#666\">{note}</text>\n"
    );
    text += &body;
    text += "</svg>\n";
    text
}

/// Draws one row from `top` on; returns where it ends.
fn panel(body: &mut String, row: &Row, top: f64) -> f64 {
    let lines: Vec<(&str, &[f64])> = row
        .cells
        .iter()
        .filter_map(|cell| Some((cell.column.as_str(), row.samples(&cell.column)?)))
        .collect();
    let title = row.title.replace('`', "").replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text x=\"16\" y=\"{:.1}\" font-weight=\"600\">{title} ({})</text>",
        top + 18.0,
        row.unit
    );
    let most = lines.iter().map(|(_, samples)| quantile(samples, 0.9)).fold(0.0, f64::max);
    let end = nice(most * 1.02);
    let scale = (WIDTH - LEFT - RIGHT) / end.max(f64::MIN_POSITIVE);
    let start = top + 30.0;
    let bottom = start + LINE * lines.len() as f64;
    axis(body, row, end, scale, start, bottom);
    for (number, (column, samples)) in lines.iter().enumerate() {
        strip(body, row, column, samples, (end, scale), start + LINE * (number as f64 + 0.5));
    }
    bottom + 16.0
}

/// Grid lines with their figures.
fn axis(body: &mut String, row: &Row, end: f64, scale: f64, start: f64, bottom: f64) {
    for tick in 0..=4 {
        let value = end * f64::from(tick) / 4.0;
        let x = LEFT + value * scale;
        let label =
            if row.unit == "ms" && end < 20.0 { format!("{value:.1}") } else { number(value, "") };
        let _ = writeln!(
            body,
            "<path d=\"M{x:.1} {start:.1}V{bottom:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" \
             fill=\"#666\">{label}</text>",
            bottom + 13.0
        );
    }
}

/// One contender: its dots, its median, its name and figure.
fn strip(
    body: &mut String,
    row: &Row,
    column: &str,
    samples: &[f64],
    (end, scale): (f64, f64),
    y: f64,
) {
    let colour = match column {
        "richrun" | OURS => "#c2410c",
        "floor" | NONE => "#6b7280",
        _ => "#1d4ed8",
    };
    let weight = if ["richrun", OURS].contains(&column) { "600" } else { "400" };
    let _ = writeln!(
        body,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-weight=\"{weight}\">{column}</text>",
        LEFT - 10.0,
        y + 4.5
    );
    for (number, value) in samples.iter().enumerate().filter(|(_, value)| **value <= end) {
        let jitter = ((number * 7) % 11) as f64 - 5.0;
        let _ = write!(
            body,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\" fill=\"{colour}\" fill-opacity=\"0.3\"/>",
            LEFT + value * scale,
            y + jitter
        );
    }
    let median = quantile(samples, 0.5);
    let x = LEFT + median * scale;
    let _ = writeln!(
        body,
        "\n<path d=\"M{x:.1} {:.1}V{:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" font-weight=\"{weight}\">{} {}</text>",
        y - 9.0,
        y + 9.0,
        WIDTH - RIGHT + 14.0,
        y + 4.5,
        number(median, &row.unit),
        row.unit
    );
}

/// The next round figure, divisible by four without odd decimals.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
    let step = steps.iter().find(|step| *step * power >= value).unwrap_or(&10.0);
    step * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_figures() {
        assert_eq!(nice(7.3), 8.0);
        assert_eq!(nice(22.1), 24.0);
        assert_eq!(nice(3768.0), 4000.0);
        assert_eq!(nice(0.0), 1.0);
    }

    #[test]
    fn an_empty_report_is_still_a_picture() {
        assert!(svg(&[]).ends_with("</svg>\n"));
    }
}
