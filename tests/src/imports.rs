//! Which file of a crate names what of which other file: enough of Rust's rules for paths
//! to find files that import each other.
//!
//! A file stands for its module. What it names through another module's `pub use` counts as
//! naming the file where that comes from. Code for tests alone does not count, nor does what
//! a file and the files in its own folder say to each other: `sys/mod.rs` is the face of `sys/*`.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, Token};

/// The modules that lead to something: `["launch", "child"]`.
type Path = Vec<String>;

/// One file of a crate.
struct Module {
    /// Below the workspace.
    file: String,
    /// What it names, as absolute paths (of this crate only).
    named: BTreeSet<Path>,
    /// What it has under a name of its own: `use` and `pub use`.
    aliases: BTreeMap<String, Path>,
    /// Modules all of whose names it has.
    globs: Vec<Path>,
    /// What it defines itself.
    defined: BTreeSet<String>,
}

/// A crate's files by the path of their modules.
#[derive(Default)]
pub struct Crate {
    modules: BTreeMap<Path, Module>,
}

impl Crate {
    /// From the files below its folder: names relative to that, and their text. `at` is
    /// the folder below the workspace, `name` how its programs call the library.
    pub fn new<'a>(
        at: &str,
        name: &str,
        files: impl Iterator<Item = (&'a str, &'a Source)>,
    ) -> Crate {
        let mut sources: BTreeMap<Path, (String, &Source)> = BTreeMap::new();
        for (file, source) in files {
            let path = module_path(file);
            // Nobody can import a program; the library is the root where there is one.
            if path.is_empty() && file == "main.rs" && sources.contains_key(&path) {
                continue;
            }
            sources.insert(path, (format!("{at}/{file}"), source));
        }
        let hidden = test_modules(&sources);
        sources.retain(|path, _| !hidden.iter().any(|test| path.starts_with(test)));
        let known: BTreeSet<Path> = sources.keys().cloned().collect();
        let read = |(path, (file, source)): (Path, (String, &Source))| {
            let module = Reader::new(&known, name, &path).read(file, &source.tokens);
            (path, module)
        };
        Crate { modules: sources.into_iter().map(read).collect() }
    }

    /// Each circle: files that all import each other, directly or over the others.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let edges: BTreeMap<&Path, BTreeSet<&Path>> =
            self.modules.keys().map(|from| (from, self.imports(from))).collect();
        let reach: BTreeMap<&Path, BTreeSet<&Path>> =
            edges.keys().map(|from| (*from, reachable(&edges, from))).collect();
        let mut found = BTreeSet::new();
        for from in self.modules.keys().filter(|from| reach[from].contains(from)) {
            let members = reach[from].iter().filter(|to| reach[**to].contains(from));
            found.insert(members.map(|path| self.modules[*path].file.clone()).collect::<Vec<_>>());
        }
        found.into_iter().collect()
    }

    /// The files that a file names something of.
    fn imports(&self, from: &Path) -> BTreeSet<&Path> {
        let named = self.modules[from].named.iter();
        let found = named.filter_map(|path| self.file_of(path, 0));
        found.filter(|to| !to.starts_with(from) && !from.starts_with(to)).collect()
    }

    /// The file where what a path names stands.
    fn file_of(&self, path: &[String], depth: usize) -> Option<&Path> {
        let cut = (0..=path.len()).rev().find(|cut| self.modules.contains_key(&path[..*cut]))?;
        let (key, module) = self.modules.get_key_value(&path[..cut])?;
        let Some(item) = path.get(cut).filter(|_| depth < 8) else { return Some(key) };
        if module.defined.contains(item) {
            return Some(key);
        }
        if let Some(target) = module.aliases.get(item) {
            let full: Path = target.iter().chain(&path[cut + 1..]).cloned().collect();
            return self.file_of(&full, depth + 1);
        }
        let through = module.globs.iter().find_map(|glob| {
            let target = self.modules.get_key_value(glob)?;
            target.1.defined.contains(item).then_some(target.0)
        });
        through.or(Some(key))
    }
}

fn reachable<'a>(
    edges: &BTreeMap<&'a Path, BTreeSet<&'a Path>>,
    from: &Path,
) -> BTreeSet<&'a Path> {
    let mut left: Vec<&Path> = edges[from].iter().copied().collect();
    let mut seen = BTreeSet::new();
    while let Some(next) = left.pop() {
        if let Some((key, targets)) = edges.get_key_value(next)
            && seen.insert(*key)
        {
            left.extend(targets.iter().copied());
        }
    }
    seen
}

