//! What `--help` says beyond the options: one page a command, with examples.

/// The words of one command's help.
pub struct Page {
    /// One line.
    pub about: &'static str,
    /// A paragraph or two.
    pub long: &'static str,
    /// Examples to copy.
    pub examples: &'static str,
}

/// The help of `richrun` itself.
pub const TOP: Page = Page {
    about: "Run containers by the Open Container Initiative's runtime specification",
    long: "richrun runs OCI bundles: a directory with a config.json and a root file system. \
           It takes the place of runc under podman, containerd, CRI-O and Docker, and can put \
           its own PID 1 in front of the payload (--rich).",
    examples: "\
Examples:
  mkdir -p job box/rootfs/bin && cp $(command -v busybox) box/rootfs/bin/sh
  richrun spec -b box                 write a config.json to start from
  richrun run -b box demo             run it here, in this terminal
  richrun run --rich -b box demo      the same, with an init that reaps and forwards signals

  richrun run -b box demo -- sh -c 'echo hello'

  richrun spec -b job --no-terminal -- sh -c 'while :; do read -t 9 word; done'
  cp -a box/rootfs job
  richrun create -b job demo          prepare, then look or change, then
  richrun start demo                  start
  richrun exec -t demo sh             a shell inside
  richrun delete -f demo              end it and take it away",
};

const CREATE: Page = Page {
    about: "Create a container: everything is set up, the payload waits for `start`",
    long: "Sets up the container that the bundle's config.json describes (namespaces, mounts, \
           cgroup, devices, hooks) and leaves its init waiting for `start`.",
    examples: "\
Examples:
  richrun create -b box demo
  richrun create -b box --pid-file demo.pid --console-socket /run/console.sock demo
  richrun create -b box --hooks-dir /etc/containers/oci/hooks.d demo",
};

const RUN: Page = Page {
    about: "Create and start a container, and wait for it",
    long: "Does what `create` and `start` do, forwards signals and the terminal while the payload \
           runs, deletes the container when it ends, and exits with the payload's status \
           (128+n when signal n ended it).\n\nA rich container (--rich) has an init: rich-init, \
           or the image's own. It is also asked for by annotations (io.richrun.rich, .mode, \
           .initscript, .initcmd, .init-timeout, .environment-file, .stop-signal, .services), by the \
           variables rich_mode and rich_mode_launch_manner, by the table [rich] of \
           /etc/richrun/config.toml, and by the program's second name, richrun-rich: the \
           command line is the strongest, the name the weakest. What annotations and the \
           container's own variables ask for gets no more rights than the payload has, unless \
           `trust` in that table says so.",
    examples: "\
Examples:
  richrun run -b box demo
  richrun run --rich -b box demo      rich-init is PID 1: reaps, forwards, waits for descendants
  richrun run --rich --rich-mode systemd -b box demo
                                      (spec --rich systemd) the image's systemd is PID 1, the payload a unit beside it
  richrun run --rich --initcmd 'mkdir /dev/shm/cache' -b box demo
  richrun run -b box demo -- sh -c 'echo another command'
  richrun run -d --pid-file demo.pid -b box demo",
};

const START: Page = Page {
    about: "Start the payload of a created container",
    long: "Lets the init of a created container go on: it executes `process.args`.",
    examples: "Examples:\n  richrun create -b box demo && richrun start demo",
};

const STATE: Page = Page {
    about: "Print the state of a container as JSON",
    long: "Prints id, pid, status (created, running, paused or stopped), bundle, root file system, \
           creation time, annotations and owner.",
    examples: "Examples:\n  richrun state demo | jq -r .status",
};

const INSPECT: Page = Page {
    about: "Print all that is known of a container as JSON",
    long: "Prints what `state` prints, and with it how the container is rich (`rich`, null for one \
           that is not) and its cgroup directories (`cgroupPaths`).",
    examples: "Examples:\n  richrun inspect demo | jq .rich.mode",
};

const KILL: Page = Page {
    about: "Send a signal to the container's init",
    long: "Sends the signal (SIGTERM unless another is named) to the container's first process. \
           A signal is a name with or without SIG, or a number; RTMIN+3 is understood.",
    examples: "Examples:\n  richrun kill demo\n  richrun kill demo KILL\n  richrun kill demo 10",
};

const STOP: Page = Page {
    about: "Ask a container to end, and kill it if it does not",
    long: "Sends the signal (SIGTERM unless another is named; an image's init gets what it takes for \
           such a request), waits for the end, and after the time sends KILL and waits. A container \
           that does not run is no error. It is not deleted.",
    examples: "Examples:\n  richrun stop demo\n  richrun stop -t 60 -s QUIT demo",
};

