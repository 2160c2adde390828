//! What systemd finds: its container interface (systemd.io/CONTAINER_INTERFACE), its units.

use std::path::PathBuf;

use super::{BootFile, BootHost, BootWhat, INIT, PAYLOAD, STATUS, UNIT};
use crate::plan::cgroup::Mode;
use crate::plan::process::ProcessPlan;

/// Units that cannot work here: the hardware is the host's.
const HARDWARE: &[&str] =
    &["systemd-udevd.service", "systemd-udev-trigger.service", "systemd-modules-load.service"];
/// Units that ask on a terminal: it is the payload's.
const PROMPTS: &[&str] = &[
    "console-getty.service",
    "container-getty@.service",
    "getty@.service",
    "serial-getty@.service",
    "systemd-firstboot.service",
];

/// Ways to go down. While they are under way systemd takes no unit's exit
/// status for its own, so that each of them fetches the payload's.
const ENDS: &[(&str, &str)] = &[
    ("systemd-halt.service", STATUS),
    ("systemd-poweroff.service", STATUS),
    ("systemd-reboot.service", REBOOT),
    // Nothing would hold the streams of a payload that is started once more.
    ("systemd-soft-reboot.service", REBOOT),
];
/// What a reboot ends with, in a file as [`STATUS`]: as if the kernel had done
/// it, which needs CAP_SYS_BOOT (pid_namespaces(7): a death by SIGHUP).
const REBOOT: &str = "/run/richrun/reboot";
/// What an emergency comes to: an end, and no prompt that waits for ever.
const EMERGENCIES: &[&str] = &["emergency.service", "rescue.service"];
/// The target that is started in the place of `default.target`, which may be masked or lack.
pub const TARGET: &str = "richrun.target";
/// What tells of an end before the payload, as a payload's file.
const TELLER: &str = "/run/richrun/teller";
/// When the payload has not been started by then (seconds), that is such an end.
const START_LIMIT: u32 = 300;
const LATE: &str = "richrun-late";
/// The shell's line for it.
const TELL: &str = "systemctl is-active --quiet richrun-payload.service && exit 0; failed=$(systemctl list-units --state=failed --no-legend --plain --full \
    --no-pager 2>/dev/null | while read -r unit rest; do printf ' %s (%s)' \"$unit\" \
    \"$(systemctl show --value -p Result \"$unit\" 2>/dev/null)\"; done); \
    jobs=$(systemctl list-jobs --no-legend --full --no-pager 2>/dev/null | while read -r \
    id unit kind state; do [ \"$state\" = running ] && printf ' %s' \"$unit\"; done); \
    echo \"richrun: systemd did not come to the payload; failed:${failed:- none}; \
    waited for:${jobs:- none}\" >&2; exit 1";
/// A unit whose end, whatever it is, ends the container with its exit status.
const END: &str = "[Unit]\nFailureAction=exit-force\nSuccessAction=exit-force\n";
const SUCCESS: &str = "SuccessAction=exit-force\n";

/// All that systemd finds.
pub fn files(
    payload: &ProcessPlan,
    beside: bool,
    version: Option<u32>,
    (uuid, host): (&str, &BootHost),
) -> Vec<BootFile> {
    let units = "/run/systemd/system";
    let file = |path: String, what| BootFile { path: PathBuf::from(path), what };
    let text = |path: String, text: String| file(path, BootWhat::Text(text));
    let mut files = vec![
        text("/run/host/container-manager".to_owned(), "richrun\n".to_owned()),
        text("/run/host/container-uuid".to_owned(), format!("{uuid}\n")),
    ];
    if let Some(release) = &host.os_release {
        files.push(text("/run/host/os-release".to_owned(), release.clone()));
    }
    for (name, kind) in
        [("dir", 0o040_000), ("reg", 0o100_000), ("fifo", 0o010_000), ("sock", 0o140_000)]
    {
        files.push(file(format!("/run/host/inaccessible/{name}"), BootWhat::Inaccessible(kind)));
    }
    let masked = HARDWARE.iter().chain(if beside { PROMPTS } else { &[] });
    for unit in masked {
        files.push(file(format!("{units}/{unit}"), BootWhat::Link("/dev/null".to_owned())));
    }
    files.push(text(TELLER.to_owned(), teller()));
    for unit in EMERGENCIES {
        files.push(text(format!("{units}/{unit}.d/richrun.conf"), tells(version)));
    }
    if beside {
        files.push(text(format!("{units}/{UNIT}"), unit(payload, version)));
        files.push(text(format!("{units}/{TARGET}"), target()));
        let late = "[Unit]\nDefaultDependencies=no\n[Timer]\n";
        let late = format!("{late}OnActiveSec={START_LIMIT}\nAccuracySec=1\n");
        files.push(text(format!("{units}/{LATE}.timer"), late));
        // Where the payload was started in time, this is no end.
        let late = tells(version).replace(SUCCESS, "");
        files.push(text(format!("{units}/{LATE}.service"), late));
        let wants = format!("{units}/default.target.wants/{UNIT}");
        files.push(file(wants, BootWhat::Link(format!("../{UNIT}"))));
        for (unit, status) in ENDS {
            // Up to 252 some have a command of their own, by which systemd would end without it.
            let fetch = format!(
                "{END}[Service]\nType=oneshot\nExecStart=\nExecStart={INIT} --exit-as {status}\n"
            );
            files.push(text(format!("{units}/{unit}.d/richrun.conf"), fetch));
        }
        files.push(text(REBOOT.to_owned(), "129".to_owned()));
        // Up to the end these files are needed.
        let kept = format!("{units}/run-richrun.mount.d/richrun.conf");
        files.push(text(kept, "[Unit]\nDefaultDependencies=no\n".to_owned()));
    }
    files
}

