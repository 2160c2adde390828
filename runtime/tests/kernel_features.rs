//! docs/kernel-features.md says what the table in code says, and the settings of engines in
//! README are the files that are installed.

use std::fs;
use std::path::{Path, PathBuf};

use richrun::plan::kernel::{FEATURES, Group, OLDEST};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_page_is_the_table() {
    let page = read("docs/kernel-features.md");
    for group in Group::ALL {
        let heading = format!("## {}\n", group.title());
        let (_, section) = page.split_once(&heading).unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
        let told: Vec<String> = rows.map(str::to_owned).collect();
        let table = FEATURES.iter().filter(|feature| feature.group == group);
        let wanted: Vec<String> = table.map(|feature| feature.markdown()).collect();
        assert_eq!(told, wanted, "the table of {heading}");
    }
    let oldest = format!("**Linux {}.{}**", OLDEST.0, OLDEST.1);
    assert!(page.contains(&oldest), "{oldest}");
}

/// What README tells to write is what the trials of the engines use, and what is installed.
#[test]
fn the_readme_shows_the_files_that_are_installed() {
    let readme = read("README.md");
    for file in [
        "podman/50-richrun.conf",
        "docker/daemon.json",
        "containerd/config-1.toml",
        "crio/50-richrun.conf",
        "kubernetes/runtimeclasses.yaml",
    ] {
        let text = read(&format!("integration/setup/{file}"));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let block: String = lines
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") })
            .collect();
        assert!(readme.contains(block.trim_start_matches('\n')), "README lacks {file}:\n{block}");
    }
}
