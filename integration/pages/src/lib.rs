//! Manual pages and shell completions, made from what the programs themselves
//! know of their command lines: `richrun`'s clap tree, and `rich-init`'s help.
//!
//! What no command line knows (exit statuses, files, environment) is in
//! [`words`]. `richrun` itself carries none of this.

pub mod completions;
pub mod direct;
pub mod init;
pub mod manual;
pub mod markdown;
pub mod settings;
pub mod words;

use std::io;

use clap_complete::Shell;
use richrun::cli::VERBS;

/// One file to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Relative to the output directory: `man8/richrun.8`, `bash/richrun`.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// The shells with completions: the directory here, and the file's name there.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash/richrun"),
    (Shell::Zsh, "zsh/_richrun"),
    (Shell::Fish, "fish/richrun.fish"),
];

/// The pages that are documents of docs/.
const FROM_DOCUMENTS: [markdown::Source; 2] = [
    markdown::Source {
        name: "richrun-services",
        section: "5",
        about: "services in a rich container",
        text: include_str!("../../../docs/services.md"),
    },
    markdown::Source {
        name: "rich",
        section: "7",
        about: "containers with an init, under every engine",
        text: include_str!("../../../docs/rich.md"),
    },
];

/// Every page and every completion.
///
/// # Errors
/// None in practice: everything is written to memory.
pub fn documents() -> io::Result<Vec<Document>> {
    let mut all = vec![manual::top()?];
    for verb in VERBS {
        all.push(manual::verb(verb)?);
        for inner in manual::inner(verb) {
            all.push(manual::verb(&format!("{verb} {inner}"))?);
        }
    }
    all.push(init::page());
    // The program's second name.
    let second = ".so man8/richrun.8\n".to_owned();
    all.push(Document { path: "man8/richrun-rich.8".to_owned(), text: second });
    // Nobody but richctl starts it.
    let monitor = ".so man8/richctl.8\n".to_owned();
    all.push(Document { path: "man8/rich-monitor.8".to_owned(), text: monitor });
    all.push(settings::page());
    all.push(settings::sample());
    all.extend(FROM_DOCUMENTS.iter().map(|source| Document {
        path: format!("man{0}/{1}.{0}", source.section, source.name),
        text: markdown::page(source),
    }));
    all.extend(SHELLS.map(|(shell, path)| completion(shell, path)));
    all.extend(direct::documents()?);
    Ok(all)
}

fn completion(shell: Shell, path: &str) -> Document {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut richrun::cli::whole(), "richrun", &mut text);
    let text = String::from_utf8_lossy(&text);
    let text = match shell {
        Shell::Bash => completions::bash(&text),
        Shell::Zsh => completions::zsh(&text),
        _ => completions::fish(&text),
    };
    Document { path: path.to_owned(), text }
}
