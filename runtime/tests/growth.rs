//! What lists in documents cost grows as their length does, also where entries speak of each other:
//! each at one size and at four times that size. (`tests/fuzz` has a list for each field.)
//!
//! Measured is the processor time of the thread, which does not depend on what else the machine does;
//! the least of some attempts counts. In linear time it is four times as much, in quadratic time sixteen.

use std::time::Duration;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxSeccomp};
use richrun::config::Config;
use richrun::config::services::{Accounts, Services, Source};
use richrun::plan::cgroup::devices;
use richrun::plan::seccomp::{Arch, compile};
use rustix::time::{ClockId, clock_gettime};

/// Attempts at each size.
const ATTEMPTS: u32 = 3;
/// What takes less than this at both sizes is fast enough, and too short to compare.
const SHORT: Duration = Duration::from_millis(20);

fn cost(work: &dyn Fn()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let one = |_| {
        let begun = now();
        work();
        now() - begun
    };
    (0..ATTEMPTS).map(one).min().unwrap_or_default()
}

/// `text` makes a document with a list of so many entries, `work` takes it.
#[track_caller]
fn grows(what: &str, size: usize, text: impl Fn(usize) -> String, work: impl Fn(&str)) {
    let (small, large) = (text(size), text(4 * size));
    let (first, second) = (cost(&|| work(&small)), cost(&|| work(&large)));
    let ratio = second.as_secs_f64() / first.as_secs_f64().max(1e-9);
    println!("{what}: {size}: {first:?}, four times that: {second:?}, {ratio:.1}");
    assert!(second < SHORT || ratio < 8.0, "{what}: {first:?}, then {second:?}: {ratio:.1}");
}

