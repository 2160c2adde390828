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

/// Runs bash's completion of `line` with a runtime that knows two containers.
fn completed(line: &str) -> Vec<String> {
    let dir = std::env::temp_dir().join(format!("richrun-pages-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let script = dir.join("completion");
    std::fs::write(&script, &all()["bash/richrun"]).expect("write");
    let test = format!(
        r#"richrun() {{
            case "$*" in
                *"list -q") printf '%s\n' web-1 db-1; [[ "$*" == --root* ]] && echo elsewhere ;;
                "service list web-1") printf 'NAME  STATE\nnginx  running\nmain  running\n' ;;
            esac; return 0
        }}
        . {}
        COMP_WORDS=({line} ""); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _richrun_more richrun "" "${{COMP_WORDS[COMP_CWORD-1]}}"
        printf '%s\n' "${{COMPREPLY[@]}}""#,
        script.display()
    );
    let out = std::process::Command::new("bash").args(["-c", &test]).output().expect("bash");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_what_there_is() {
    for (line, words) in [
        ("richrun kill", &["web-1", "db-1"][..]),
        ("richrun --debug --log-format json exec -u 1", &["web-1", "db-1"]),
        ("richrun --root /x state", &["web-1", "db-1", "elsewhere"]),
        ("richrun service stop", &["web-1", "db-1"]),
        ("richrun service stop web-1", &["nginx", "main"]),
        ("richrun service stop web-1 main", &["nginx", "main"]),
        ("richrun run --rich-mode", &["dumb-init", "init", "systemd", "sbin-init", "auto"]),
    ] {
        assert_eq!(completed(line), words, "{line}");
    }
    let signals = completed("richrun kill web-1");
    assert!(signals.contains(&"HUP".to_owned()), "{signals:?}");
    for line in ["richrun create", "richrun features", "richrun exec web-1"] {
        let found = completed(line);
        assert!(!found.contains(&"db-1".to_owned()), "{line}: {found:?}");
    }
}

#[test]
fn the_other_shells_ask_for_the_same() {
    let all = all();
    let zsh = &all["zsh/_richrun"];
    assert!(zsh.starts_with("#compdef richrun\n"));
    for word in
        ["name:_richrun_containers'", "number:_richrun_signals'", "services:_richrun_services'"]
    {
        assert!(zsh.contains(word), "{word}");
    }
    let fish = &all["fish/richrun.fish"];
    for word in ["kill\" -f -a \"(richrun list -q", "service list (commandline", "-l rich-mode -x"]
    {
        assert!(fish.contains(word), "{word}");
    }
    for text in [zsh, fish] {
        assert!(text.contains(richrun_pages::completions::MODES));
    }
}

/// Every file that README names is installed beside it, and every page of a document.
#[test]
fn what_readme_links_to_is_installed() {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let target = std::env::temp_dir().join(format!("richrun-install-{}", std::process::id()));
    let make = |goal: &str| {
        let target = format!("DESTDIR={}", target.display());
        let out = std::process::Command::new("make")
            .args(["-C", top, goal, &target, "PREFIX=/usr"])
            .output();
        let out = out.expect("make");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    make("install-documents");
    let docs = target.join("usr/share/doc/richrun");
    let readme = std::fs::read_to_string(docs.join("README.md")).expect("README.md");
    let mut links = 0;
    for link in readme.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
        if !link.contains("://") && !link.is_empty() {
            assert!(docs.join(link).exists(), "{link} is not installed");
            links += 1;
        }
    }
    assert!(links > 8, "only {links} links");
    assert!(
        docs.join("bundles/examples/make-rootfs.sh").exists()
            && !docs.join("bundles/examples/plain/rootfs").exists()
    );
    make("uninstall");
    let left = std::fs::read_dir(target.join("usr/share/doc")).expect("the directory").count();
    assert_eq!(left, 0);
    std::fs::remove_dir_all(&target).expect("clean up");
}

#[test]
fn documents_are_pages() {
    let all = all();
    for (path, words) in [
        ("man5/richrun-services.5", &["NAME", "needs", "readiness", "httpGet"][..]),
        ("man7/rich.7", &["NAME", "io.richrun.rich", "richrun.target", "PODMAN"]),
        ("man5/richrun.toml.5", &["hooks_dirs", "trust"]),
    ] {
        let text = plain(&all[path]).to_uppercase();
        for word in words {
            assert!(text.contains(&word.to_uppercase()), "{path}: {word}");
        }
        assert!(!text.contains("](") && !text.contains("```"), "{path}");
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
