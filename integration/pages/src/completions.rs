//! What completions know beyond the command line: containers, services, signals, modes.

use clap::Command;
use richrun::cli::{VERBS, whole};

/// Signals that are sent by hand.
const SIGNALS: &str = "TERM KILL HUP INT QUIT USR1 USR2 STOP CONT WINCH PIPE ALRM ABRT RTMIN+3";
/// What `--rich-mode` and `spec --rich` take.
pub const MODES: &str = "dumb-init init systemd sbin-init auto";

/// The commands whose first argument is a container that there is.
fn of_containers() -> Vec<&'static str> {
    let tree = whole();
    let takes = |verb: &&&str| {
        let command = tree.find_subcommand(verb).into_iter();
        let mut ids = command.flat_map(Command::get_positionals);
        !matches!(**verb, "create" | "run" | "service") && ids.any(|arg| arg.get_id() == "id")
    };
    VERBS.iter().filter(takes).copied().collect()
}

/// The options that have their value in the next word.
fn with_values() -> String {
    let tree = whole();
    let commands = std::iter::once(&tree).chain(tree.get_subcommands());
    let all = commands.flat_map(Command::get_arguments).filter(|arg| {
        arg.get_action().takes_values() && !arg.is_positional() && !arg.is_require_equals_set()
    });
    let mut names: Vec<String> = all
        .flat_map(|arg| {
            let long = arg.get_long().map(|long| format!("--{long}"));
            long.into_iter().chain(arg.get_short().map(|short| format!("-{short}")))
        })
        .collect();
    names.sort();
    names.dedup();
    names.join("|")
}

/// What is added to clap's script for bash.
pub fn bash(text: &str) -> String {
    let own = format!(
        r#"
# Containers, services, signals and modes: what clap's script does not know.
_richrun_more() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}"
    local root=() given=() words i
    _richrun "$@"
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${{COMP_WORDS[i]}}" in
            --root) root=(--root "${{COMP_WORDS[i+1]}}"); ((i++)) ;;
            {values}) ((i++)) ;;
            -*) ;;
            *) given+=("${{COMP_WORDS[i]}}") ;;
        esac
    done
    case "$prev" in
        --rich-mode|--rich) words="{MODES}" ;;
        {values}) return ;;
        *)
            case "${{given[0]}},${{#given[@]}}" in
                {verbs}) words="$(richrun "${{root[@]}}" list -q 2>/dev/null)" ;;
                kill,2) words="{SIGNALS}" ;;
                service,2) words="$(richrun "${{root[@]}}" list -q 2>/dev/null)" ;;
                service,*)
                    words="$(richrun "${{root[@]}}" service list "${{given[2]}}" 2>/dev/null | sed '1d; s/ .*//')" ;;
            esac ;;
    esac
    if [[ -n "$words" && "$cur" != -* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    fi
}}
complete -F _richrun_more -o bashdefault -o default richrun
"#,
        values = with_values(),
        verbs =
            of_containers().iter().map(|verb| format!("{verb},1")).collect::<Vec<_>>().join("|"),
    );
    format!("{text}{own}")
}

/// clap's script for zsh, with other completers in some places.
pub fn zsh(text: &str) -> String {
    let own = format!(
        r#"
_richrun_root() {{
    local at=${{words[(I)--root]}}
    (( at )) && reply=(--root ${{words[at+1]}}) || reply=()
}}
_richrun_containers() {{
    local -a reply; _richrun_root
    compadd -- ${{(f)"$(_call_program containers richrun $reply list -q 2>/dev/null)"}}
}}
_richrun_services() {{
    local -a reply; _richrun_root
    compadd -- ${{(f)"$(_call_program services richrun $reply service list ${{line[2]}} 2>/dev/null | sed '1d; s/ .*//')"}}
}}
_richrun_signals() {{ compadd -- {SIGNALS} }}
"#
    );
    let text = text
        .replace(
            "id -- The container'\\''s name:_default",
            "id -- The container'\\''s name:_richrun_containers",
        )
        .replace(
            "signal -- The signal, by name or number:_default",
            "signal -- The signal, by name or number:_richrun_signals",
        )
        .replace("names -- The services:_default", "names -- The services:_richrun_services")
        .replace(":MODE:_default", &format!(":MODE:({MODES})"));
    match text.split_once("\n\n") {
        Some((head, rest)) => format!("{head}\n{own}\n{rest}"),
        None => text,
    }
}

/// What is added to clap's script for fish.
pub fn fish(text: &str) -> String {
    let mut own = String::from("\n# Containers, services, signals and modes.\n");
    for verb in of_containers().into_iter().chain(["service"]) {
        own.push_str(&format!(
            "complete -c richrun -n \"__fish_richrun_using_subcommand {verb}\" -f -a \"(richrun list -q 2>/dev/null)\" -d container\n"
        ));
    }
    own.push_str(&format!(
        "complete -c richrun -n \"__fish_richrun_using_subcommand kill\" -f -a \"{SIGNALS}\" -d signal\n\
         complete -c richrun -n \"__fish_richrun_using_subcommand service\" -f -a \"(richrun service list (commandline -opc)[4] 2>/dev/null | sed '1d; s/ .*//')\" -d service\n"
    ));
    for (verb, option) in [("create", "rich-mode"), ("run", "rich-mode"), ("spec", "rich")] {
        own.push_str(&format!(
            "complete -c richrun -n \"__fish_richrun_using_subcommand {verb}\" -l {option} -x -a \"{MODES}\"\n"
        ));
    }
    format!("{text}{own}")
}
