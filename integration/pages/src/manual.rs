//! The pages of `richrun` and its commands.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use richrun::cli::pages::{Page, TOP, page};
use richrun::cli::{VERBS, whole};

use crate::Document;
use crate::words::{self, Row};

/// The section for system administration commands.
const SECTION: &str = "8";

/// `richrun(8)`.
///
/// # Errors
/// None in practice: everything is written to memory.
pub fn top() -> io::Result<Document> {
    let others = VERBS.iter().map(|verb| format!("richrun-{verb}"));
    let others = others.chain(["rich-init".to_owned()]).collect();
    write("richrun", whole(), &TOP, None, others)
}

/// The commands of a command.
pub fn inner(verb: &str) -> Vec<String> {
    let tree = whole();
    let inner = tree.find_subcommand(verb).into_iter().flat_map(Command::get_subcommands);
    inner.map(|command| command.get_name().to_owned()).collect()
}

/// `richrun-VERB(8)`; `verb` may also be that of a command's command, `hooks run`.
///
/// # Errors
/// As for [`top`]; a verb that there is not.
pub fn verb(verb: &str) -> io::Result<Document> {
    let tree = whole();
    let command = verb.split(' ').try_fold(&tree, |above, name| above.find_subcommand(name));
    let command = command.ok_or_else(|| io::Error::other(format!("no command {verb}")))?.clone();
    // The synopsis as it is typed.
    let command = command.bin_name(format!("richrun {verb}"));
    let name = format!("richrun-{}", verb.replace(' ', "-"));
    write(&name, command, page(verb), Some(verb), related(verb))
}

fn write(
    name: &str,
    command: Command,
    page: &Page,
    verb: Option<&str>,
    others: Vec<String>,
) -> io::Result<Document> {
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.display_name(name).about(page.about).long_about(page.long))
        .title(name.to_uppercase())
        .section(SECTION)
        .source(format!("richrun {version}"))
        .manual("Containers");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    match verb {
        None => commands(VERBS.iter().map(|verb| (*verb).to_owned())).to_writer(&mut text)?,
        Some(verb) => {
            let inner = inner(verb).into_iter().map(|inner| format!("{verb} {inner}"));
            commands(inner).to_writer(&mut text)?;
        }
    }
    table("EXIT STATUS", words::statuses(verb)).to_writer(&mut text)?;
    table("ENVIRONMENT", words::environment(verb)).to_writer(&mut text)?;
    table("FILES", words::files(verb)).to_writer(&mut text)?;
    examples(page.examples).to_writer(&mut text)?;
    see_also(&others).to_writer(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Document { path: format!("man{SECTION}/{name}.{SECTION}"), text })
}

/// The commands in the order of `--help`; nothing where there are none.
fn commands(verbs: impl Iterator<Item = String>) -> Roff {
    let mut roff = Roff::new();
    for (at, verb) in verbs.enumerate() {
        if at == 0 {
            roff.control("SH", ["COMMANDS"]);
        }
        roff.control("TP", []);
        let name = format!("richrun-{}", verb.replace(' ', "-"));
        roff.text([bold(name), roman(format!("({SECTION})"))]);
        roff.text([roman(format!("{}.", page(&verb).about))]);
    }
    roff
}

/// Terms and what they mean; nothing where there are none.
pub(crate) fn table(heading: &str, rows: Vec<Row>) -> Roff {
    let mut roff = Roff::new();
    if rows.is_empty() {
        return roff;
    }
    roff.control("SH", [heading]);
    for (term, meaning) in rows {
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text([roman(meaning)]);
    }
    roff
}

/// Lines to copy, as they stand.
pub(crate) fn examples(text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("EX", []);
    for line in text.strip_prefix("Examples:\n").unwrap_or(text).lines() {
        roff.text([roman(line)]);
    }
    roff.control("EE", []);
    roff
}

/// Other pages of this section.
pub(crate) fn see_also(names: &[String]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for name in names {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(name.as_str()), roman(format!("({SECTION})"))]);
    }
    roff.text(line);
    roff
}

/// Which commands a reader goes to from here.
fn related(verb: &str) -> Vec<String> {
    let verbs: &[&str] = match verb {
        "create" => &["start", "run", "delete", "spec"],
        "run" => &["create", "start", "exec", "spec"],
        "start" => &["create", "state"],
        "exec" => &["run", "ps"],
        "kill" | "delete" | "stop" | "wait" => &["kill", "stop", "wait", "delete", "state"],
        "pause" | "resume" => &["pause", "resume", "exec"],
        "update" | "events" => &["update", "events", "spec"],
        "state" | "list" | "ps" => &["state", "list", "ps"],
        "hooks" => &["hooks-run", "hooks-list", "hooks-check", "create"],
        "hooks run" => &["hooks", "hooks-list", "hooks-check", "state"],
        "hooks list" | "hooks check" => &["hooks", "hooks-run", "create"],
        _ => &[],
    };
    let mut names = vec!["richrun".to_owned()];
    names.extend(verbs.iter().filter(|name| **name != verb).map(|name| format!("richrun-{name}")));
    if matches!(verb, "create" | "run") {
        names.push("rich-init".to_owned());
    }
    names
}
