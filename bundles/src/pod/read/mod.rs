//! Files that describe pods: the pod controller's JSON, and Kubernetes manifests in
//! YAML or JSON with several documents.
//!
//! Nothing is passed over in silence: what nobody knows is named with its line, what
//! cannot be honoured is an error, and what means nothing on one machine is a warning.

mod commas;
mod controller;
mod expand;
mod kube;
mod quantity;
mod tree;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::model::Pod;
use tree::Node;

/// The longest file that is read, in bytes; Kubernetes' own bound is below it.
pub const LONGEST: usize = 4 << 20;

/// The stack of the thread that reads, in bytes; only what is used of it costs memory.
const STACK: usize = 16 << 20;

/// What a file has in it.
#[derive(Debug)]
pub struct Read {
    /// The pods, at least one.
    pub pods: Vec<Pod>,
    /// Lines for the user.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with a file, a line each.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub Vec<String>);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Wrong {}

/// Reads a file's text. `file` is its name for messages; a pod of the pod controller's
/// JSON, which has no name in it, gets `name`.
///
/// # Errors
/// All that is wrong, with line and path of each.
pub fn pods(file: &str, text: &str, name: &str) -> Result<Read, Wrong> {
    let mut notes = Notes { file: file.to_owned(), ..Notes::default() };
    // Kubernetes' types are many and large: their readers want more stack than a caller's
    // thread may have.
    let pods = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let reading = thread.spawn_scoped(scope, || all(&mut notes, text, name));
        reading.map(|reading| reading.join().unwrap_or_default()).unwrap_or_default()
    });
    if pods.is_empty() && notes.errors.is_empty() {
        notes.errors.push(format!("{file}: no pod in it"));
    }
    match notes.errors.is_empty() {
        true => Ok(Read { pods, warnings: notes.warnings }),
        false => Err(Wrong(notes.errors)),
    }
}

fn all(notes: &mut Notes, text: &str, name: &str) -> Vec<Pod> {
    if text.len() > LONGEST {
        notes.errors.push(format!("{}: longer than {LONGEST} bytes", notes.file));
        return Vec::new();
    }
    let documents = match documents(notes, text) {
        Ok(documents) => documents,
        Err(what) => {
            notes.errors.push(format!("{}: {what}", notes.file));
            return Vec::new();
        }
    };
    let is_controllers = |node: &Node| node.has("containers") && !node.has("kind");
    match documents.as_slice() {
        [one] if is_controllers(one) => controller::pod(notes, one, name).into_iter().collect(),
        several => kube::pods(notes, several),
    }
}

/// The documents of a text. One that begins as JSON does is read as JSON first: its
/// rules are simpler, and so are the messages.
fn documents(notes: &mut Notes, text: &str) -> Result<Vec<Node>, String> {
    if !text.trim_start().starts_with('{') {
        return yaml(text);
    }
    let (clean, lines) = commas::without_trailing(text);
    match serde_json::from_str::<Value>(&clean) {
        Ok(value) => {
            for line in lines {
                let file = &notes.file;
                notes.warnings.push(format!("{file}: line {line}: a comma before a bracket"));
            }
            // JSON is YAML, which tells the lines; where it does not agree they are unknown.
            let lined = yaml(&clean).ok().filter(|nodes| nodes.len() == 1);
            match lined {
                Some(nodes) if nodes[0].value() == value => Ok(nodes),
                _ => Ok(vec![Node::of(value)]),
            }
        }
        // Flow style of YAML begins with a brace too.
        Err(json) => yaml(text).map_err(|_| json.to_string()),
    }
}

fn yaml(text: &str) -> Result<Vec<Node>, String> {
    // Kubernetes' YAML is that of Go: `mode: 0644` is octal.
    // A manifest is ten deep; what is read is walked by recursion.
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! { max_depth: 64 },
    };
    serde_saphyr::from_multiple_with_options::<Node>(text, options)
        .map_err(|wrong| wrong.to_string().lines().next().unwrap_or_default().to_owned())
}

/// What is to be said about a file.
#[derive(Default)]
struct Notes {
    file: String,
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// One object of a file with what is to be said about it.
struct Object<'a> {
    notes: &'a mut Notes,
    tree: &'a Node,
}

impl Object<'_> {
    fn place(&self, path: &str) -> String {
        match self.tree.line(path) {
            0 => format!("{}: {path}", self.notes.file),
            line => format!("{}: line {line}: {path}", self.notes.file),
        }
    }

    /// Something that is wrong.
    fn error(&mut self, path: &str, what: impl std::fmt::Display) {
        let line = format!("{}: {what}", self.place(path));
        self.notes.errors.push(line);
    }

    /// Something that means nothing here.
    fn warn(&mut self, path: &str, what: impl std::fmt::Display) {
        let line = format!("{}: {what}", self.place(path));
        self.notes.warnings.push(line);
    }

    /// An error if this field, which cannot be honoured, is there.
    fn refuse<T>(&mut self, path: &str, value: &Option<T>) {
        if value.is_some() {
            self.error(path, "not supported here");
        }
    }

    /// A warning if this field, which only a cluster understands, is there.
    fn idle<T>(&mut self, path: &str, value: &Option<T>) {
        if value.is_some() {
            self.warn(path, "means nothing on one machine");
        }
    }

    /// The object in its type; what the type does not know is named.
    fn typed<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let value = self.tree.value();
        let tracked = serde_path_to_error::Deserializer::new(&value, &mut track);
        let read = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
        for path in unknown {
            self.error(&bracketed(&path), "unknown field");
        }
        match read {
            Ok(object) => Some(object),
            Err(wrong) => {
                self.error(&track.path().to_string(), wrong);
                None
            }
        }
    }
}

/// `spec.containers.0.name` as people write it: `spec.containers[0].name`.
fn bracketed(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('.').filter(|part| *part != "?") {
        let is_index = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        match (is_index, out.is_empty()) {
            (true, _) => out.extend(["[", part, "]"]),
            (false, true) => out.push_str(part),
            (false, false) => out.extend([".", part]),
        }
    }
    out
}

#[cfg(test)]
mod tests;