const WAIT: Page = Page {
    about: "Wait for a container's end and print its exit status",
    long: "Waits for the end of the container's first process, whoever started it, and prints its \
           exit status, 128+n after signal n. Where the kernel does not tell it (before Linux 6.15), \
           or the container had ended already, it prints unknown.",
    examples: "Examples:\n  richrun wait demo\n  richrun wait demo | grep -qx 0 && echo it went well",
};

const DELETE: Page = Page {
    about: "Delete a container and all that was made for it",
    long: "Removes the state, the cgroup and what else belongs to a stopped (or only created) \
           container, and runs its poststop hooks.",
    examples: "\
Examples:
  richrun delete demo
  richrun delete -f demo              whatever its status; exit 0 if there is none",
};

const EXEC: Page = Page {
    about: "Run another process in a running container",
    long: "Runs a command in the container's namespaces and cgroup, and exits with its status \
           (255 when it could not be started). Options come before ID; everything after ID is the \
           command. With --prepare the process is made and waits; with --start it goes on.",
    examples: "\
Examples:
  richrun exec demo ls -l /
  richrun exec -t -u 1000:1000 --cwd /tmp -e LANG=C demo sh
  richrun exec -d --pid-file job.pid -p process.json demo
  richrun exec --prepare --pid-file next.pid demo true
  richrun exec --start $(cat next.pid) demo",
};

const LIST: Page = Page {
    about: "List the containers under --root",
    long: "Lists the containers whose state is under --root, with pid, status, bundle, creation \
           time and owner.",
    examples: "\
Examples:
  richrun list
  richrun list -q | xargs -rn1 richrun delete -f
  richrun --root /run/user/1000/richrun list -f json",
};

const PS: Page = Page {
    about: "List the processes of a container",
    long: "Runs ps(1) and keeps the lines of the container's processes. Options come before ID; \
           everything after ID goes to ps.",
    examples: "Examples:\n  richrun ps demo\n  richrun ps demo -o pid,ppid,args\n  richrun ps -f json demo",
};

const PAUSE: Page = Page {
    about: "Freeze all processes of a container",
    long: "Freezes the container's cgroup: its processes stay in memory and get no processor time \
           until `resume`.",
    examples: "Examples:\n  richrun pause demo && richrun resume demo",
};

const RESUME: Page = Page {
    about: "Let the processes of a paused container go on",
    long: "Thaws the container's cgroup after `pause`.",
    examples: "Examples:\n  richrun resume demo",
};

