//! Checks of `compliance.md`, `docs/must-hold.md` and `SPECIFICATION.md`: every row is whole
//! and every test named there exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use richrun_tests::source::Source;

/// One row: a requirement and what tests it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    id: String,
    test: String,
}

/// The rows whose first cell is an id such as `R-12`; what is wrong with the
/// table otherwise.
fn rows(text: &str) -> Result<Vec<Row>, String> {
    let mut found: Vec<Row> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Some((area, number)) = cells[0].split_once('-') else { continue };
        if area.is_empty() || number.parse::<u32>().is_err() {
            continue;
        }
        let [id, section, requirement, test] = cells[..] else {
            return Err(format!("{}: {} cells instead of 4", cells[0], cells.len()));
        };
        if section.is_empty() || requirement.is_empty() || test.is_empty() {
            return Err(format!("{id}: an empty cell"));
        }
        if found.iter().any(|row| row.id == id) {
            return Err(format!("{id}: twice"));
        }
        found.push(Row { id: id.to_owned(), test: test.to_owned() });
    }
    Ok(found)
}

/// The file that a test's name points into, and the test's own name.
fn place(test: &str) -> Result<(PathBuf, &str), String> {
    let (file, name) = test.split_once("::").ok_or(format!("{test}: not file::name"))?;
    let (suite, rest) = file.split_once('/').ok_or(format!("{test}: not suite/file::name"))?;
    let dir = match suite {
        "blackbox" => "tests/blackbox",
        "differential" => "tests/differential",
        "long" => "tests/long",
        "engines" => "integration/engines/scenarios",
        "package" => "tests/package",
        "direct" => "tests/direct",
        "hooks" | "runtime" | "tests" => suite,
        _ => return Err(format!("{test}: no suite {suite}")),
    };
    Ok((Path::new(dir).join(format!("{rest}.rs")), name))
}

/// Whether a file has a test of that name: a `#[test]` function, or one that is
/// registered by name.
fn has_test(source: &Source, name: &str) -> bool {
    let words: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
    let is_function = words.windows(6).any(|at| at == ["#", "[", "test", "]", "fn", name]);
    is_function || source.strings.iter().any(|text| text == name)
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn table_of(document: &str) -> Vec<Row> {
    let text = fs::read_to_string(top().join(document)).expect("the document");
    rows(&text).unwrap_or_else(|why| panic!("{document}: {why}"))
}

fn table() -> Vec<Row> {
    table_of("tests/compliance.md")
}

/// What is wrong with the name of a test.
fn check_exists(test: &str) -> Result<(), String> {
    if let Some(key) = test.strip_prefix("bench/") {
        return check_is_measured(key);
    }
    let (file, name) = place(test)?;
    let text = fs::read_to_string(top().join(&file))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    match has_test(&Source::parse(&text), name) {
        true => Ok(()),
        false => Err(format!("no test {name} in {}", file.display())),
    }
}

/// Whether `make bench` has a row of that key (or of which it is the beginning: `run-v2`).
fn check_is_measured(key: &str) -> Result<(), String> {
    let file = top().join("integration/bench/src/row.rs");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let strings = Source::parse(&text).strings;
    match strings.iter().any(|text| text == key || *text == format!("{key}-{{}}")) {
        true => Ok(()),
        false => Err(format!("no row {key} of make bench")),
    }
}

/// Nobody can say what a promise is that no test holds.
#[test]
fn every_promise_is_held() {
    let rows = table_of("SPECIFICATION.md");
    let numbers = rows.iter().filter_map(|row| row.id.strip_prefix("P-")?.parse().ok());
    assert_eq!(numbers.collect::<Vec<usize>>(), (1..=rows.len()).collect::<Vec<_>>());
    assert!(rows.len() > 30 && rows.iter().all(|row| row.test != "open"));
}

#[test]
fn every_test_named_exists() {
    let mut missing = Vec::new();
    let rows = table().into_iter().chain(table_of("docs/must-hold.md"));
    let rows = rows.chain(table_of("SPECIFICATION.md"));
    for row in rows.filter(|row| row.test != "open") {
        let wrong = row.test.split(", ").filter_map(|test| check_exists(test).err());
        missing.extend(wrong.map(|why| format!("{}: {why}", row.id)));
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn every_document_is_there_and_numbered_without_gaps() {
    let rows = table();
    for area in ["R", "RL", "C", "L"] {
        let numbers: Vec<u32> = rows
            .iter()
            .filter_map(|row| row.id.strip_prefix(area)?.strip_prefix('-')?.parse().ok())
            .collect();
        assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>(), "{area}");
        assert!(!numbers.is_empty(), "{area}");
    }
    let open = rows.iter().filter(|row| row.test == "open").count();
    let tests: BTreeSet<&str> = rows.iter().map(|row| row.test.as_str()).collect();
    println!("{} requirements, {open} open, {} tests", rows.len(), tests.len() - 1);
}

#[test]
fn a_broken_table_is_seen() {
    let row = "| R-1 | state | has an id | blackbox/lifecycle::x |\n";
    assert_eq!(rows(row).map(|rows| rows.len()), Ok(1));
    assert_eq!(rows("| id | section |\n|---|---|\n| a-b | c |\n"), Ok(Vec::new()));
    assert!(rows(&format!("{row}{row}")).is_err_and(|why| why.contains("twice")));
    assert!(rows("| R-1 | state | has an id | |\n").is_err_and(|why| why.contains("empty")));
    assert!(rows("| R-1 | state | x |\n").is_err_and(|why| why.contains("3 cells")));
}

#[test]
fn a_missing_test_is_seen() {
    let source = Source::parse(
        "#[test]\nfn one() {}\nfn two() {}\n// \"three\"\nfn r(s: &mut S) { s.on(ALL, \"four\", f); }",
    );
    assert_eq!(
        ["one", "two", "three", "four"].map(|name| has_test(&source, name)),
        [true, false, false, true]
    );
    assert_eq!(
        place("runtime/src/config/validate::x"),
        Ok((PathBuf::from("runtime/src/config/validate.rs"), "x"))
    );
    assert!(place("elsewhere/x::y").is_err() && place("blackbox/x").is_err());
}
