//! The example program with a plugin of its own, as its page says.

use std::path::PathBuf;
use std::process::Command;

/// `cargo test` builds examples beside the tests.
fn example() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.ancestors().nth(2).expect("a profile").join("examples/pod_controller")
}

fn run(name: &str, pod: &str) -> (i32, Vec<serde_json::Value>) {
    let dir = std::env::temp_dir().join(format!("rich-example-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("make");
    let file = dir.join("pod.json");
    let pod = pod.replace("DIR", &dir.display().to_string());
    std::fs::write(&file, pod).expect("write");
    let out = Command::new(example()).arg(&file).output().expect("run");
    std::fs::remove_dir_all(&dir).expect("remove");
    let lines = String::from_utf8(out.stdout).expect("text");
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (out.status.code().expect("a status"), lines)
}

#[test]
fn init_first_then_both_and_the_bit_flips_when_one_fails_its_probe() {
    let (status, lines) = run(
        "bit",
        r#"{
        "initContainers": [{"spec": {"process": {"args": ["touch", "DIR/first"]}}}],
        "containers": [
            {"name": "main", "spec": {"process": {"args": ["sh", "-c", "test -e DIR/first && touch DIR/health && while test ! -e DIR/over; do sleep 0.1; done"]}}},
            {"name": "sidecar", "spec": {"process": {"args": ["sleep", "1001"]}},
             "livenessProbe": {"exec": ["sh", "-c", "until test -e DIR/health; do sleep 0.1; done; touch DIR/over; test ! -e DIR/second && touch DIR/second"],
                               "periodSeconds": 3, "timeoutSeconds": 100, "failureThreshold": 1}}
        ]
    }"#,
    );
    let states: Vec<String> = lines
        .iter()
        .map(|line| {
            let each = line["status"]["containers"].as_array().expect("containers").iter();
            each.map(|one| one["state"].as_str().expect("a state").to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(states[0], "CREATED CREATED CREATED");
    assert!(states.iter().any(|state| state.ends_with("HEALTHY")), "{states:?}");
    assert!(lines.iter().any(|line| line["healthy"] == true));
    assert_eq!(lines.last().expect("a line")["healthy"], false);
    // Ended by its probe: TERM.
    assert_eq!(status, 143);
}

#[test]
fn an_init_container_that_fails_ends_it() {
    let (status, lines) = run(
        "init",
        r#"{"initContainers": [{"spec": {"process": {"args": ["sh", "-c", "exit 4"]}}}],
            "containers": [{"spec": {"process": {"args": ["sleep", "1001"]}}}]}"#,
    );
    assert_eq!(status, 4);
    let last = &lines.last().expect("a line")["status"];
    assert_eq!(
        (&last["phase"], &last["containers"][1]["state"]),
        (&"Failed".into(), &"CREATED".into())
    );
}
