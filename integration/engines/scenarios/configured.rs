//! podman and Docker: what a container's configuration asks for, read back.

use std::fs;

use richrun_engines::engine::{Container, Engine};
use richrun_engines::view::View;
use richrun_engines::{Verdict, ensure};

use crate::{EngineScenario, scenario};

pub const BOTH: &[EngineScenario] = &[
    scenario("limits", limits).needs(&["memory", "pids", "cpu"]),
    scenario("pids_limit_holds", pids_limit_holds).needs(&["pids"]),
    scenario("memory_limit_kills", memory_limit_kills).needs(&["memory"]),
    scenario("cgroup_removed", cgroup_removed),
    scenario("user_and_groups", user_and_groups),
    scenario("working_directory", working_directory),
    scenario("hostname_and_environment", hostname_and_environment),
    scenario("tmpfs", tmpfs),
    scenario("no_new_privileges", no_new_privileges),
    scenario("seccomp", seccomp),
    scenario("ulimits", ulimits),
    scenario("sysctl", sysctl),
    scenario("devices", devices),
    scenario("masked_paths", masked_paths),
    scenario("privileged", privileged),
    scenario("host_namespaces", host_namespaces),
    scenario("shared_pid_namespace", shared_pid_namespace),
];

/// Docker has no `--uidmap` and no `nosuid` for `-v`, its `--read-only` brings no
/// writable `/tmp`, and an ordinary user of its containers gets no capabilities.
pub const PODMAN: &[EngineScenario] = &[
    scenario("read_only_root", read_only_root),
    scenario("volumes", volumes),
    scenario("capabilities", capabilities),
    scenario("user_namespace", user_namespace),
];

/// Starts a container that waits.
fn waiting<'a>(
    engine: &'a Engine<'_>,
    what: &str,
    options: &[&str],
) -> Result<Container<'a>, String> {
    engine.detached(&engine.unique(what), options, &["sleep", "1000"])
}