const HOOKS: Page = Page {
    about: "Run, list and check hooks by hand",
    long: "For those who write hooks: runs the hooks of a phase as the runtime would, shows \
           which hooks a container would have and why, and says what is wrong with files of \
           hooks. No container is needed.",
    examples: "\
Examples:
  richrun hooks list -b box
  richrun hooks run --phase createRuntime -b box
  richrun hooks check /etc/containers/oci/hooks.d/*.json",
};

const HOOKS_RUN: Page = Page {
    about: "Run the hooks of a phase by hand",
    long: "Runs the hooks that a bundle's container would have in a phase, in their order, with \
           the state on their standard input and the bundle as working directory; what they print \
           is shown with their names. The namespaces are the caller's in every phase: nsenter(1) \
           enters a container's. The first failure ends it, but for poststop, where all run; \
           either way the exit status is 1 then. A hook that overruns its time is killed with all \
           that it has started.",
    examples: "\
Examples:
  richrun hooks run --phase prestart -b box
  richrun state demo | richrun hooks run --phase poststart --state - --timeout 10
  richrun hooks run --phase poststop --hooks /etc/containers/oci/hooks.d/50-archive.json",
};

const HOOKS_LIST: Page = Page {
    about: "Show which hooks a bundle's container would have, and why",
    long: "Lists, phase by phase in the order in which they would run, the hooks of config.json and \
           those that directories of definitions (hooks.d) add for this bundle, with the condition \
           that decided; then the definitions that do not apply, and why not.",
    examples: "\
Examples:
  richrun hooks list -b box
  richrun hooks list -b box --hooks-dir /usr/share/containers/oci/hooks.d \\
      --hooks-dir /etc/containers/oci/hooks.d
  richrun hooks list -b box -f json | jq '.hooks[] | select(.phase == \"poststop\")'",
};

const HOOKS_CHECK: Page = Page {
    about: "Say what is wrong with files of hooks",
    long: "Reads each file, prints one line for everything that is wrong with it, or that it is \
           good, and exits with 1 if anything was wrong: fields that are missing, of the wrong kind \
           or not known, relative paths, timeouts that are not above zero, patterns that do not \
           compile, and programs that are not there or cannot be executed.",
    examples: "\
Examples:
  richrun hooks check                 config.json here, and the configured directories
  richrun hooks check box/config.json
  richrun hooks check --hooks-dir /etc/containers/oci/hooks.d",
};

const SPEC: Page = Page {
    about: "Write a config.json to start from",
    long: "Writes the configuration of a container that runs `sh` in ./rootfs on a terminal, to be \
           edited. An existing config.json is never overwritten.",
    examples: "\
Examples:
  richrun spec                        into the current directory
  richrun spec -b box
  richrun spec --rootless             for an ordinary user: a user namespace, no cgroup limits
  richrun spec --no-terminal -- server --port 80
                                      for create, pipelines and services
  richrun spec --rich systemd         the image's systemd is PID 1, with what it needs
  richrun spec --caps none            or default (Docker's fourteen), or NET_ADMIN,KILL",
};

const CHECK: Page = Page {
    about: "Say all that is wrong with a bundle",
    long: "Reads config.json, and prints a line for everything in it that is wrong or may be meant \
           otherwise: unknown fields and annotations, values that none can be, what this host cannot \
           do, mount options, hooks, seccomp profiles, and the services against the image. Nothing \
           is made. FILE may be a config.json of another name, or services for the bundle's \
           container; `hooks check` looks at files of hooks. Unknown fields are errors here, while \
           `create` passes over them as the specification says. Exit status 1 if there is an error.",
    examples: "\
Examples:
  richrun check -b box
  richrun check -b box services.toml
  richrun check box/config.json",
};

const FEATURES: Page = Page {
    about: "Print what this runtime supports, as JSON",
    long: "Prints the Features document of the runtime specification; needs no rights and no \
           container.",
    examples: "Examples:\n  richrun features | jq .linux.namespaces",
};

const DOCTOR: Page = Page {
    about: "Say what this host can do for containers, and what to do about the rest",
    long: "Looks at the kernel (each feature of docs/kernel-features.md), the control groups and \
           their controllers, user namespaces and subordinate ids, security modules, the state \
           directory, and the engines that are installed: whether their settings name richrun. A \
           line each, `good`, `note` or `bad`; below it what to paste. Nothing is changed. The exit \
           status is 0 when containers can run for this user.",
    examples: "\
Examples:
  richrun doctor
  richrun doctor -f json | jq '.findings[] | select(.level != \"good\")'",
};

const SERVICE: Page = Page {
    about: "Look at and steer the services of a rich container",
    long: "Asks the container's init, over a socket that no process of the container can reach: \
           `list` prints the services; `start` starts them and what they need and waits until they \
           are ready; `stop` stops them, and first what needs them; `restart`, `reload` and `signal` \
           concern the named ones only, and `reload` fails as the command does; `logs` prints the end of a \
           log that is kept or goes to a file; `status` prints like `list`, with exit status 3 where one \
           is not ready; `wait` waits until services are ready (without names: all that are to be up). \
           The services come from --services FILE of `run` and `create`.",
    examples: "\
Examples:
  richrun run -d --rich --services services.toml -b box demo
  richrun service list demo
  richrun service start demo grafana
  richrun service signal demo web HUP
  richrun service wait --timeout 30s demo web
  richrun service logs --follow -n 20 demo web",
};

const HEALTH: Page = Page {
    about: "Print the health of a rich container in one word",
    long: "Prints healthy, starting, unhealthy or stopping, by the states of its services and their \
           probes; none when it has no services. Exit status 0 for healthy and none, 1 otherwise.",
    examples: "Examples:\n  richrun health demo\n  richrun health -f json demo",
};

const EVENTS: Page = Page {
    about: "Print what a container uses and what happens to it",
    long: "Prints a JSON object a line, until the container ends: `stats`, what it uses, every interval; \
           `oom`, each time that it runs out of memory, whichever of its processes is killed; and in \
           a rich container with services each one as it is, then each change (`service`), and each \
           change of the container's health (`health`).",
    examples: "Examples:
  richrun events --stats demo | jq .data.memory.usage
  richrun events --interval 1s demo
  richrun events demo | jq -c 'select(.type == \"health\")'",
};

const CHECKPOINT: Page = Page {
    about: "Write a running container to images on disk, by CRIU",
    long: "Stops the container's processes and has CRIU (a program of its own, found by PATH) write their \
           memory, files, namespaces and sockets; `restore` makes a container of that, here or on another \
           host with the same files. Then the container is deleted, unless --leave-running says that it \
           goes on. Its bind mounts and namespaces that config.json names by a path are not written: \
           they are expected where it is restored. --pre-dump writes memory only, for a later checkpoint \
           with --parent-path to have less to write while the container stands still.\n\nIt takes root. \
           What CRIU cannot write it says in its log (dump.log), whose last error is in the message. \
           /etc/criu/richrun.conf configures CRIU besides, else /etc/criu/runc.conf, or the file that the \
           annotation org.criu.config names, where the administrator allows it (annotations.allow in \
           /etc/richrun/config.toml).",
    examples: "\
Examples:
  richrun checkpoint --image-path /var/tmp/demo demo
  richrun restore -d --image-path /var/tmp/demo -b box demo2

  richrun checkpoint --leave-running --image-path /var/tmp/copy demo
  richrun checkpoint --pre-dump --image-path /var/tmp/demo/0 demo
  richrun checkpoint --parent-path ../0 --image-path /var/tmp/demo/1 demo",
};

const RESTORE: Page = Page {
    about: "Make a container of what `checkpoint` has written, by CRIU",
    long: "Makes the container's directory, control groups and mount points by the bundle's config.json, \
           runs its prestart and createRuntime hooks, and has CRIU restore the processes, which go on \
           where they stood; poststart hooks follow. Limits and devices are config.json's; what the \
           processes are (credentials, filters, profiles) is the images'. The bundle must be what it \
           was at the checkpoint, the id need not. Without -d it waits, as `run` does, and deletes the \
           container at its end.\n\nImages are trusted: who can write them decides what runs as root. \
           When CRIU fails, its last error (restore.log) is in the message, and nothing is left.",
    examples: "\
Examples:
  richrun restore -d --image-path /var/tmp/demo -b box demo
  richrun restore --image-path /var/tmp/demo -b box demo2     wait for its end
  richrun restore -d --console-socket /run/console.sock -b box demo",
};

const UPDATE: Page = Page {
    about: "Change a container's limits",
    long: "Writes other limits into the container's cgroups, and keeps them: what is not named stays as \
           it is. All of them hold, or, when the kernel refuses one, none: those that were written \
           are taken back. Devices in a document of resources are passed over, as with runc.",
    examples: "\
Examples:
  richrun update --memory 256M --memory-swap 512M demo
  richrun update --cpu-quota 50000 --cpu-period 100000 --pids-limit 100 demo
  echo '{\"memory\": {\"limit\": 268435456}}' | richrun update -r - demo",
};

const MOUNTS: Page = Page {
    about: "Mount and unmount in a running container",
    long: "Changes what is mounted in a container that runs, is paused, or waits for its start. The \
           saved configuration stays as it was at create; /proc/PID/mountinfo tells what is mounted.",
    examples: "\
Examples:
  echo '[{\"destination\": \"/tmp\", \"type\": \"tmpfs\"}]' | richrun mounts add demo -
  richrun mounts add demo mounts.json",
};

const MOUNTS_ADD: Page = Page {
    about: "Mount in a running container",
    long: "Mounts each entry of the array as create does it: options, id mappings and relative sources \
           mean the same, and what the host has read-only a container with a user namespace cannot \
           make writable. All are mounted or, when one cannot be, none. What shows namespaces of who \
           mounts it (proc, sysfs, mqueue, cgroup) is refused: bind what is mounted already. A mount \
           point that was made stays. Needs Linux 5.12.",
    examples: "\
Examples:
  richrun mounts add demo mounts.json
  echo '[{\"destination\": \"/tmp\", \"type\": \"tmpfs\"}]' | richrun mounts add demo -",
};

const MOUNTS_REMOVE: Page = Page {
    about: "Unmount in a running container",
    long: "Takes away what is mounted at each entry's destination, with all that is mounted below it; \
           nothing else of an entry counts. Who has a file open there keeps it. A destination is \
           reached by no link, since the container could have put one there: name the place itself.",
    examples: "\
Examples:
  echo '[{\"destination\": \"/dev/mqueue\"}]' | richrun mounts remove demo -",
};

/// The page of a command; that of a command's command has both names: `hooks run`.
pub fn page(verb: &str) -> &'static Page {
    match verb {
        "create" => &CREATE,
        "run" => &RUN,
        "start" => &START,
        "inspect" => &INSPECT,
        "state" => &STATE,
        "kill" => &KILL,
        "delete" => &DELETE,
        "stop" => &STOP,
        "wait" => &WAIT,
        "exec" => &EXEC,
        "list" => &LIST,
        "ps" => &PS,
        "pause" => &PAUSE,
        "resume" => &RESUME,
        "hooks" => &HOOKS,
        "hooks run" => &HOOKS_RUN,
        "hooks list" => &HOOKS_LIST,
        "hooks check" => &HOOKS_CHECK,
        "spec" => &SPEC,
        "check" => &CHECK,
        "features" => &FEATURES,
        "doctor" => &DOCTOR,
        "service" => &SERVICE,
        "health" => &HEALTH,
        "events" => &EVENTS,
        "checkpoint" => &CHECKPOINT,
        "restore" => &RESTORE,
        "update" => &UPDATE,
        "mounts" => &MOUNTS,
        "mounts add" => &MOUNTS_ADD,
        "mounts remove" => &MOUNTS_REMOVE,
        _ => &TOP,
    }
}
