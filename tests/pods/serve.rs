//! What is served over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use richrun_tests::command::{Running, wait_until};
use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial};
use serde_json::Value;

use crate::pods::{box_of, ctl, file};

pub fn register(suite: &mut Suite) {
    suite.on(ONE, "health_as_json_and_figures", answers);
    suite.on(ONE, "requests_are_bounded", bounded);
}

/// Two pods, one of which is not healthy, and a server; its address.
pub fn stage(t: &Trial) -> (Running, String) {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {good}}}\nspec:\n  containers:\n  - name: web\n    \
         command: [sh, -c, 'echo hello \"<b>world</b>\"; sleep 1000']\n    livenessProbe: {{exec: {{command: [/bin/true]}}, periodSeconds: 1}}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {bad}}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: gone\n    command: [sh, -c, 'echo bye; exit 3']\n  - {{name: stays, command: [sleep, '1000']}}\n",
        good = t.name("good"),
        bad = t.name("bad"),
    );
    let (path, root) = (file(t, "two.yaml", &text), box_of(t));
    ctl(t, &["pod", "run", "--detach", "--network", "none", "--source", &root, &path]).ok();
    let server = ctl(t, &["pod", "health", "--listen", "127.0.0.1:0"]).spawn();
    server.wait_for("http://127.0.0.1:");
    let address =
        server.printed().trim().trim_start_matches("http://").trim_matches('/').to_owned();
    wait_until("both as they will be", || {
        let pods: Value = serde_json::from_str(&body(&get(&address, "/pods"))).expect("JSON");
        let state = |pod: usize, one: usize| pods[pod]["containers"][one]["state"].clone();
        // In the order of their names.
        state(0, 0) == "FAILED" && state(0, 1) == "STARTED" && state(1, 0) == "HEALTHY"
    });
    (server, address)
}

pub fn clear(t: &Trial, server: Running) {
    server.kill(15);
    let _ = server.wait();
    ctl(t, &["pod", "rm", "--force", &t.name("good"), &t.name("bad")]).ok();
}

fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.write_all(request.as_bytes()).expect("ask");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(address: &str, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

fn body(answer: &str) -> String {
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

fn answers(t: &Trial) {
    let (server, address) = stage(t);
    let (good, bad) = (t.name("good"), t.name("bad"));
    let healthy = get(&address, "/healthy");
    assert!(healthy.starts_with("HTTP/1.1 503 "), "{healthy}");
    assert_eq!(body(&healthy), r#"{"healthy":false}"#);
    let one = get(&address, &format!("/pods/default/{good}/healthy"));
    assert!(one.starts_with("HTTP/1.1 200 "), "{one}");
    let one: Value = serde_json::from_str(&body(&one)).expect("JSON");
    assert_eq!((&one["healthy"], &one["status"]["phase"]), (&true.into(), &"Running".into()));
    let metrics = body(&get(&address, "/metrics"));
    for line in [
        format!("richctl_pod_healthy{{namespace=\"default\",pod=\"{good}\"}} 1"),
        format!("richctl_pod_healthy{{namespace=\"default\",pod=\"{bad}\"}} 0"),
        format!(
            "richctl_container_exit_status{{namespace=\"default\",pod=\"{bad}\",container=\"gone\"}} 3"
        ),
    ] {
        assert!(metrics.lines().any(|there| there == line), "{line}\n{metrics}");
    }
    assert!(get(&address, "/pods/default/../x").starts_with("HTTP/1.1 404 "));
    assert!(get(&address, "/").contains("<title>Pods</title>"));
    // Over a unix socket too.
    let path = t.dir.join("health.sock");
    let own = ctl(t, &["pod", "health", "--listen", &format!("unix:{}", path.display())]).spawn();
    own.wait_for("unix:");
    let mut stream = UnixStream::connect(&path).expect("connect");
    stream.write_all(b"GET /healthy HTTP/1.0\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    own.kill(15);
    let _ = own.wait();
    clear(t, server);
}

fn bounded(t: &Trial) {
    let (server, address) = stage(t);
    let status = |request: &str| ask(&address, request).split(' ').nth(1).unwrap_or("").to_owned();
    assert_eq!(status("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"), "405");
    assert_eq!(status("nonsense\r\n\r\n"), "400");
    assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000))), "431");
    assert_eq!(status("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "421");
    // Whoever sends a byte now and then has no more time than anybody, and is in nobody's way.
    let mut slow: Vec<TcpStream> =
        (0..70).map(|_| TcpStream::connect(&address).expect("connect")).collect();
    let begun = Instant::now();
    let mut ended = 0;
    while ended < 70 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{ended} ended");
        std::thread::sleep(Duration::from_millis(500));
        slow.retain_mut(|stream| {
            stream.set_nonblocking(true).expect("set");
            let mut byte = [0; 512];
            let over = stream.read(&mut byte).is_ok();
            let gone = stream.write_all(b"x").is_err();
            ended += usize::from(over || gone);
            !over && !gone
        });
    }
    assert!(get(&address, "/healthy").starts_with("HTTP/1.1 503 Service"), "it answers again");
    clear(t, server);
}