fn limits(engine: &Engine<'_>) -> Verdict {
    let container = waiting(
        engine,
        "limits",
        &["-m", "64m", "--pids-limit", "20", "--cpus", "0.5", "--cpu-shares", "512"],
    )?;
    let pid = container.pid()?;
    let expected: &[(&str, &str, &str)] = match engine.sandbox.view {
        View::V1 | View::Hybrid => &[
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("pids", "pids.max", "20"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
            ("cpu", "cpu.cfs_period_us", "100000"),
            ("cpu", "cpu.shares", "512"),
        ],
        View::V2 => &[
            ("memory", "memory.max", "67108864"),
            ("pids", "pids.max", "20"),
            ("cpu", "cpu.max", "50000 100000"),
        ],
    };
    for (controller, file, value) in expected {
        let knob = engine.sandbox.knob(pid, controller, file)?;
        let found =
            fs::read_to_string(&knob).map_err(|error| format!("{}: {error}", knob.display()))?;
        ensure(found.trim() == *value, || {
            format!("{}: {value} expected, {found} found", knob.display())
        })?;
    }
    Ok(())
}

fn pids_limit_holds(engine: &Engine<'_>) -> Verdict {
    let script = "n=0; while [ $n -lt 20 ]; do sleep 5 & n=$((n+1)); done; echo all";
    let outcome = engine.run(&["--pids-limit", "10"], &["sh", "-c", script])?;
    ensure(!outcome.stdout.contains("all"), || {
        format!("20 processes where 10 are allowed: {outcome}")
    })
}

fn memory_limit_kills(engine: &Engine<'_>) -> Verdict {
    let payload = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
    engine.run(&["-m", "400m"], &payload)?.exits(0)?;
    engine.run(&["-m", "20m"], &payload)?.exits(137).map(drop)
}

fn cgroup_removed(engine: &Engine<'_>) -> Verdict {
    let container = waiting(engine, "cgroup", &[])?;
    let directory = engine.sandbox.knob(container.pid()?, "pids", "")?;
    ensure(directory.join("cgroup.procs").exists(), || {
        format!("{} is not there", directory.display())
    })?;
    ensure(directory.to_string_lossy().contains(&engine.sandbox.cgroup), || {
        format!("{} is not ours", directory.display())
    })?;
    drop(container);
    ensure(!directory.exists(), || format!("{} is left", directory.display()))
}

fn user_and_groups(engine: &Engine<'_>) -> Verdict {
    engine
        .run(&["-u", "user"], &["sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"])?
        .prints("1000 1000 1000 2000 /tmp")?;
    engine
        .run(&["-u", "1234:2345"], &["sh", "-c", "echo $(id -u) $(id -g) $(id -G)"])?
        .prints("1234 2345 2345")?;
    engine
        .run(&["-u", "1000", "--group-add", "3000"], &["sh", "-c", "id -G"])?
        .prints("1000 2000 3000")
}

fn working_directory(engine: &Engine<'_>) -> Verdict {
    engine.run(&["-w", "/srv"], &["pwd"])?.prints("/srv")?;
    engine.run(&["-w", "/root", "-u", "user"], &["pwd"])?.prints("/root")
}

fn hostname_and_environment(engine: &Engine<'_>) -> Verdict {
    engine
        .run(&["--hostname", "richly", "-e", "A=1 2"], &["sh", "-c", "hostname; echo \"$A\""])?
        .prints("richly\n1 2")
}

fn read_only_root(engine: &Engine<'_>) -> Verdict {
    let script = "touch /new 2>/dev/null && echo wrote; touch /tmp/new && touch /run/new && touch /dev/shm/new && echo fine";
    engine.run(&["--read-only"], &["sh", "-c", script])?.prints("fine")
}

fn volumes(engine: &Engine<'_>) -> Verdict {
    let volume = engine.shared("volume")?;
    engine.run(&["-v", &volume], &["sh", "-c", "echo written >/shared/file"])?.exits(0)?;
    let host = fs::read_to_string(engine.shared_dir("volume").join("file"))
        .map_err(|error| error.to_string())?;
    ensure(host == "written\n", || host.clone())?;
    let script = "cat /shared/file; touch /shared/x 2>/dev/null && echo wrote; true";
    engine.run(&["-v", &format!("{volume}:ro")], &["sh", "-c", script])?.prints("written")?;
    let options = engine
        .run(
            &["-v", &format!("{volume}:nosuid,nodev,noexec")],
            &["grep", " /shared ", "/proc/self/mountinfo"],
        )?
        .text()?;
    ensure(["nosuid", "nodev", "noexec"].iter().all(|option| options.contains(option)), || {
        options.clone()
    })
}

fn tmpfs(engine: &Engine<'_>) -> Verdict {
    let line = engine
        .run(
            &["--tmpfs", "/srv:size=1m,mode=1770"],
            &["sh", "-c", "ls /srv; stat -c %a /srv; grep ' /srv ' /proc/self/mountinfo"],
        )?
        .text()?;
    ensure(line.contains("1770") && line.contains("size=1024k") && line.contains("tmpfs"), || {
        line.clone()
    })
}

fn capabilities(engine: &Engine<'_>) -> Verdict {
    let effective = ["sh", "-c", "grep CapEff /proc/self/status | head -n 1"];
    engine.run(&["--cap-drop", "all"], &effective)?.prints("CapEff:\t0000000000000000")?;
    engine
        .run(&["--cap-drop", "all", "--cap-add", "chown", "--cap-add", "net_admin"], &effective)?
        .prints("CapEff:\t0000000000001001")?;
    engine.run(&["-u", "user"], &effective)?.prints("CapEff:\t0000000000000000")?;
    engine
        .run(&["-u", "user", "--cap-add", "net_raw"], &effective)?
        .prints("CapEff:\t0000000000002000")
}

fn no_new_privileges(engine: &Engine<'_>) -> Verdict {
    let ask = ["grep", "NoNewPrivs", "/proc/self/status"];
    engine.run(&[], &ask)?.prints("NoNewPrivs:\t0")?;
    engine.run(&["--security-opt", "no-new-privileges"], &ask)?.prints("NoNewPrivs:\t1")
}

fn seccomp(engine: &Engine<'_>) -> Verdict {
    let ask = ["grep", "Seccomp:", "/proc/self/status"];
    engine.run(&[], &ask)?.prints("Seccomp:\t2")?;
    engine.run(&["--security-opt", "seccomp=unconfined"], &ask)?.prints("Seccomp:\t0")?;
    let profile = engine.sandbox.work.join(engine.unique("profile.json"));
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#;
    fs::write(&profile, text).map_err(|error| error.to_string())?;
    let option = format!("seccomp={}", profile.display());
    let outcome = engine.run(&["--security-opt", &option], &["mkdir", "/tmp/x"])?.exits(1)?;
    ensure(outcome.stderr.contains("not supported"), || format!("errno 95 expected: {outcome}"))
}

fn ulimits(engine: &Engine<'_>) -> Verdict {
    engine
        .run(
            &["--ulimit", "nofile=512:700", "--ulimit", "nproc=1000:1000"],
            &["sh", "-c", "ulimit -n; ulimit -Hn"],
        )?
        .prints("512\n700")
}

fn sysctl(engine: &Engine<'_>) -> Verdict {
    engine
        .run(
            &["--sysctl", "net.ipv4.ip_forward=0", "--sysctl", "kernel.msgmax=9000"],
            &["sh", "-c", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"],
        )?
        .prints("0\n9000")
}

fn devices(engine: &Engine<'_>) -> Verdict {
    let script = "for d in null zero full tty random urandom; do [ -c /dev/$d ] || echo no $d; done; \
                  [ -e /dev/fuse ] && echo fuse; echo x >/dev/null; head -c 3 /dev/zero | wc -c 2>/dev/null; true";
    let outcome = engine.run(&[], &["sh", "-c", script])?;
    ensure(!outcome.stdout.contains("no ") && !outcome.stdout.contains("fuse"), || {
        format!("{outcome}")
    })?;
    engine
        .run(
            &["--device", "/dev/zero:/dev/nought"],
            &["sh", "-c", "head -c 3 /dev/nought >/dev/null && stat -c %t:%T /dev/nought"],
        )?
        .prints("1:5")
}

fn masked_paths(engine: &Engine<'_>) -> Verdict {
    let script = "cat /proc/kcore | head -c 1; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v ':$'; touch /proc/sys/kernel/hostname 2>&1 | grep -c 'Read-only'";
    engine.run(&[], &["sh", "-c", script])?.prints("1")
}

fn privileged(engine: &Engine<'_>) -> Verdict {
    let script = "mount -t tmpfs none /srv && echo mounted; [ -w /proc/sys/kernel/domainname ] && echo writable; grep Seccomp: /proc/self/status";
    engine.run(&["--privileged"], &["sh", "-c", script])?.prints("mounted\nwritable\nSeccomp:\t0")
}

fn host_namespaces(engine: &Engine<'_>) -> Verdict {
    let mut ours = engine.sandbox.command("readlink");
    ours.args(["/proc/self/ns/net", "/proc/self/ns/ipc", "/proc/self/ns/uts"]);
    let ours =
        richrun_engines::command::run(ours, b"", richrun_engines::command::PATIENCE)?.text()?;
    let script = "for n in net ipc uts; do readlink /proc/self/ns/$n; done";
    engine
        .run(&["--network", "host", "--ipc", "host", "--uts", "host"], &["sh", "-c", script])?
        .prints(&ours)
}

fn user_namespace(engine: &Engine<'_>) -> Verdict {
    let options = ["--uidmap", "0:200000:1000", "--gidmap", "0:300000:1000"];
    let table = engine
        .run(
            &options,
            &[
                "sh",
                "-c",
                "cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c %u:%g /etc/passwd",
            ],
        )?
        .text()?;
    let words: Vec<&str> = table.split_whitespace().collect();
    ensure(words == ["0", "200000", "1000", "0", "300000", "1000", "0", "0:0"], || table.clone())
}

fn shared_pid_namespace(engine: &Engine<'_>) -> Verdict {
    let first = waiting(engine, "pidns", &[])?;
    let outcome = engine.run(
        &["--pid", &format!("container:{}", first.name)],
        &["sh", "-c", "tr=$(cat /proc/1/comm); echo $tr"],
    )?;
    outcome.prints("sleep")?;
    let second = engine.detached(
        &engine.unique("pidns2"),
        &["--pid", &format!("container:{}", first.name)],
        &["sh", "-c", "sleep 1000 & sleep 1000"],
    )?;
    engine.remove(&second.name)?.exits(0)?;
    ensure(first.field(".State.Status")? == "running", || "the first lives on".into())?;
    let left = first.exec(&[], &["sh", "-c", "ps | grep -c '[s]leep 1000'"])?.text()?;
    ensure(left == "1", || format!("processes of the second container are left: {left}"))
}