/// `plan/mod.rs` is `plan`, `lib.rs` and `main.rs` are the crate.
fn module_path(file: &str) -> Path {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let parts = stem.split('/').map(str::to_owned);
    let mut path: Path = parts.filter(|part| part != "mod").collect();
    if matches!(file, "lib.rs" | "main.rs") {
        path.clear();
    }
    path
}

/// The modules that are declared for tests alone: `#[cfg(test)] mod x;`.
fn test_modules(sources: &BTreeMap<Path, (String, &Source)>) -> Vec<Path> {
    let mut found = Vec::new();
    for (path, (_, source)) in sources {
        for window in source.tokens.windows(10) {
            let texts: Vec<&str> = window.iter().map(|token| token.text.as_str()).collect();
            if texts[..8] == ["#", "[", "cfg", "(", "test", ")", "]", "mod"] && texts[9] == ";" {
                found.push(path.iter().cloned().chain([texts[8].to_owned()]).collect());
            }
        }
    }
    found
}

/// Reads one file.
struct Reader<'a> {
    known: &'a BTreeSet<Path>,
    name: &'a str,
    /// The file's module, then those inside of the file.
    inside: Path,
    depth: usize,
    module: Module,
    /// Paths that are still to be made absolute: by then all aliases are known.
    relative: Vec<(Path, Path)>,
}

impl<'a> Reader<'a> {
    fn new(known: &'a BTreeSet<Path>, name: &'a str, path: &Path) -> Reader<'a> {
        let (named, aliases, defined) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        let module = Module { file: String::new(), named, aliases, globs: Vec::new(), defined };
        let depth = path.len();
        Reader { known, name, inside: path.clone(), depth, module, relative: Vec::new() }
    }

    fn read(mut self, file: String, tokens: &[Token]) -> Module {
        self.module.file = file;
        let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
        self.items(&texts);
        for (inside, path) in std::mem::take(&mut self.relative) {
            if let Some(path) = self.absolute(&inside, &path) {
                self.module.named.insert(path);
            }
        }
        self.module
    }

    fn items(&mut self, texts: &[&str]) {
        const KINDS: [&str; 9] =
            ["fn", "struct", "enum", "const", "static", "trait", "type", "union", "macro_rules"];
        let mut blocks: Vec<bool> = Vec::new();
        let mut at = 0;
        while at < texts.len() {
            let text = |ahead: usize| texts.get(at + ahead).copied().unwrap_or("");
            let before = |back: usize| at.checked_sub(back).map_or("", |at| texts[at]);
            match text(0) {
                "#" if text(1) == "[" && texts[at..].starts_with(&TEST_ONLY) => {
                    at = after_item(texts, at + TEST_ONLY.len());
                    continue;
                }
                "{" => {
                    let module = before(2) == "mod";
                    if module {
                        self.inside.push(before(1).to_owned());
                    }
                    blocks.push(module);
                }
                "}" if blocks.pop() == Some(true) => drop(self.inside.pop()),
                "use" if is_word(text(1)) || text(1) == "{" => {
                    let end = texts[at..].iter().position(|text| *text == ";");
                    let end = at + end.unwrap_or(texts.len() - at);
                    self.tree(&texts[at + 1..end], &[]);
                    at = end;
                }
                kind if KINDS.contains(&kind) && self.inside.len() == self.depth => {
                    let skip = usize::from(text(1) == "!");
                    self.module.defined.insert(text(1 + skip).to_owned());
                }
                word if is_word(word) && text(1) == ":" && text(2) == ":" && before(1) != ":" => {
                    let path = path_at(&texts[at..]);
                    at += 3 * (path.len() - 1);
                    self.relative.push((self.inside.clone(), path));
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// A tree of paths as `use` has it, behind `prefix`.
    fn tree(&mut self, texts: &[&str], prefix: &[String]) {
        let mut path = prefix.to_vec();
        let mut at = 0;
        while at < texts.len() {
            match texts[at] {
                ":" => {}
                "{" => {
                    for part in split_tree(&texts[at + 1..texts.len() - 1]) {
                        self.tree(part, &path);
                    }
                    return;
                }
                "*" => {
                    if let Some(glob) = self.absolute(&self.inside, &path) {
                        self.module.globs.push(glob.clone());
                        self.module.named.insert(glob);
                    }
                    return;
                }
                "as" => break,
                // `a::{self}` is `a`.
                "self" if !path.is_empty() => {}
                word => path.push(word.to_owned()),
            }
            at += 1;
        }
        let alias = texts.get(at + 1).map(|alias| (*alias).to_owned());
        let Some(name) = alias.or_else(|| path.last().cloned()) else { return };
        if let Some(absolute) = self.absolute(&self.inside, &path) {
            self.module.named.insert(absolute.clone());
            self.module.aliases.insert(name, absolute);
        }
    }

    /// The path from the crate's root; None for what is not of this crate.
    fn absolute(&self, inside: &[String], path: &[String]) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let join = |base: &[String], rest: &[String]| base.iter().chain(rest).cloned().collect();
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some(join(inside, rest)),
            "super" => {
                let (_, above) = inside.split_last()?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.absolute(above, rest),
                    _ => Some(join(above, rest)),
                }
            }
            name if self.known.contains(&join(inside, &path[..1])) || name == "Self" => {
                (name != "Self").then(|| join(inside, path))
            }
            name => match self.module.aliases.get(name) {
                Some(alias) => Some(join(alias, rest)),
                None => (name == self.name).then(|| rest.to_vec()),
            },
        }
    }
}