/// Where drop-ins for every service of an image may be (systemd.unit(5)).
pub const FOR_EVERY_SERVICE: [&str; 4] = [
    "/etc/systemd/system/service.d",
    "/usr/local/lib/systemd/system/service.d",
    "/usr/lib/systemd/system/service.d",
    "/lib/systemd/system/service.d",
];

/// What keeps a drop-in of that name, for every service, away from the units by which the
/// payload begins and the container ends.
pub fn not_for_the_payload(name: &str) -> impl Iterator<Item = BootFile> {
    let late = format!("{LATE}.service");
    let ends = ENDS.iter().map(|row| row.0).chain(EMERGENCIES.iter().copied());
    let units = ends.chain([UNIT, "systemd-exit.service"]).map(str::to_owned).chain([late]);
    units.map(move |unit| BootFile {
        path: format!("/run/systemd/system/{unit}.d/{name}").into(),
        what: BootWhat::Link("/dev/null".to_owned()),
    })
}

/// What comes up: all of the image's, and the payload whatever becomes of that.
fn target() -> String {
    format!(
        "# Written by richrun.\n[Unit]\nDescription=The container\nAllowIsolate=yes\n\
         Wants=default.target {UNIT} {LATE}.timer\n"
    )
}

/// Whoever runs in the place of the payload tells why, and ends the container.
fn tells(version: Option<u32>) -> String {
    let mut text = format!(
        "{END}DefaultDependencies=no\n[Service]\nType=oneshot\nExecStartPre=\nExecStart=\n\
         ExecStart={INIT} --payload {TELLER}\nStandardInput=null\nStandardOutput=null\n\
         StandardError=null\nExecStopPost=\n"
    );
    text.push_str(&exit_of_old(version));
    text
}

/// The payload's file of what tells.
fn teller() -> String {
    let args = ["/bin/sh", "-c", TELL];
    let env = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let head = ["1", "/", "0", "0", "", "22", "0", "", "", "0", "0", "3", "1"];
    head.iter().chain(&args).chain([&env]).map(|text| format!("{text}\0")).collect()
}

/// Before 240 systemd knows no `SuccessAction=exit`: its own command asks it.
fn exit_of_old(version: Option<u32>) -> String {
    match version {
        Some(old) if old < EXITS_BY_ITSELF => {
            // systemd.exec(5): the status of the main process, which is rich-init.
            "ExecStopPost=/bin/sh -c 'exec systemctl --no-block exit \"$EXIT_STATUS\"'\n".to_owned()
        }
        _ => String::new(),
    }
}

/// The first systemd that ends with a unit's exit status.
const EXITS_BY_ITSELF: u32 = 240;
/// The first whose units are told how the main process ended.
const OLDEST: u32 = 232;
/// The first that refuses control groups of v1.
const V2_ONLY: u32 = 258;

/// Why a systemd of this version cannot work here, if it is known not to.
pub fn version_lack(version: Option<u32>, mode: Mode) -> Option<String> {
    match version? {
        old if old < OLDEST => Some(format!("systemd {OLDEST} or later (the image has {old})")),
        new if new >= V2_ONLY && matches!(mode, Mode::V1 | Mode::Hybrid) => Some(format!(
            "cgroup v2 (systemd {new} of the image no longer runs on the host's cgroup v1)"
        )),
        _ => None,
    }
}

/// The payload's unit: only numbers of the configuration are in it, for what a
/// process cannot give itself.
fn unit(payload: &ProcessPlan, version: Option<u32>) -> String {
    let mut text = format!(
        "# Written by richrun.\n\
         [Unit]\n\
         Description=Payload of this container\n\
         Documentation=man:rich-init(8)\n\
         SuccessAction=exit\n\
         FailureAction=exit\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={INIT} --payload {PAYLOAD}\n\
         KillMode=mixed\n\
         Delegate=yes\n\
         IgnoreSIGPIPE=no\n\
         TasksMax=infinity\n"
    );
    text.push_str(&exit_of_old(version));
    if let Some(score) = payload.oom_score_adj {
        text.push_str(&format!("OOMScoreAdjust={score}\n"));
    }
    for limit in &payload.rlimits {
        let name = limit.name.strip_prefix("RLIMIT_").unwrap_or(&limit.name);
        let value = |value: u64| match value {
            u64::MAX => "infinity".to_owned(),
            value => value.to_string(),
        };
        text.push_str(&format!("Limit{name}={}:{}\n", value(limit.soft), value(limit.hard)));
    }
    text
}
