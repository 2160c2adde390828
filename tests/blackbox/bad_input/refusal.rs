//! What a refusal has to look like, and tables of them.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use richrun_tests::{Bundle, Kind, Output, Trial};
use serde_json::{Value, json};

use Who::Ours;

/// For whom a row holds.
#[derive(Clone, Copy, PartialEq)]
pub enum Who {
    /// Every runtime refuses it.
    All,
    /// The peers take it, or are not asked.
    Ours,
}

/// A field, its bad value, and the words of the refusal.
pub type Row = (Who, &'static str, Value, &'static [&'static str]);

/// A table being gone through: complaints are told when they arise, and end the
/// trial when the table is through, so that one run shows them all.
pub struct Table<'t> {
    t: &'t Trial,
    complaints: usize,
}

impl<'t> Table<'t> {
    pub fn new(t: &'t Trial) -> Table<'t> {
        Table { t, complaints: 0 }
    }

    fn complain(&mut self, what: &str, why: impl std::fmt::Display) {
        eprintln!("{what}: {why}");
        self.complaints += 1;
    }

    /// Runs a command that has to fail: plainly, and again with a JSON log.
    pub fn refused(&mut self, what: &str, line: &[&str], code: i32, words: &[&str]) {
        let plain = self.t.rt(line).run();
        let log = self.t.dir.join("run").join(format!("{}.log", self.t.next()));
        let mut logged = vec!["--log", log.to_str().expect("utf-8 path"), "--log-format", "json"];
        logged.extend(line);
        let logged = self.t.rt(&logged).run();
        let log = fs::read_to_string(&log).unwrap_or_default();
        let why = match self.t.kind() {
            Kind::Richrun => flaw(&plain, &logged, &log, code, words),
            kind => flaw_of_a_peer(kind, &[&plain, &logged], code),
        };
        if let Err(why) = why {
            self.complain(what, why);
        }
    }

    /// Both ways to make a container refuse a bundle, and nothing is left of them.
    pub fn no_container(&mut self, what: &str, bundle: &Bundle, words: &[&str]) {
        for verb in ["create", "run"] {
            let line = [verb, "--bundle", bundle.path(), &bundle.id];
            self.refused(&format!("{verb}: {what}"), &line, 1, words);
        }
        self.nothing_left(what, &bundle.id);
    }

    /// Complains of what is left of a container, and takes it away.
    pub fn nothing_left(&mut self, what: &str, id: &str) {
        if catch_unwind(AssertUnwindSafe(|| self.t.finish())).is_err() {
            self.complain(what, "something is left behind");
            self.t.rt(&["delete", "--force", id]).run();
        }
    }

    /// Each row's value put into the bundle's configuration in turn; as it was,
    /// the bundle runs.
    pub fn rows(&mut self, bundle: &Bundle, rows: &[Row]) {
        let good = bundle.config();
        for (who, path, value, words) in rows {
            if *who == Ours && !self.t.is_richrun() {
                continue;
            }
            let mut config = good.clone();
            set(&mut config, path, value.clone());
            bundle.write(&config);
            self.no_container(&format!("{path} = {value}"), bundle, words);
        }
        bundle.write(&good);
        self.t.run(bundle).ok();
    }

    #[track_caller]
    pub fn end(self) {
        assert!(self.complaints == 0, "{} complaints", self.complaints);
    }
}

/// What is wrong with a refusal, if anything.
pub fn flaw(
    plain: &Output,
    logged: &Output,
    log: &str,
    code: i32,
    words: &[&str],
) -> Result<(), String> {
    for out in [plain, logged] {
        if out.code != code {
            return Err(format!("exit {} instead of {code}: {:?}", out.code, out.err));
        }
        // Warnings come as they arise where the log is standard error.
        let said = out.err.lines().filter(|line| !line.contains(" level=warning msg="));
        if said.count() != 1 || !out.out.is_empty() {
            return Err(format!("not one line: {:?} {:?}", out.err, out.out));
        }
    }
    if !plain.err.contains(" level=error msg=") {
        return Err(format!("no log line: {:?}", plain.err));
    }
    if log.lines().count() != 1 {
        return Err(format!("the log is not one line: {log:?}"));
    }
    let entry: Value = serde_json::from_str(log).map_err(|why| format!("log: {why}: {log:?}"))?;
    if entry["level"] != "error" || entry["msg"] != logged.err.trim_end_matches('\n') {
        return Err(format!("the log {log:?} is not {:?}", logged.err));
    }
    let said = logged.err.to_lowercase();
    match words.iter().find(|word| !said.contains(&word.to_lowercase())) {
        Some(word) => Err(format!("no {word:?} in {:?}", logged.err)),
        None => Ok(()),
    }
}

/// A peer has to refuse; runc with the same exit status.
pub fn flaw_of_a_peer(kind: Kind, outputs: &[&Output], code: i32) -> Result<(), String> {
    let bad = |out: &&&Output| out.code == 0 || (kind == Kind::Runc && out.code != code);
    match outputs.iter().find(bad) {
        Some(out) => Err(format!("exit {}: {:?}", out.code, out.err)),
        None => Ok(()),
    }
}

/// Puts a value at `a.b.0.c`; `+` stands for a new entry of a list.
pub fn set(config: &mut Value, path: &str, value: Value) {
    let mut here = config;
    for part in path.split('.') {
        if here.is_null() {
            let list = part == "+" || part.parse::<usize>().is_ok();
            *here = if list { json!([]) } else { json!({}) };
        }
        here = match here {
            Value::Array(list) => {
                let at = part.parse().unwrap_or(list.len());
                if at == list.len() {
                    list.push(Value::Null);
                }
                &mut list[at]
            }
            Value::Object(map) => map.entry(part).or_insert(Value::Null),
            other => panic!("{path}: {other} has no {part}"),
        };
    }
    *here = value;
}
