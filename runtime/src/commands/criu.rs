//! What `checkpoint` and `restore` make of their options.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use crate::cli::{CgroupsMode, CriuArgs};
use crate::config::file::Settings;
use crate::error::{Error, Result};
use crate::launch::criu::directory;
use crate::log;
use crate::plan::criu::{CgroupMode, DEFAULT_CONFIGS, Options, config_file};

/// Where images are, if nothing is said.
const IMAGES: &str = "checkpoint";

/// The directories, open.
pub struct Directories {
    /// Of the images.
    pub images: OwnedFd,
    /// Of the log, if it is another.
    pub work: Option<OwnedFd>,
}

impl CriuArgs {
    /// What both commands know of.
    pub fn options(&self) -> Options {
        Options {
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            empty_network: !self.empty_ns.is_empty(),
            cgroups: match self.manage_cgroups_mode {
                None => CgroupMode::Default,
                Some(CgroupsMode::Soft) => CgroupMode::Soft,
                Some(CgroupsMode::Full) => CgroupMode::Full,
                Some(CgroupsMode::Strict) => CgroupMode::Strict,
                Some(CgroupsMode::Ignore) => CgroupMode::Ignore,
            },
            ..Options::default()
        }
    }

    /// Opens the directories; `make`: that of the images is made if it is not there.
    ///
    /// # Errors
    /// The option and the path.
    pub fn directories(&self, make: bool) -> Result<Directories> {
        let given =
            |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let images = given(&self.image_path).unwrap_or_else(|| PathBuf::from(IMAGES));
        let work = given(&self.work_path);
        Ok(Directories {
            images: directory("--image-path", &images, make)?,
            work: work.map(|path| directory("--work-path", &path, true)).transpose()?,
        })
    }
}

/// CRIU needs root's rights over all processes, and over the host's namespaces.
///
/// # Errors
/// They are not there.
pub fn check_rights(verb: &str, unprivileged: bool) -> Result<()> {
    if !unprivileged {
        return Ok(());
    }
    Err(Error::system(format!(
        "{verb}: operation not permitted: CRIU needs root on the host (CAP_SYS_ADMIN and more), also for a rootless container"
    )))
}

/// The file that configures CRIU besides.
///
/// # Errors
/// The administrator's settings cannot be read.
pub fn config(spec: &Spec, settings: &Settings) -> Option<String> {
    let (file, told) = config_file(spec, &settings.annotations.allow);
    told.into_iter().for_each(log::warn);
    match file {
        Some(file) => Some(file).filter(|file| !file.is_empty()),
        None => {
            let there = DEFAULT_CONFIGS.into_iter().find(|file| Path::new(file).exists());
            there.map(str::to_owned)
        }
    }
}