/// What stands before code that only tests see.
const TEST_ONLY: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The path that begins these texts, its words alone: `a::b::<C>` is `a`, `b`.
fn path_at(texts: &[&str]) -> Path {
    let further =
        texts[1..].chunks(3).take_while(|part| matches!(part, [":", ":", word] if is_word(word)));
    let words = further.map(|part| part[2].to_owned());
    [texts[0].to_owned()].into_iter().chain(words).collect()
}

/// Behind the item that begins at `at`: its semicolon or its block.
fn after_item(texts: &[&str], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(text) = texts.get(at) {
        at += 1;
        match *text {
            "{" => depth += 1,
            "}" if depth == 1 => return at,
            "}" => depth -= 1,
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

/// The parts of a tree of paths, at its commas.
fn split_tree<'a, 'b>(texts: &'a [&'b str]) -> Vec<&'a [&'b str]> {
    let mut depth = 0;
    let outer = |text: &&str| {
        match *text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        *text == "," && depth == 0
    };
    texts.split(outer).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn circles(files: &[(&str, &str)], want: &[&[&str]]) {
        let files: Vec<_> = files.iter().map(|(file, text)| (*file, Source::parse(text))).collect();
        let all = Crate::new("x", "it", files.iter().map(|(file, source)| (*file, source)));
        let want: Vec<Vec<String>> = want
            .iter()
            .map(|circle| circle.iter().map(|file| format!("x/{file}")).collect())
            .collect();
        assert_eq!(all.circles(), want);
    }

    #[test]
    fn files_that_import_each_other_are_found() {
        circles(
            &[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "use super::a;")],
            &[&["a.rs", "b.rs"]],
        );
        let inline = "fn f() -> u8 { super::a::g() }";
        circles(
            &[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::{self, X};"), ("b.rs", inline)],
            &[&["a.rs", "b.rs"]],
        );
    }

    #[test]
    fn circles_over_three_and_through_a_face_are_found() {
        circles(
            &[
                ("a.rs", "use crate::{b::B, x};"),
                ("b.rs", "use crate::c::deep::C;"),
                ("c/mod.rs", "pub mod deep;"),
                ("c/deep.rs", "use crate::a::*;"),
            ],
            &[&["a.rs", "b.rs", "c/deep.rs"]],
        );
        circles(
            &[
                ("m/mod.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
                ("m/a.rs", "use super::B;"),
                ("m/b.rs", "pub struct B; fn f() { use super as up; up::A::new() }"),
            ],
            &[&["m/a.rs", "m/b.rs"]],
        );
    }

    #[test]
    fn what_is_no_circle_is_none() {
        circles(
            &[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "use std::a;")],
            &[],
        );
        let tests = "#[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] mod t;";
        circles(
            &[("a.rs", "use crate::b::B;"), ("b.rs", tests), ("b/t.rs", "use crate::a::A;")],
            &[],
        );
        circles(&[("a/mod.rs", "mod b; use b::B;"), ("a/b.rs", "use super::A;")], &[]);
        circles(&[("a.rs", "use crate::b::B; // crate::a"), ("b.rs", "// use crate::a")], &[]);
    }
}
