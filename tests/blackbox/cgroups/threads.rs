//! Threaded groups of cgroup v2 (cgroups(7), "Thread mode").

use std::fs;
use std::path::PathBuf;

use richrun_tests::Trial;
use serde_json::{Value, json};

/// A threaded domain and its threaded child, taken away at the end.
struct Domain {
    top: PathBuf,
}

impl Domain {
    fn new(t: &Trial) -> Domain {
        let domain = Domain { top: t.cgroup("", &t.name("threaded")) };
        let child = domain.top.join("child");
        fs::create_dir_all(&child).expect("make groups");
        fs::write(child.join("cgroup.type"), "threaded").expect("make it threaded");
        domain
    }

    /// Makes a group below it a container's.
    fn place(&self, c: &mut Value, name: &str) {
        let top = self.top.file_name().expect("a name").to_str().expect("utf-8");
        c["linux"]["cgroupsPath"] = json!(format!("/{top}/{name}"));
    }

    fn kind(&self, name: &str) -> String {
        let text = fs::read_to_string(self.top.join(name).join("cgroup.type"));
        text.expect("cgroup.type").trim().to_owned()
    }

    /// The threads in a group below it.
    fn threads(&self, name: &str) -> String {
        fs::read_to_string(self.top.join(name).join("cgroup.threads")).expect("cgroup.threads")
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.top.join("child"));
        let _ = fs::remove_dir(&self.top);
    }
}

/// A container can live in a threaded group: at `run`, at `create`, at `exec`.
pub fn joined(t: &Trial) {
    for name in ["child", "new"] {
        let domain = Domain::new(t);
        let c = t.idle_with(|c| domain.place(c, name));
        assert_eq!(domain.kind(name), "threaded");
        let pid = c.pid().to_string();
        assert!(domain.threads(name).lines().any(|line| line == pid), "{pid} is not in {name}");
        let out = c.exec("cat /proc/self/cgroup").ok();
        assert!(out.out.trim_end().ends_with('/') || out.out.contains(name), "{}", out.out);
        c.exec_cmd(&["-d", "--pid-file", "/mnt/run/x"], &["sleep", "100"]).ok();
        let other = fs::read_to_string("/mnt/run/x").expect("pid file");
        assert!(domain.threads(name).lines().any(|line| line == other.trim()), "{other}");
        c.remove();
    }
}

/// A limit of a controller that knows no threads is an error that says so.
pub fn domain_limits_refused(t: &Trial) {
    for name in ["child", "new"] {
        let domain = Domain::new(t);
        let bundle = t.bundle(|c| {
            domain.place(c, name);
            c["linux"]["resources"]["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 0}]);
        });
        let out = t.run(&bundle).fails();
        assert!(out.err.contains("threaded"), "{}", out.err);
        assert!(!domain.top.join("new").exists(), "nothing is left");
    }
}
