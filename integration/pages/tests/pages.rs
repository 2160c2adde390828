//! Every command has its page and its completions, and every page its sections.

use std::collections::BTreeMap;

use rich_init::command_line::HELP;
use richrun::cli::{VERBS, whole};
use richrun_pages::documents;

fn all() -> BTreeMap<String, String> {
    let documents = documents().expect("pages in memory");
    let count = documents.len();
    let map: BTreeMap<_, _> = documents.into_iter().map(|d| (d.path, d.text)).collect();
    assert_eq!(map.len(), count, "two documents of one name");
    map
}

/// Text of a page as a reader sees it: roff's escapes taken out.
fn plain(roff: &str) -> String {
    roff.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "")
}

#[test]
fn every_command_has_a_page_with_its_options() {
    let all = all();
    for verb in VERBS {
        let text = plain(&all[&format!("man8/richrun-{verb}.8")]);
        assert!(text.contains(&format!("richrun-{verb} - ")), "{verb}: a name for whatis(1)");
        let tree = whole();
        let command = tree.find_subcommand(verb).expect("a command");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let name = match arg.get_long() {
                Some(long) => format!("--{long}"),
                None => arg.get_value_names().expect("a name")[0].to_string(),
            };
            assert!(text.contains(&name), "{verb}: {name}");
        }
        for heading in ["SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO"] {
            assert!(
                text.contains(&format!(".SH \"{heading}\"\n"))
                    || text.contains(&format!(".SH {heading}\n")),
                "{verb}: {heading}"
            );
        }
        assert!(text.contains("EXIT STATUS"), "{verb}");
        assert!(text.contains(&format!("richrun {verb}")), "{verb}: an example");
    }
}

#[test]
fn a_commands_command_has_a_page_with_its_options() {
    let all = all();
    let tree = whole();
    let hooks = tree.find_subcommand("hooks").expect("hooks");
    let top = plain(&all["man8/richrun-hooks.8"]);
    assert_eq!(hooks.get_subcommands().count(), 3);
    for command in hooks.get_subcommands() {
        let name = command.get_name();
        assert!(top.contains(&format!("richrun-hooks-{name}(8)")), "{name}: {top}");
        let text = plain(&all[&format!("man8/richrun-hooks-{name}.8")]);
        assert!(text.contains(&format!("richrun-hooks-{name} - ")), "{name}: a name for whatis(1)");
        assert!(text.contains(&format!("richrun hooks {name} [")), "{name}: a synopsis: {text}");
        for long in command.get_arguments().filter_map(|arg| arg.get_long()) {
            assert!(text.contains(&format!("--{long}")), "{name}: {long}");
        }
        assert!(text.contains("EXAMPLES") && text.contains("config.toml"), "{name}");
        for path in ["bash/richrun", "zsh/_richrun", "fish/richrun.fish"] {
            assert!(all[path].contains("createRuntime"), "{path}: phases are completed");
            assert!(all[path].contains(name), "{path}: {name}");
        }
    }
}

#[test]
fn the_top_page_names_every_command() {
    let text = plain(&all()["man8/richrun.8"]);
    for verb in VERBS {
        assert!(text.contains(&format!("richrun-{verb}")), "{verb}");
    }
    for word in
        ["EXIT STATUS", "ENVIRONMENT", "FILES", "--log-format", "-v, --version", "XDG_RUNTIME_DIR"]
    {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn every_shell_completes_every_command_and_option() {
    let all = all();
    for path in ["bash/richrun", "zsh/_richrun", "fish/richrun.fish"] {
        let text = &all[path];
        for verb in VERBS {
            assert!(text.contains(verb), "{path}: {verb}");
        }
        for option in ["preserve-fds", "console-socket", "rootless", "additional-gids"] {
            assert!(text.contains(option), "{path}: {option}");
        }
    }
}

#[test]
fn rich_inits_page_has_every_option_of_its_help() {
    let text = plain(&all()["man8/rich-init.8"]);
    let words = HELP.split(|c: char| c.is_whitespace() || c == ',');
    let options: Vec<&str> = words.filter(|w| w.starts_with('-') && w.len() > 2).collect();
    assert!(options.len() > 10, "{options:?}");
    for option in options {
        assert!(text.contains(option), "{option}");
    }
    for word in ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "125", "126", "127"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn options_are_read_from_a_help_text() {
    let help = "Usage: x\n\nWords.\n\n  --one A  first\n           and more\n  -h, --help    -V, --version\n\nEnd: -- x\n";
    let read = richrun_pages::init::options(help);
    let names: Vec<&str> = read.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(names, ["--one A", "-h, --help", "-V, --version"]);
    assert_eq!(read[0].1, "first and more");
    assert!(read.iter().all(|row| !row.1.is_empty()));
}