fn many(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

fn list(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(",")
}

fn services(text: &str) {
    // A refusal is as good as an answer: it is the time that counts.
    let accounts = Accounts::default();
    let _ = Services::read(&[Source::of_text("f", text.to_owned())], &accounts);
}

#[test]
fn services_in_toml() {
    let web = "[service.web]\ncommand = [\"x\"]\n";
    grows("keys", 5000, |n| many(n, |i| format!("k{i} = 1\n")), services);
    grows(
        "a service's keys",
        5000,
        |n| web.to_owned() + &many(n, |i| format!("k{i} = 1\n")),
        services,
    );
    grows(
        "tables",
        2000,
        |n| many(n, |i| format!("[service.s{i}]\ncommand = [\"x\"]\n")),
        services,
    );
    grows("arrays of tables", 5000, |n| many(n, |_| "[[a]]\n".to_owned()), services);
    grows(
        "a list",
        10_000,
        |n| format!("{web}needs = [\n{}]\n", many(n, |_| "\"web\",\n".to_owned())),
        services,
    );
    let env = |n| format!("{web}env = {{{}}}\n", list(n, |i| format!("K{i} = \"v\"")));
    grows("variables", 5000, env, services);
    let watch = |n| format!("{web}watch = [\n{}]\n", many(n, |i| format!("\"/p{i}\",\n")));
    grows("paths", 10_000, watch, services);
    grows("dotted keys", 5000, |n| many(n, |i| format!("a.k{i} = 1\n")), services);
    grows("comments", 20_000, |n| many(n, |_| "#\n".to_owned()) + web, services);
}

#[test]
fn services_in_json() {
    grows("keys", 5000, |n| format!("{{{}}}", list(n, |i| format!("\n\"k{i}\": 1"))), services);
    grows(
        "a list",
        10_000,
        |n| {
            format!(
                "{{\"service\": {{\"web\": {{\"command\": [\"x\"],\n\"needs\": [{}]}}}}}}",
                list(n, |_| "\n\"web\"".to_owned())
            )
        },
        services,
    );
}

#[test]
fn users_and_groups() {
    let text = |n| {
        let groups = list(n, |i| format!("\"g{i}\""));
        format!("[service.web]\ncommand = [\"x\"]\nuser = \"u0\"\ngroups = [{groups}]\n")
    };
    let accounts = |n| {
        Accounts::new(
            many(n, |i| format!("u{i}:x:{i}:{i}::/:\n")),
            many(n, |i| format!("g{i}:x:{i}:u0\n")),
        )
    };
    let work = |document: &str| {
        let n = document.matches("\"g").count();
        let services = Services::read(&[Source::of_text("f", document.to_owned())], &accounts(n));
        services.expect("services");
    };
    grows("groups", 4000, text, work);
}

#[test]
fn device_rules() {
    let work = |text: &str| {
        let list: Vec<LinuxDeviceCgroup> = serde_json::from_str(text).expect("rules");
        let rules = devices::rules(&list, &devices::Mknod::Any).expect("rules");
        let _ = rules.v1_lines();
    };
    let rule = |allow: bool, major: usize, minor: i64, access: &str| {
        format!(
            r#"{{"allow":{allow},"type":"c","major":{major},"minor":{minor},"access":"{access}"}}"#
        )
    };
    grows("one by one", 4000, |n| format!("[{}]", list(n, |i| rule(true, i, 1, "rw"))), work);
    let by_turns = |n| format!("[{}]", list(n, |i| rule(i % 2 == 0, i / 2, 1, "rw")));
    grows("allowed and denied", 4000, by_turns, work);
    let apart = |n| format!("[{}]", list(n, |i| rule(i % 2 == 0, i + i % 2 * 1_000_000, 1, "rw")));
    grows("denied where nothing is allowed", 4000, apart, work);
    let wild =
        |n| format!("[{}]", list(n, |i| rule(i < n / 2, 2 * (i % (n / 2)) + i * 2 / n, -1, "m")));
    grows("with wild cards", 4000, wild, work);
}

#[test]
fn seccomp_rules() {
    let work = |text: &str| {
        let profile: LinuxSeccomp = serde_json::from_str(text).expect("a profile");
        let _ = compile(&profile, Arch::X86_64);
    };
    let profile = |rules: String| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"syscalls":[{rules}]}}"#
        )
    };
    let rule = |value: usize, more: &str| {
        format!(
            r#"{{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{{"index":1,"value":{value},"op":"SCMP_CMP_EQ"}}{more}]}}"#
        )
    };
    grows("one call", 2000, |n| profile(list(n, |i| rule(i, ""))), work);
    grows("the same", 2000, |n| profile(list(n, |i| rule(i % 100, ""))), work);
    let more = r#",{"index":2,"value":1,"op":"SCMP_CMP_EQ"}"#;
    let shorter = |n| profile(list(n, |i| rule(i % (n / 2), if i < n / 2 { more } else { "" })));
    grows("shorter and shorter", 2000, shorter, work);
    let errno = |i: usize| {
        format!(r#"{{"names":["close"],"action":"SCMP_ACT_ERRNO","errnoRet":{}}}"#, i % 60000 + 2)
    };
    grows("answers", 8000, |n| profile(list(n, errno)), work);
    let twice = |n| {
        let args = list(n, |i| format!(r#"{{"index":1,"value":{i},"op":"SCMP_CMP_EQ"}}"#));
        let names = list(n, |_| "\"ioctl\",\"fcntl\"".to_owned());
        profile(format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#))
    };
    grows("names and conditions", 500, twice, work);
}

#[test]
fn a_configuration() {
    let spec = |field: String| format!(r#"{{"ociVersion":"1.2.0","root":{{"path":"/"}},{field}}}"#);
    let work = |text: &str| {
        let directory = std::env::temp_dir().join(format!(
            "growth-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("config.json"), text).expect("a configuration");
        let _ = Config::load(&directory);
        std::fs::remove_dir_all(&directory).expect("remove it");
    };
    let process = |field: String| {
        spec(format!(r#""process":{{"cwd":"/","args":["x"],"user":{{"uid":0,"gid":0}},{field}}}"#))
    };
    for (what, text) in [
        (
            "env",
            Box::new(|n| process(format!(r#""env":[{}]"#, list(n, |i| format!("\"K{i}=v\"")))))
                as Box<dyn Fn(usize) -> String>,
        ),
        (
            "args",
            Box::new(|n| {
                process(format!(
                    r#""rlimits":[{}]"#,
                    list(n, |_| r#"{"type":"RLIMIT_CPU","soft":1,"hard":1}"#.into())
                ))
            }),
        ),
        (
            "capabilities",
            Box::new(|n| {
                process(format!(
                    r#""capabilities":{{"bounding":[{}]}}"#,
                    list(n, |i| format!("\"CAP_X{i}\""))
                ))
            }),
        ),
        (
            "annotations",
            Box::new(|n| {
                spec(format!(r#""annotations":{{{}}}"#, list(n, |i| format!("\"k{i}\":\"v\""))))
            }),
        ),
        (
            "mounts",
            Box::new(|n| {
                spec(format!(
                    r#""mounts":[{}]"#,
                    list(n, |i| format!(
                        r#"{{"destination":"/m{i}","type":"tmpfs","options":["ro"]}}"#
                    ))
                ))
            }),
        ),
        (
            "hooks",
            Box::new(|n| {
                spec(format!(
                    r#""hooks":{{"poststop":[{}]}}"#,
                    list(n, |_| r#"{"path":"/x"}"#.into())
                ))
            }),
        ),
        (
            "masked",
            Box::new(|n| {
                spec(format!(
                    r#""linux":{{"maskedPaths":[{}]}}"#,
                    list(n, |i| format!("\"/m{i}\""))
                ))
            }),
        ),
        (
            "sysctl",
            Box::new(|n| {
                spec(format!(
                    r#""linux":{{"sysctl":{{{}}}}}"#,
                    list(n, |i| format!("\"net.k{i}\":\"v\""))
                ))
            }),
        ),
        (
            "namespaces",
            Box::new(|n| {
                spec(format!(
                    r#""linux":{{"namespaces":[{}]}}"#,
                    list(n, |_| r#"{"type":"pid"}"#.into())
                ))
            }),
        ),
        (
            "a wrong value at the end",
            Box::new(|n| {
                spec(format!(
                    r#""mounts":[{},1]"#,
                    list(n, |i| format!("\n{{\"destination\":\"/m{i}\"}}"))
                ))
            }),
        ),
    ] {
        grows(what, 5000, text, work);
    }
}

/// More answers than their numbers: each call has its own or the profile is refused.
#[test]
fn an_answer_is_never_anothers() {
    let errno = |i: usize| {
        let (action, errno) = if i < 65_536 { ("ERRNO", i) } else { ("TRACE", i - 65_536) };
        format!(r#"{{"names":["read"],"action":"SCMP_ACT_{action}","errnoRet":{errno}}}"#)
    };
    let profile = |count: usize| {
        let last = r#"{"names":["close"],"action":"SCMP_ACT_KILL_PROCESS"}"#;
        let rules = list(count, errno);
        let text = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rules},{last}]}}"#);
        compile(&serde_json::from_str::<LinuxSeccomp>(&text).expect("a profile"), Arch::X86_64)
    };
    let close = |filter: &richrun::plan::seccomp::Filter| {
        let call = richrun::plan::seccomp::interpret::Call::new(0xc000_003e, 3, [0; 6]);
        richrun::plan::seccomp::interpret::run(&filter.program, &call)
            .ok()
            .map(|verdict| verdict.action)
    };
    assert_eq!(close(&profile(1).expect("a filter")), Some(0x8000_0000));
    for count in [65_533, 65_534, 65_535, 65_536, 65_537] {
        match profile(count) {
            Ok(filter) => assert_eq!(close(&filter), Some(0x8000_0000), "{count}"),
            Err(error) => assert!(error.to_string().contains("answers"), "{error}"),
        }
    }
}
