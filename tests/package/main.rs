//! What is installed: the Debian package, the programs alone, and a node of Kubernetes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

type Verdict = Result<(), Failed>;

fn main() -> ExitCode {
    let can = |programs: &[&str]| programs.iter().all(|program| on_path(program));
    let trial = |name: &str, needs: &'static [&'static str], run: fn() -> Verdict| {
        let there = can(needs);
        let name =
            if there { name.to_owned() } else { format!("{name} (needs {})", needs.join(", ")) };
        Trial::test(name, run).with_ignored_flag(!there)
    };
    let trials = vec![
        trial("the_package_is_as_debian_wants_it", &["dpkg-deb", "lintian"], lintian),
        trial("the_package_installs_and_goes_again", &["dpkg-deb", "dpkg"], installs),
        trial("the_program_alone_is_enough", &["chroot"], alone),
        trial("a_node_gets_it_and_gives_it_back", &["sh"], node),
        trial("a_node_of_cri_o", &["sh"], node_of_crio),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

/// A directory of a trial's own, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("richrun-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("make a directory");
        Scratch(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, text).expect("write");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command; what it printed on both streams.
fn run(command: &mut Command) -> Result<String, Failed> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{command:?}: {said}").into()) }
}

/// The programs that are tested.
fn built() -> PathBuf {
    let runtime = richrun_tests::runtime::Runtime::under_test().expect("a runtime");
    runtime.path.parent().expect("a parent").to_owned()
}

/// The package of the programs that are built.
fn package(scratch: &Scratch) -> Result<PathBuf, Failed> {
    run(Command::new("integration/deb.sh").arg(&scratch.0).current_dir(top()))?;
    let mut made = fs::read_dir(&scratch.0)?.flatten().map(|entry| entry.path());
    Ok(made.find(|path| path.extension().is_some_and(|end| end == "deb")).ok_or("no package")?)
}

fn lintian() -> Verdict {
    let scratch = Scratch::new("lintian");
    let package = package(&scratch)?;
    let said = run(Command::new("lintian").arg("--allow-root").arg(package))?;
    assert_eq!(said.trim(), "", "what lintian finds");
    Ok(())
}

fn installs() -> Verdict {
    let scratch = Scratch::new("package");
    let package = package(&scratch)?;
    for name in ["status", "available"] {
        scratch.write(&format!("root/var/lib/dpkg/{name}"), "");
    }
    for name in ["info", "updates", "triggers"] {
        fs::create_dir_all(scratch.path("root/var/lib/dpkg").join(name))?;
    }
    let dpkg = |words: &[&str]| {
        let mut command = Command::new("dpkg");
        command.arg("--root").arg(scratch.path("root"));
        command.args(["--force-not-root", "--force-bad-path", "--log=/dev/null"]);
        run(command.args(words))
    };
    let file = package.to_str().expect("utf-8");
    dpkg(&["--install", file])?;
    let said = run(Command::new(scratch.path("root/usr/bin/richrun")).arg("--version"))?;
    assert!(said.starts_with("richrun version "), "{said}");
    assert_eq!(fs::read_link(scratch.path("root/usr/bin/richrun-rich"))?, Path::new("richrun"));
    for file in ["podman/50-richrun.conf", "docker/daemon.json", "containerd/config-2.toml"] {
        assert!(scratch.path("root/usr/share/doc/richrun/examples/engines").join(file).is_file());
    }
    // The administrator's own words stay: at an upgrade, and when the package goes.
    let settings = "root/etc/richrun/config.toml";
    scratch.write(settings, "[rich]\nrich = true\n");
    dpkg(&["--force-confold", "--install", file])?;
    assert_eq!(scratch.read(settings), "[rich]\nrich = true\n");
    dpkg(&["--remove", "richrun"])?;
    assert!(!scratch.path("root/usr/bin/richrun").exists());
    assert!(scratch.path(settings).exists());
    dpkg(&["--purge", "richrun"])?;
    assert!(!scratch.path(settings).exists());
    Ok(())
}

/// In a root where there is nothing else.
fn alone() -> Verdict {
    let scratch = Scratch::new("alone");
    fs::copy(built().join("richrun"), scratch.path("richrun"))?;
    let said = run(Command::new("chroot").arg(&scratch.0).args(["/richrun", "--version"]));
    // An ordinary user may not change the root.
    let said = match said {
        Err(_) if !nix::unistd::geteuid().is_root() => return Ok(()),
        said => said?,
    };
    assert!(said.starts_with("richrun version "), "{said}");
    let said = run(Command::new("chroot").arg(&scratch.0).args(["/richrun", "features"]))?;
    assert!(said.contains("ociVersionMax"), "{said}");
    Ok(())
}

fn installer(words: &[&str], scratch: &Scratch) -> Result<String, Failed> {
    let mut command = Command::new("sh");
    command.arg(top().join("integration/setup/kubernetes/install-node.sh"));
    run(command.args(words).arg(built()).arg(scratch.path("node")))
}

fn node() -> Verdict {
    for (version, plugin) in [(2, "io.containerd.grpc.v1.cri"), (3, "io.containerd.cri.v1.runtime")]
    {
        let scratch = Scratch::new("node");
        let file = "node/etc/containerd/config.toml";
        let before = format!("version = {version}\n\n[debug]\nlevel = \"info\"\n");
        scratch.write(file, &before);
        assert_eq!(installer(&[], &scratch)?, "containerd.service\n");
        let read = || scratch.read(file).parse::<toml::Table>().expect("TOML");
        let table = read();
        for name in ["richrun", "richrun-rich"] {
            let runtime = &table["plugins"][plugin]["containerd"]["runtimes"][name];
            let program = runtime["options"]["BinaryName"].as_str().expect("a path");
            assert_eq!(program, format!("/usr/local/bin/{name}"));
            let program = scratch.path("node").join(program.trim_start_matches('/'));
            assert!(run(Command::new(program).arg("--version"))?.starts_with("richrun version"));
        }
        assert_eq!(table["debug"]["level"].as_str(), Some("info"));
        // Once more changes nothing, and nothing has to restart.
        assert_eq!(installer(&[], &scratch)?, "");
        assert_eq!(read(), table);
        assert_eq!(installer(&["--remove"], &scratch)?, "containerd.service\n");
        assert_eq!(scratch.read(file), before);
        assert_eq!(fs::read_dir(scratch.path("node/usr/local/bin"))?.count(), 0);
        assert_eq!(installer(&["--remove"], &scratch)?, "");
    }
    Ok(())
}

fn node_of_crio() -> Verdict {
    let scratch = Scratch::new("crio");
    scratch.write("node/etc/crio/crio.conf", "");
    let file = "node/etc/crio/crio.conf.d/50-richrun.conf";
    assert_eq!(installer(&[], &scratch)?, "crio.service\n");
    let table = scratch.read(file).parse::<toml::Table>().expect("TOML");
    let runtime = &table["crio"]["runtime"]["runtimes"]["richrun-rich"];
    assert_eq!(runtime["runtime_path"].as_str(), Some("/usr/local/bin/richrun-rich"));
    assert_eq!(installer(&[], &scratch)?, "");
    assert_eq!(installer(&["--remove"], &scratch)?, "crio.service\n");
    assert!(!scratch.path(file).exists());
    // A node without either gets the programs only.
    let bare = Scratch::new("bare");
    fs::create_dir_all(bare.path("node"))?;
    assert_eq!(installer(&[], &bare)?, "");
    assert!(bare.path("node/usr/local/bin/richrun").is_file());
    assert!(!bare.path("node/etc").exists());
    Ok(())
}
