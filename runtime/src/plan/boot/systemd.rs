//! What systemd finds: its container interface (systemd.io/CONTAINER_INTERFACE), its units.

use std::path::PathBuf;

use super::{BootFile, BootHost, BootWhat, INIT, PAYLOAD, STATUS, UNIT};
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
];
/// What a reboot ends with, in a file as [`STATUS`]: as if the kernel had done
/// it, which needs CAP_SYS_BOOT (pid_namespaces(7): a death by SIGHUP).
const REBOOT: &str = "/run/richrun/reboot";
/// What an emergency comes to: an end, and no prompt that waits for ever.
const EMERGENCIES: &[&str] = &["emergency.service", "rescue.service"];
/// A unit whose end, whatever it is, ends the container with its exit status.
const END: &str = "[Unit]\nSuccessAction=exit-force\nFailureAction=exit-force\n";

/// All that systemd finds.
pub fn files(payload: &ProcessPlan, beside: bool, uuid: &str, host: &BootHost) -> Vec<BootFile> {
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
    for unit in EMERGENCIES {
        files.push(text(format!("{units}/{unit}.d/richrun.conf"), END.to_owned()));
    }
    if beside {
        files.push(text(format!("{units}/{UNIT}"), unit(payload)));
        let wants = format!("{units}/default.target.wants/{UNIT}");
        files.push(file(wants, BootWhat::Link(format!("../{UNIT}"))));
        for (unit, status) in ENDS {
            let fetch =
                format!("{END}[Service]\nType=oneshot\nExecStart={INIT} --exit-as {status}\n");
            files.push(text(format!("{units}/{unit}.d/richrun.conf"), fetch));
        }
        files.push(text(REBOOT.to_owned(), "129".to_owned()));
        // Up to the end these files are needed.
        let kept = format!("{units}/run-richrun.mount.d/richrun.conf");
        files.push(text(kept, "[Unit]\nDefaultDependencies=no\n".to_owned()));
    }
    files
}

/// The payload's unit: only numbers of the configuration are in it, for what a
/// process cannot give itself.
fn unit(payload: &ProcessPlan) -> String {
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
