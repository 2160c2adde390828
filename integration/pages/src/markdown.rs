//! Documents in Markdown as manual pages: as much of it as docs/ uses.

use clap_mangen::roff::{Inline, Roff, bold, roman};

/// A page's place, and the document that it is made of.
pub struct Source {
    /// `richrun-services`
    pub name: &'static str,
    /// `5`
    pub section: &'static str,
    /// What whatis(1) prints.
    pub about: &'static str,
    /// The document.
    pub text: &'static str,
}

/// The page.
pub fn page(source: &Source) -> String {
    let mut roff = Roff::new();
    let program = concat!("richrun ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [&source.name.to_uppercase(), source.section, "", program, "Containers"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{} - {}", source.name, source.about))]);
    roff.control("SH", ["DESCRIPTION"]);
    let lines: Vec<&str> = source.text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        at = block(&mut roff, &lines, at);
    }
    roff.render()
}

/// One block from line `at` on; returns the line after it.
fn block(roff: &mut Roff, lines: &[&str], at: usize) -> usize {
    let end_of = |goes_on: &dyn Fn(&str) -> bool| {
        lines[at..].iter().position(|line| !goes_on(line)).map_or(lines.len(), |n| at + n)
    };
    let line = lines[at];
    if line.trim().is_empty() {
        return at + 1;
    }
    if let Some(title) = line.strip_prefix('#') {
        // The document's own title is the page's name.
        if let Some(title) = title.strip_prefix("## ") {
            roff.control("SS", [title]);
        } else if let Some(title) = title.strip_prefix("# ") {
            roff.control("SH", [title.to_uppercase().as_str()]);
        }
        return at + 1;
    }
    if line.starts_with("```") {
        let length = lines[at + 1..].iter().position(|line| line.starts_with("```"));
        let end = length.map_or(lines.len(), |n| at + 1 + n);
        literal(roff, &lines[at + 1..end], 0);
        return end + 1;
    }
    if line.starts_with("    ") {
        let end = end_of(&|line| line.starts_with("    "));
        literal(roff, &lines[at..end], 4);
        return end;
    }
    if line.starts_with('|') {
        let end = end_of(&|line| line.starts_with('|'));
        lines[at..end]
            .iter()
            .filter(|row| !row.starts_with("|-") && !row.starts_with("| -"))
            .for_each(|row| table_row(roff, row));
        return end;
    }
    if begins_item(line) {
        let inside = |line: &str| line.starts_with("  ") && !line.trim().is_empty();
        let more = lines[at + 1..].iter().take_while(|line| inside(line)).count();
        let (mark, first) = line.split_once(' ').unwrap_or((line, ""));
        let text = [&[first], &lines[at + 1..at + 1 + more]].concat();
        roff.control("IP", [if mark == "-" { "\\(bu" } else { mark }, "4"]);
        paragraph(roff, &text);
        return at + 1 + more;
    }
    let special = |line: &str| {
        line.trim().is_empty()
            || line.starts_with(['#', '|'])
            || line.starts_with("```")
            || begins_item(line)
    };
    let end = end_of(&|line| !special(line));
    roff.control("PP", []);
    paragraph(roff, &lines[at..end]);
    end
}

fn begins_item(line: &str) -> bool {
    let number = line.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
    line.starts_with("- ") || number
}

fn literal(roff: &mut Roff, lines: &[&str], indent: usize) {
    roff.control("PP", []);
    roff.control("EX", []);
    for line in lines {
        roff.text([roman(format!("    {}", &line[indent.min(line.len())..]))]);
    }
    roff.control("EE", []);
}

fn table_row(roff: &mut Roff, row: &str) {
    // A bar within a cell is written \|.
    let row = row.trim_matches('|').replace("\\|", "\u{1}");
    let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
    let filled: Vec<&str> =
        cells.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
    let Some((first, rest)) = filled.split_first() else { return };
    roff.control("TP", []);
    roff.text([bold(plain(first))]);
    paragraph(roff, &[&rest.join("; ")]);
}

fn paragraph(roff: &mut Roff, lines: &[&str]) {
    let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    roff.text(inline(&text));
}

/// Code and strong words are bold, of links the text stays.
fn inline(text: &str) -> Vec<Inline> {
    let text = links(text).replace("**", "`");
    let parts = text.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(n, part)| if n % 2 == 1 { bold(part) } else { roman(part) })
        .collect()
}

fn plain(text: &str) -> String {
    links(text).replace("**", "").replace('`', "")
}

fn links(text: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        done.push_str(before);
        let link = after.split_once("](").filter(|(words, _)| !words.contains(['[', ']']));
        rest = match link.and_then(|(words, target)| Some((words, target.split_once(')')?.1))) {
            Some((words, left)) => {
                done.push_str(words);
                left
            }
            None => {
                done.push('[');
                after
            }
        };
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_one_of_roffs() {
        let text = "# T\n\nA `code [..]` and\n[a link](x.md).\n\n## Part\n\n- one\n  more\n\n    run me\n\n| a | b |\n|---|---|\n| `k` | v |\n\n```toml\nx = 1\n```\n";
        let page = page(&Source { name: "x", section: "7", about: "words", text });
        for part in [
            ".SH PART",
            "\\fBcode [..]\\fR",
            "a link.",
            ".IP \\(bu 4",
            "one more",
            "run me",
            "x = 1",
            "\\fBk\\fR",
            ".EX",
            ".EE",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains('`') && !page.contains("x.md") && !page.contains("---"), "{page}");
    }
}
