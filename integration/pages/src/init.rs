//! The page of `rich-init`: the options are those of its own help.

use clap_mangen::roff::{Roff, bold, roman};
use rich_init::command_line::HELP;

use crate::Document;
use crate::manual::{examples, see_also, table};

const DESCRIPTION: &[&str] = &[
    "rich-init runs a command as the main process of a container, as PID 1 should. It hands on \
     every signal that can be caught, real-time ones too; reaps every process that becomes its \
     child; and exits as the command did.",
    "When the command has ended, its descendants may go on for a while (--linger); then they get \
     TERM, and after another while (--grace) they are killed. After a request to stop (TERM, INT \
     or QUIT) they get TERM at once.",
    "richrun run --rich puts it in front of the payload without any file in the image. As a \
     program of its own it takes the place of tini, dumb-init and catatonit: called tini, \
     docker-init, dumb-init, catatonit, podman-init or init, it understands the options of those \
     programs (catatonit's for the last two), and its own long ones.",
];

const BESIDE: &[&str] = &[
    "In a container whose PID 1 is the image's own init (richrun run --rich --rich-mode systemd), \
     rich-init plays other parts, of which nobody needs to know: --hand-off becomes the init \
     and leaves a process that holds the standard streams; --payload FILE runs the payload that \
     richrun has described in FILE; --exit-as FILE ends with the status in FILE; --stand-in stands where SysV's init was, and is \
     its end.",
];

const EXAMPLES: &str = "\
richrun run --rich -b box demo              in a container, without a file in the image
rich-init -- sh -c 'worker & server'        on its own
rich-init --rewrite TERM:QUIT -- nginx      stop gracefully what stops by QUIT
rich-init --exit-map 143:0 --grace 20s -- server
podman run --init --init-path /usr/local/bin/rich-init IMAGE";

/// `rich-init(8)`.
pub fn page() -> Document {
    let mut roff = Roff::new();
    let source = concat!("rich-init ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["RICH-INIT", "8", "", source, "Containers"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("rich-init - PID 1 of containers: forwards signals, reaps, waits")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("rich-init"), roman(" [option...] [--] command [argument...]")]);
    roff.control("SH", ["DESCRIPTION"]);
    for (at, paragraph) in DESCRIPTION.iter().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(*paragraph)]);
    }
    roff.control("SH", ["BESIDE ANOTHER INIT"]);
    roff.text(BESIDE.iter().map(|paragraph| roman(*paragraph)).collect::<Vec<_>>());
    roff.control("SH", ["OPTIONS"]);
    for (option, meaning) in options(HELP) {
        roff.control("TP", []);
        roff.text([bold(option)]);
        roff.text([roman(meaning)]);
    }
    roff.control("PP", []);
    roff.text([roman("TIME is seconds, or a number with ms, s, m or h, or forever.")]);
    let statuses = vec![
        ("0 to 255", "That of the command (see --exit-map)."),
        ("128+n", "Signal n ended the command."),
        ("125", "rich-init itself failed; standard error says why."),
        ("126", "The command was found and cannot be executed."),
        ("127", "The command was not found."),
    ];
    let environment = vec![
        ("PATH", "Where the command is looked for."),
        (
            "TINI_SUBREAPER, TINI_VERBOSITY, TINI_KILL_PROCESS_GROUP",
            "As tini has them, under its name.",
        ),
        ("DUMB_INIT_DEBUG, DUMB_INIT_SETSID", "As dumb-init has them, under its name."),
        ("CATATONIT_DEBUG", "As catatonit has it, under its name."),
    ];
    let files = vec![("/proc", "Read to find descendants in sessions of their own.")];
    let parts = [
        roff,
        table("EXIT STATUS", statuses),
        table("ENVIRONMENT", environment),
        table("FILES", files),
        examples(EXAMPLES),
        see_also(&["richrun".to_owned(), "richrun-run".to_owned()]),
    ];
    Document { path: "man8/rich-init.8".to_owned(), text: parts.map(|part| part.render()).concat() }
}

/// The options in a help text: each begins two columns in with a dash, and its
/// meaning goes on in lines that are further in.
pub fn options(help: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in help.lines() {
        if line.starts_with("  -") {
            // `-h, --help    -V, --version` are two options in one line.
            for part in split_options(line.trim()) {
                found.push(part);
            }
            open = true;
        } else if open && line.starts_with("      ") {
            if let Some((_, meaning)) = found.last_mut() {
                meaning.push(' ');
                meaning.push_str(line.trim());
            }
        } else {
            open = false;
        }
    }
    found
}

fn split_options(line: &str) -> Vec<(String, String)> {
    let (option, rest) = line.split_once("  ").unwrap_or((line, ""));
    let rest = rest.trim();
    if !rest.starts_with('-') {
        return vec![(option.to_owned(), rest.to_owned())];
    }
    let known = |option: &str| match option {
        "-h, --help" => "print a short help",
        "-V, --version" => "print the version",
        _ => "",
    };
    [option, rest].map(|option| (option.to_owned(), known(option).to_owned())).to_vec()
}
