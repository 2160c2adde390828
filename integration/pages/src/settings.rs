//! The page of the administrator's file: its keys are those of the parser.

use clap_mangen::roff::{Roff, bold, roman};
use richrun::config::file::{KEYS, PATH};

use crate::Document;
use crate::manual::{examples, see_also};

const DESCRIPTION: &[&str] = &[
    "What the administrator of a host sets for all containers of richrun: hooks, and how rich \
     containers are made. The file is optional. The variable RICHRUN_CONFIG in the runtime's own \
     environment names another one, which must exist then.",
    "It is TOML. An unknown key or a value that is none is an error with its line, and no \
     container is made. It is read by create, run and hooks; containers that exist are not changed.",
    "What the table [rich] says is the default for whoever asks for a rich container, or, with \
     rich = true, for all. Command line, annotations and variables are stronger, field by field.",
];

const EXAMPLE: &str = "\
hooks_dirs = [\"/usr/share/containers/oci/hooks.d\", \"/etc/containers/oci/hooks.d\"]

[rich]
mode = \"auto\"
init-timeout = 120
trust = [\"annotations:cgroups\", \"environment:cgroups\", \"command:cgroups\"]";

/// `richrun.toml(5)`.
pub fn page() -> Document {
    let mut roff = Roff::new();
    let source = concat!("richrun ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["RICHRUN.TOML", "5", "", source, "Containers"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("richrun.toml - the administrator's settings for richrun")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(PATH)]);
    roff.control("SH", ["DESCRIPTION"]);
    for (at, paragraph) in DESCRIPTION.iter().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(*paragraph)]);
    }
    roff.control("SH", ["KEYS"]);
    for key in KEYS {
        roff.control("TP", []);
        roff.text([bold(key.name), roman(format!(" = {}", key.value))]);
        roff.text([roman(format!("{} Default: {}.", key.text, key.default))]);
    }
    let pages = ["richrun", "richrun-run", "rich-init"].map(str::to_owned);
    let text = [roff, examples(EXAMPLE), see_also(&pages)].map(|part| part.render()).concat();
    Document { path: "man5/richrun.toml.5".to_owned(), text }
}

/// A file of settings to begin with: every key as a comment, at what it is without a word.
pub fn sample() -> Document {
    let mut text = format!("# {PATH}: richrun.toml(5). Every key, as it is unless it is set.\n");
    let mut table = "";
    for key in KEYS {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != table {
            text += &format!("\n[{of}]\n");
            table = of;
        }
        // What has no value without a word is shown by what it may be.
        let shown = match key.default {
            "none" | "what the init needs" => key.value,
            value => value,
        };
        text += &format!("\n# {}\n# {name} = {shown}\n", key.text);
    }
    Document { path: "etc/config.toml".to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it stands it sets nothing; it names every key, and is TOML.
    #[test]
    fn the_sample_sets_nothing() {
        let text = sample().text;
        let table: toml::Table = text.parse().expect("TOML");
        assert!(table.values().all(|value| value.as_table().is_some_and(toml::Table::is_empty)));
        for key in KEYS {
            let name = key.name.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("\n# {name} = ")), "{name}");
        }
    }
}
