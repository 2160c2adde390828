//! `richctl image`: images that are kept.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use super::Global;
use super::output::size;
use crate::error::{At, Error, Kind, Result};
use crate::image::fetch::{self, Options};
use crate::image::store::Store;
use crate::image::{rootfs, userns};
use crate::source::{Reference, SourceKind};
use crate::store::Place;

/// `richctl image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Fetch and unpack an image, and print its id
    ///
    /// IMAGE is oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG],
    /// containers-storage:IMAGE (podman's store, by podman) or docker://REF (a registry, by
    /// skopeo). Layers are unpacked once, by content, and shared by all images and containers.
    /// A layer that wants to write elsewhere, or unpacks to more than a thousand times its
    /// size, is refused.
    Pull {
        /// The image
        image: String,
        /// Whether the registry must show a certificate [default: unless it is on this machine]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        tls_verify: Option<bool>,
    },
    /// List images
    #[command(visible_alias = "ls")]
    List {
        /// How
        #[arg(long, default_value = "table", value_parser = ["table", "json"])]
        format: String,
    },
    /// Remove an image, and the layers that no other image has
    Rm {
        /// Names, or beginnings of ids
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Remove what no image and no container uses
    Prune {
        /// Images that no container uses, too
        #[arg(long, short)]
        all: bool,
    },
    /// Unpack an image with the rights that this process has
    #[command(hide = true)]
    Unpack {
        #[arg(long)]
        store: PathBuf,
        #[arg(long)]
        name: String,
        image: String,
    },
    /// Copy an image's files to a directory
    #[command(hide = true)]
    Copy {
        #[arg(long)]
        store: PathBuf,
        id: String,
        target: PathBuf,
    },
    /// Remove a container's directory, whoever owns what is in it
    #[command(hide = true)]
    Clean { directory: PathBuf },
}

/// Tells the same program in a user namespace whose store is meant.
const STORE: &str = "_RICHCTL_IMAGES";

/// Does it.
///
/// # Errors
/// As the images' own calls.
pub fn run(global: &Global, args: &ImageArgs) -> Result<u8> {
    let dir = || match std::env::var_os(STORE).filter(|_| userns::is_root()) {
        Some(dir) => Ok(PathBuf::from(dir)),
        None => Ok(Place::find(global.root.as_deref())?.data.join("images")),
    };
    match &args.verb {
        Verb::Pull { image, tls_verify } => {
            let options = Options { always: true, tls_verify: *tls_verify, ..Options::default() };
            let record = fetch::ensure(&Store::open(&dir()?)?, &reference(image)?, &options)?;
            println!("{}", record.id);
        }
        Verb::List { format } => list(&Store::open(&dir()?)?, format == "json")?,
        Verb::Rm { .. } | Verb::Prune { .. } if !userns::is_root() => return again(global),
        Verb::Rm { images } => {
            let store = Store::open(&dir()?)?;
            for name in images {
                let record = store.find(name)?.ok_or_else(|| {
                    Error::new(Kind::NotFound, format!("image rm {name}: there is no such image"))
                })?;
                store.remove(&record)?;
                println!("{}", record.id);
            }
        }
        Verb::Prune { all } => {
            let pruned = Store::open(&dir()?)?.prune(*all)?;
            pruned.images.iter().for_each(|id| println!("{id}"));
            println!("{} layers, {}", pruned.layers, size(pruned.bytes));
        }
        Verb::Unpack { store, name, image } => {
            let store = Store::open(store)?;
            println!("{}", fetch::unpack_as_root(&store, &reference(image)?, name)?.id);
        }
        Verb::Copy { store, id, target } => {
            let store = Store::open(store)?;
            let record = store.find(id)?.ok_or_else(|| {
                Error::new(Kind::NotFound, format!("image {id}: there is no such image"))
            })?;
            rootfs::copy(&store, &record, target)?;
        }
        Verb::Clean { directory } => rootfs::clean(directory, &Options::default())?,
    }
    Ok(0)
}

fn reference(text: &str) -> Result<Reference> {
    match SourceKind::parse(text)? {
        SourceKind::Image(reference) => Ok(reference),
        _ => Err(Error::usage(format!("{text} is no image; see richctl image pull --help"))),
    }
}

/// The same command in a user namespace with the caller's ids, who owns the layers' files.
fn again(global: &Global) -> Result<u8> {
    let place = Place::find(global.root.as_deref())?;
    let mut command = std::process::Command::new(Options::default().program);
    // As root of the namespace it would look elsewhere.
    command.arg("image").args(std::env::args_os().skip_while(|word| word != "image").skip(1));
    command.env(STORE, place.data.join("images"));
    command.stderr(std::process::Stdio::inherit());
    let output = userns::output(command)?;
    std::io::Write::write_all(&mut std::io::stdout(), &output.stdout).at("write", "output")?;
    Ok(u8::try_from(output.status.code().unwrap_or(125)).unwrap_or(125))
}

fn list(store: &Store, json: bool) -> Result<()> {
    let records = store.records()?;
    if json {
        let text = serde_json::to_string_pretty(&records).at("print", "images")?;
        println!("{text}");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["ID", "NAME", "LAYERS", "SIZE", "UNPACKED"]);
    for record in records {
        let short = record.digest()?.short().to_owned();
        let names = record.names.iter().filter(|name| !name.starts_with(fetch::ALIAS));
        let names = match &names.cloned().collect::<Vec<_>>()[..] {
            [] => "-".to_owned(),
            names => names.join("\n"),
        };
        let time = i64::try_from(record.unpacked).unwrap_or(0);
        let time = jiff::Timestamp::from_second(time).unwrap_or_default();
        let time = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M");
        table.add_row([
            short,
            names,
            record.layers.len().to_string(),
            size(record.size),
            time.to_string(),
        ]);
    }
    table.lines().for_each(|line| println!("{}", line.trim_end()));
    Ok(())
}
