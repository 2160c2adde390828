//! What the manual says beyond a command line: exit statuses, environment, files.

/// A term and what it means.
pub type Row = (&'static str, &'static str);

/// The exit statuses of a command; of all of them where none is named.
pub fn statuses(verb: Option<&str>) -> Vec<Row> {
    let failed = "The command failed; one line on standard error, and in the log, says at which \
                  step and why.";
    let mut rows = match verb {
        Some("run") => vec![
            ("0 to 255", "That of the payload, when it ended by itself."),
            ("128+n", "Signal n ended the payload."),
            ("0", "With --detach: the container runs."),
        ],
        Some("exec") => vec![
            ("0 to 254", "That of the process, when it ended by itself."),
            ("128+n", "Signal n ended the process."),
            ("0", "With --detach: the process runs."),
            ("255", "The process could not be started."),
        ],
        Some("delete") => {
            vec![("0", "The container is gone; with --force also when there was none.")]
        }
        Some("hooks run") => vec![("0", "Every hook succeeded.")],
        Some("hooks check") => vec![("0", "Nothing is wrong.")],
        _ => vec![("0", "Success.")],
    };
    if verb != Some("exec") {
        rows.push(("1", failed));
    }
    if verb.is_none() {
        rows.push(("3", "There is no command of that name."));
        rows.push(("other", "run and exec exit as the process did; exec fails with 255."));
    }
    rows
}

/// The environment variables that a command reads.
pub fn environment(verb: Option<&str>) -> Vec<Row> {
    let runtime_dir = (
        "XDG_RUNTIME_DIR",
        "Where an ordinary user's containers are kept, in richrun/, unless --root says otherwise.",
    );
    let listen = (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Sockets from a service manager (sd_listen_fds(3)): passed to the process when LISTEN_PID \
         is richrun's own process.",
    );
    let notify = (
        "NOTIFY_SOCKET",
        "A service manager's socket (sd_notify(3)): the payload finds one of its own at \
         /run/notify/notify.sock, and what it says of its readiness is handed on.",
    );
    match verb {
        Some(verb) if verb.starts_with("hooks") => Vec::new(),
        Some("spec" | "features") => Vec::new(),
        Some("create" | "run") => vec![listen, notify, runtime_dir],
        Some("start") => vec![notify, runtime_dir],
        Some("exec") => vec![listen, runtime_dir],
        None => vec![listen, notify, runtime_dir],
        Some(_) => vec![runtime_dir],
    }
}

/// The files that a command reads and writes.
pub fn files(verb: Option<&str>) -> Vec<Row> {
    let bundle = ("config.json", "In the bundle: the container's configuration.");
    let state = (
        "/run/richrun/ID/",
        "The state of container ID: state.json, its configuration as it was at create, and \
         exec.fifo as long as it waits for start. For an ordinary user \
         $XDG_RUNTIME_DIR/richrun/ID/; elsewhere with --root.",
    );
    let settings = (
        "/etc/richrun/config.toml",
        "The administrator's settings. hooks_dirs = [\"DIR\", ...] names the directories of hook \
         definitions (oci-hooks(5)) for all containers, lowest precedence first; none if it is not \
         set. Engines that read such directories themselves, as podman does, run the hooks of a \
         directory twice when it stands here too.",
    );
    let definitions = (
        "*.json in a directory of hook definitions",
        "Which hooks to add to which containers (oci-hooks(5), schema 1.0.0). Files of the same \
         name in a later directory replace those of an earlier one; they apply in the order of \
         their names.",
    );
    let cgroups = ("/sys/fs/cgroup", "Where the containers' cgroups are made.");
    match verb {
        Some("features") => Vec::new(),
        Some("doctor") => vec![cgroups],
        Some("spec") => vec![bundle],
        Some("create" | "run") | None => vec![bundle, settings, definitions, state, cgroups],
        Some(verb) if verb.starts_with("hooks") => vec![bundle, settings, definitions],
        Some("exec" | "pause" | "resume" | "ps" | "update" | "events") => vec![state, cgroups],
        Some(_) => vec![state],
    }
}
