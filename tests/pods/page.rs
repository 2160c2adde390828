//! The page, as a browser shows it.

use std::path::Path;

use richrun_tests::command::{Cmd, wait_until};
use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial};

use crate::serve::{clear, stage};

pub fn register(suite: &mut Suite) {
    suite.on(ONE, "a_browser_shows_pods_and_logs", shown);
}

const BROWSER: &str = "/usr/bin/chromium";

fn browser<'t>(t: &'t Trial, words: &[&str]) -> Cmd<'t> {
    let own = format!("--user-data-dir={}", t.dir.join("browser").display());
    Cmd::new(t, Path::new(BROWSER))
        .env("HOME", &t.dir.display().to_string())
        .args(&[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1100,640",
            // The page's connection stays open: what is there after this time is what counts.
            "--virtual-time-budget=3000",
            &own,
        ])
        .args(words)
        .timeout(120)
}

fn shown(t: &Trial) {
    if !Path::new(BROWSER).exists() {
        t.skip("chromium is not installed");
    }
    let (server, address) = stage(t);
    let url = format!("http://{address}/");
    let mut page = String::new();
    wait_until("the page is filled", || {
        page = browser(t, &["--dump-dom", &url]).ok().out;
        page.contains("data-state=\"shown\"")
    });
    for word in [
        "2 pods, 1 not healthy.",
        "✓ HEALTHY",
        "✕ FAILED",
        "✕ not healthy",
        "✓ liveness: passes",
        "scope=\"col\"",
        "role=\"status\"",
        // A log's words, and no element that a container wrote.
        "hello &lt;b&gt;world&lt;/b&gt;",
        "bye",
    ] {
        assert!(page.contains(word), "no {word:?}: {page}");
    }
    if let Some(path) = std::env::var_os("PODS_SCREENSHOT") {
        browser(t, &[&format!("--screenshot={}", Path::new(&path).display()), &url]).ok();
    }
    clear(t, server);
}
