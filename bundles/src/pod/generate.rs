//! Units that run a file's pods at boot.

use std::path::Path;

use super::model::Pod;
use crate::error::{Error, Kind, Result};

/// How long pods have to become ready, in seconds.
const START: u64 = 900;
/// What the end takes beyond the pods' grace.
const AFTER: u64 = 15;

/// A unit of systemd that runs the pods by `richctl`, in the manager of the system or of a
/// user. `options`: more words for `pod run`.
///
/// # Errors
/// A path that no unit can hold.
pub fn systemd(
    richctl: &Path,
    file: &Path,
    pods: &[Pod],
    options: &[String],
    user: bool,
) -> Result<String> {
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    let grace = pods.iter().map(|pod| pod.grace).max().unwrap_or(0);
    let mut words = vec![path(richctl)?, "pod".into(), "run".into()];
    words.extend(["--rm".into(), "--replace".into()]);
    for option in options {
        words.push(quoted(option)?);
    }
    words.push(path(file)?);
    let target = if user { "default.target" } else { "multi-user.target" };
    Ok(format!(
        "# Made by: richctl pod generate systemd\n\
         [Unit]\n\
         Description=Pod {names}\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         # Started is: every container of the pod is ready by its probes.\n\
         Type=notify\n\
         NotifyAccess=all\n\
         ExecStart={start}\n\
         # TERM lets richctl end the pod in its order.\n\
         KillMode=mixed\n\
         Delegate=yes\n\
         Restart=on-failure\n\
         RestartSec=10\n\
         TimeoutStartSec={START}\n\
         TimeoutStopSec={stop}\n\
         \n\
         [Install]\n\
         WantedBy={target}\n",
        names = names.join(", ").replace('%', "%%"),
        start = words.join(" "),
        stop = grace.saturating_add(AFTER),
    ))
}

/// A quadlet that runs the file by podman on this runtime.
///
/// # Errors
/// Pods that podman does not know; a path that no unit can hold.
pub fn quadlet(runtime: &Path, file: &Path, pods: &[Pod]) -> Result<String> {
    if pods.iter().any(|pod| pod.containers.iter().any(|one| one.spec.is_some())) {
        let what = "a quadlet runs Kubernetes manifests: podman does not read the pod \
                    controller's JSON ('pod generate systemd' does it)";
        return Err(Error::new(Kind::Usage, what));
    }
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    Ok(format!(
        "# Made by: richctl pod generate quadlet\n\
         [Unit]\n\
         Description=Pod {names}\n\
         \n\
         [Kube]\n\
         Yaml={yaml}\n\
         GlobalArgs=--runtime {runtime}\n\
         \n\
         [Service]\n\
         TimeoutStartSec={START}\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n",
        names = names.join(", "),
        yaml = path(file)?,
        runtime = path(runtime)?,
    ))
}

fn path(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        Error::usage(format!("{}: a unit cannot name what is not UTF-8", path.display()))
    })?;
    quoted(text)
}

/// A word as `ExecStart=` takes it for itself.
fn quoted(word: &str) -> Result<String> {
    if word.contains(['\n', '\r', '\0']) {
        return Err(Error::usage(format!("{word:?}: a unit cannot name it")));
    }
    let escaped = word.replace('\\', "\\\\").replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.,:=@+%$".contains(c);
    match !escaped.is_empty() && escaped.chars().all(plain) {
        true => Ok(escaped),
        false => Ok(format!("\"{}\"", escaped.replace('"', "\\\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::read;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  \
                       terminationGracePeriodSeconds: 7\n  containers: [{name: c, image: x}]\n";

    #[test]
    fn a_unit() {
        let pods = read::pods("f", POD, "f").expect("a pod").pods;
        let options = ["--network".to_owned(), "host".to_owned()];
        let unit = systemd(
            Path::new("/usr/bin/richctl"),
            Path::new("/a b/50%.yaml"),
            &pods,
            &options,
            true,
        )
        .expect("a unit");
        let start =
            "ExecStart=/usr/bin/richctl pod run --rm --replace --network host \"/a b/50%%.yaml\"";
        for line in [start, "Type=notify", "TimeoutStopSec=22", "WantedBy=default.target"] {
            assert!(unit.lines().any(|there| there == line), "{line}\n{unit}");
        }
        assert!(systemd(Path::new("/r"), Path::new("/a\nb"), &pods, &[], false).is_err());
    }

    #[test]
    fn a_quadlet() {
        let pods = read::pods("f", POD, "f").expect("a pod").pods;
        let unit =
            quadlet(Path::new("/usr/bin/richrun"), Path::new("/w.yaml"), &pods).expect("one");
        assert!(unit.contains("[Kube]\nYaml=/w.yaml\nGlobalArgs=--runtime /usr/bin/richrun\n"));
        let own = read::pods("f", r#"{"containers": [{"spec": {"process": {}}}]}"#, "f");
        assert!(quadlet(Path::new("/r"), Path::new("/w"), &own.expect("a pod").pods).is_err());
    }
}
