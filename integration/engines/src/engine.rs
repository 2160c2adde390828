//! An engine's command line, as far as podman and Docker have it in common.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::command::{Outcome, PATIENCE, run};
use crate::kind::Kind;
use crate::runtimes::RICH_NAME;
use crate::sandbox::Sandbox;
use crate::system::System;
use crate::terminal::Terminal;
use crate::{docker, podman, within};

/// An engine in a sandbox, with one runtime and one image.
#[derive(Debug, Clone, Copy)]
pub struct Engine<'a> {
    /// Which one.
    pub kind: Kind,
    /// Where it runs.
    pub sandbox: &'a Sandbox,
    /// The runtime's path inside the sandbox.
    pub runtime: &'a Path,
    /// What containers are made of.
    pub image: &'a str,
}

impl<'a> Engine<'a> {
    /// The same with another runtime.
    pub fn with_runtime(self, runtime: &'a Path) -> Self {
        Self { runtime, ..self }
    }

    /// The same with another image.
    pub fn with_image(self, image: &'a str) -> Self {
        Self { image, ..self }
    }
}

impl Engine<'_> {
    /// The init of the image.
    pub fn system(&self) -> Result<System, String> {
        System::of_image(self.image)
    }

    /// Whether the runtime makes everything rich.
    pub fn is_rich(&self) -> bool {
        self.runtime.file_name() == Some(std::ffi::OsStr::new(RICH_NAME))
    }

    /// The command `podman ARGS` or `docker ARGS`, in the sandbox.
    pub fn command(&self, args: &[&str]) -> Command {
        match self.kind {
            Kind::Podman | Kind::Rootless => {
                podman::command(self.sandbox, self.kind, self.runtime, args)
            }
            Kind::Docker => docker::command(self.sandbox, self.runtime, args),
        }
    }

    /// Runs `ENGINE ARGS`.
    pub fn call(&self, args: &[&str]) -> Result<Outcome, String> {
        run(self.command(args), b"", PATIENCE)
    }

    /// Runs `ENGINE ARGS` with `input` on its standard input.
    pub fn call_with(&self, args: &[&str], input: &str) -> Result<Outcome, String> {
        run(self.command(args), input.as_bytes(), PATIENCE)
    }

    /// Runs `ENGINE run --rm OPTIONS IMAGE PAYLOAD`.
    pub fn run(&self, options: &[&str], payload: &[&str]) -> Result<Outcome, String> {
        self.call(
            &self
                .run_line(&["--rm"], options, payload)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    }

    /// Starts a container in the background.
    pub fn detached(
        &self,
        name: &str,
        options: &[&str],
        payload: &[&str],
    ) -> Result<Container<'_>, String> {
        let line = self.run_line(&["-d", "--name", name], options, payload);
        self.call(&line.iter().map(String::as_str).collect::<Vec<_>>())?.exits(0)?;
        Ok(Container { engine: self, name: name.to_owned() })
    }

    /// Starts `ENGINE run --rm -it OPTIONS IMAGE PAYLOAD` on a terminal.
    pub fn terminal(&self, options: &[&str], payload: &[&str]) -> Result<Terminal, String> {
        let line = self.run_line(&["--rm", "-it"], options, payload);
        Terminal::start(&self.command(&line.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// A name that no other trial of this sandbox uses.
    pub fn unique(&self, what: &str) -> String {
        let runtime = self.runtime.file_name().unwrap_or_default().to_string_lossy();
        format!("{}-{runtime}-{what}", self.kind.name())
    }

    /// A directory that the host and a container share, as `-v` wants it: on the container's `/shared`.
    pub fn shared(&self, what: &str) -> Result<String, String> {
        let dir = self.shared_dir(what);
        let open = fs::Permissions::from_mode(0o777);
        fs::create_dir_all(&dir)
            .and_then(|()| fs::set_permissions(&dir, open))
            .map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(format!("{}:/shared", dir.display()))
    }

    /// That directory, where the host sees it.
    pub fn shared_dir(&self, what: &str) -> PathBuf {
        self.sandbox.work.join(self.unique(what))
    }

    /// A port of the sandbox that no other trial uses.
    pub fn port(&self) -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// `run FIRST [--cgroup-parent ...] OPTIONS IMAGE PAYLOAD`.
    fn run_line(&self, first: &[&str], options: &[&str], payload: &[&str]) -> Vec<String> {
        let parent = format!("/{}", self.sandbox.cgroup);
        let mut line = vec!["run"];
        line.extend(first);
        if self.kind == Kind::Podman && !options.contains(&"--pod") {
            line.extend(["--cgroup-parent", &parent]);
        }
        line.extend(options);
        line.push(self.image);
        line.extend(payload);
        line.into_iter().map(str::to_owned).collect()
    }

    /// Imports a root file system's archive as an image.
    pub fn import(&self, archive: &Path, name: &str) -> crate::Verdict {
        self.call(&["import", &archive.to_string_lossy(), name])?.exits(0).map(drop)
    }

    /// Removes a container, by force and at once.
    pub fn remove(&self, name: &str) -> Result<Outcome, String> {
        match self.kind {
            Kind::Podman | Kind::Rootless => self.call(&["rm", "-f", "-t", "0", "-i", name]),
            Kind::Docker => self.call(&["rm", "-f", name]),
        }
    }
}

/// A container that runs in the background; removed when dropped.
#[derive(Debug)]
pub struct Container<'a> {
    engine: &'a Engine<'a>,
    /// The container's name.
    pub name: String,
}

impl Container<'_> {
    /// One field of `ENGINE inspect`, by its template.
    pub fn field(&self, template: &str) -> Result<String, String> {
        self.engine
            .call(&["inspect", "--format", &format!("{{{{{template}}}}}"), &self.name])?
            .text()
    }

    /// The first process, as the sandbox numbers it; 0 when there is none.
    pub fn pid(&self) -> Result<i32, String> {
        self.field(".State.Pid")?.parse().map_err(|error| format!("pid: {error}"))
    }

    /// Waits until `ENGINE logs` holds `text`.
    pub fn logs(&self, text: &str) -> Result<String, String> {
        within(&format!("{text:?} in the logs of {}", self.name), || {
            let outcome = self.engine.call(&["logs", &self.name]).ok()?;
            let all = outcome.stdout + &outcome.stderr;
            all.contains(text).then_some(all)
        })
    }

    /// `ENGINE wait`: the exit code, once it has ended.
    pub fn wait(&self) -> Result<i32, String> {
        let text = self.engine.call(&["wait", &self.name])?.text()?;
        text.parse().map_err(|error| format!("podman wait printed {text:?}: {error}"))
    }

    /// `ENGINE exec OPTIONS NAME PAYLOAD`.
    pub fn exec(&self, options: &[&str], payload: &[&str]) -> Result<Outcome, String> {
        let mut line = vec!["exec"];
        line.extend(options);
        line.push(&self.name);
        line.extend(payload);
        self.engine.call(&line)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.engine.remove(&self.name);
    }
}
