//! The service manager's socket: what a container can say by it, and who else can.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use richrun_tests::bundle::{sh, user_namespace};
use richrun_tests::command::{Running, wait_until};
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::terminal::NotifySocket;
use richrun_tests::{Bundle, Kind, Suite, Trial};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "a_container_says_little_by_notify_socket", says_little)
        .on(ONE, "other_users_do_not_reach_notify_socket", other_users)
        .on(ONE, "a_flood_of_notifications_ends_nothing", flood);
}

fn scene(t: &Trial, script: &str) -> (NotifySocket, Bundle) {
    t.only(&[Kind::Richrun], "tells other words");
    let host = NotifySocket::new(&t.dir.join("run/host"));
    (host, t.bundle(|config| sh(config, script)).with_probe())
}

fn run(t: &Trial, host: &NotifySocket, bundle: &Bundle) -> Running {
    let path = host.path.to_str().expect("utf-8 path");
    t.run_cmd(bundle, &[]).env("NOTIFY_SOCKET", path).spawn()
}

/// systemd ends a line at a carriage return too: a main process of the container's choice.
fn says_little(t: &Trial) {
    let script = "/probe notify 'STATUS=x\rMAINPID=4242\rNOTIFYACCESS=all' \
                  'MAINPID=1' 'STATUS=\u{1b}[2Jy' BUSERROR=x 'WATCHDOG=1' 'WATCHDOG_USEC=1' \
                  'EXTEND_TIMEOUT_USEC=5' 'READY=1\rMAINPID=1' BARRIER=1 STOPPING=1 BARRIER=1";
    let (host, bundle) = scene(t, script);
    let running = run(t, &host, &bundle);
    let main = running.pid();
    let mut said = Vec::new();
    while !said.iter().any(|line| line == "STOPPING=1") {
        let (text, fds) = host.receive(60).expect("a notification");
        assert!(fds.is_empty(), "{text}");
        said.extend(text.split(['\n', '\r']).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    running.wait().exits(0).prints("barrier 0\nbarrier 0");
    let ready = ["READY=1".to_owned(), format!("MAINPID={main}")];
    let before = ["STATUS=x", "STATUS=\\x1b[2Jy", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=5"];
    let wanted: Vec<String> = before
        .map(str::to_owned)
        .into_iter()
        .chain(ready)
        .chain(["STOPPING=1".to_owned()])
        .collect();
    assert_eq!(said, wanted);
}

fn other_users(t: &Trial) {
    for mapped in [false, true] {
        let script = "while [ ! -e /tmp/go ]; do sleep 0.01; done; \
                      /probe notify STATUS=mine READY=1 BARRIER=1";
        let (host, bundle) = scene(t, script);
        // Root of the user namespace could not make it in a root that is not its own.
        fs::create_dir_all(bundle.rootfs().join("run/notify")).expect("make a directory");
        bundle.edit(|config| {
            if mapped {
                user_namespace(config);
            }
            config["process"]["user"] = serde_json::json!({"uid": 1000, "gid": 1000});
        });
        let running = run(t, &host, &bundle);
        let socket = || find(&t.root().join(&bundle.id));
        wait_until("the socket", || socket().is_some());
        let socket = socket().expect("the socket");
        let sees = |uid: u32| {
            let mut test = Command::new("/usr/bin/test");
            test.arg("-S").arg(&socket).uid(uid).gid(uid).status().expect("test").success()
        };
        assert!(sees(0), "{}", socket.display());
        assert!(!sees(1000), "{} can be reached", socket.display());
        bundle.file("/tmp/go", "");
        let said: Vec<String> = (0..2).map(|_| host.receive(60).expect("a word").0).collect();
        assert_eq!(
            said,
            ["STATUS=mine\n".to_owned(), format!("READY=1\nMAINPID={}\n", running.pid())]
        );
        running.wait().exits(0).prints("barrier 0");
        fs::remove_file(&host.path).expect("remove the host's socket");
    }
}

/// The socket below a container's state directory.
fn find(dir: &std::path::Path) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let kind = entry.file_type().ok()?;
        if kind.is_dir() { find(&entry.path()) } else { kind.is_socket().then(|| entry.path()) }
    })
}

/// Nobody reads at the host's end, and the container does not stop talking.
fn flood(t: &Trial) {
    let script = "/probe notify $(seq 100 | sed s/^/STATUS=/) READY=1; exit 7";
    let (host, bundle) = scene(t, script);
    let running = run(t, &host, &bundle);
    running.wait().exits(7);
    let mut said = Vec::new();
    while let Some((text, _)) = host.receive(0) {
        said.push(text);
    }
    assert_eq!(said.first().map(String::as_str), Some("STATUS=1\n"));
    assert!(said.len() < 100, "{} datagrams", said.len());
}
