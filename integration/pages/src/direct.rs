//! The pages and completions of `richctl`, made from its clap tree.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Document;

/// The shells with completions: the directory here, and the file's name there.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash/richctl"),
    (Shell::Zsh, "zsh/_richctl"),
    (Shell::Fish, "fish/richctl.fish"),
];

/// Verbs whose first argument is a container that there is.
const OF_CONTAINERS: &str =
    "start|inspect|logs|wait|attach|stop|kill|restart|rm|exec|top|stats|rename|label";

/// Every page and every completion of richctl's.
///
/// # Errors
/// None in practice: everything is written to memory.
pub fn documents() -> io::Result<Vec<Document>> {
    let tree = rich_bundles::cli::whole();
    let mut all = Vec::new();
    page("richctl", &tree, &mut all)?;
    for (shell, path) in SHELLS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut rich_bundles::cli::whole(), "richctl", &mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let text = match shell {
            Shell::Bash => bash(&text),
            Shell::Fish => fish(&text),
            _ => text,
        };
        all.push(Document { path: path.to_owned(), text });
    }
    Ok(all)
}

/// The page of a command, and those of its own commands.
fn page(name: &str, command: &Command, all: &mut Vec<Document>) -> io::Result<()> {
    let mut text = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    Man::new(command.clone().display_name(name.to_owned()).bin_name(name.replace('-', " ")))
        .title(name.to_uppercase())
        .section("8")
        .source(format!("richctl {version}"))
        .manual("Containers")
        .render(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    all.push(Document { path: format!("man8/{name}.8"), text });
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    for inner in inner.filter(|inner| inner.get_name() != "help") {
        page(&format!("{name}-{}", inner.get_name()), inner, all)?;
    }
    Ok(())
}

/// Names of containers, which clap's script does not know.
fn bash(text: &str) -> String {
    let own = format!(
        r#"
_richctl_more() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" i verb= options=()
    _richctl "$@"
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${{COMP_WORDS[i]}}" in
            --root|--namespace|--runtime) options+=("${{COMP_WORDS[i]}}" "${{COMP_WORDS[i+1]}}"); ((i++)) ;;
            -*) ;;
            *) verb="${{COMP_WORDS[i]}}"; break ;;
        esac
    done
    case "$verb" in
        {OF_CONTAINERS})
            [[ "$cur" == -* ]] || COMPREPLY=($(compgen -W "$(richctl "${{options[@]}}" list --format '{{{{.Name}}}}' 2>/dev/null)" -- "$cur")) ;;
    esac
}}
complete -F _richctl_more -o bashdefault -o default richctl
"#
    );
    format!("{text}{own}")
}

fn fish(text: &str) -> String {
    let mut text = text.to_owned();
    for verb in OF_CONTAINERS.split('|') {
        text.push_str(&format!(
            "complete -c richctl -n \"__fish_richctl_using_subcommand {verb}\" -f -a \"(richctl list --format '{{{{.Name}}}}' 2>/dev/null)\" -d container\n"
        ));
    }
    text
}
