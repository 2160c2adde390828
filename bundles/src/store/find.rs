//! Finding containers by name, id, or the beginning of an id.

use std::fs;

use super::{Life, Record, Store, read_json};
use crate::error::{Error, Kind, Result};

/// Which containers are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this namespace only.
    pub namespace: Option<String>,
    /// `KEY=VALUE` conditions, all of which hold: name, id, label, status, source, pod.
    pub conditions: Vec<(String, String)>,
}

/// A container that was found, and how it is.
#[derive(Debug, Clone)]
pub struct Found {
    /// How it was asked for.
    pub record: Record,
    /// How it is by its monitor's record.
    pub life: Life,
}

impl Filter {
    /// Whether all conditions hold for a container.
    pub fn lets_through(&self, found: &Found) -> bool {
        self.conditions.iter().all(|(key, value)| holds(found, key, value))
    }
}

fn holds(found: &Found, key: &str, value: &str) -> bool {
    let record = &found.record;
    match key {
        "name" => record.name.contains(value),
        "id" => record.id.starts_with(value),
        "source" => record.source == value,
        "status" => found.life.phase.name() == value,
        "pod" => record.pod.as_deref() == Some(value),
        "label" => match value.split_once('=') {
            Some((label, wanted)) => record.labels.get(label).is_some_and(|found| found == wanted),
            None => record.labels.contains_key(value),
        },
        _ => false,
    }
}

/// The conditions that [`Filter`] knows.
pub const CONDITIONS: &[&str] = &["name", "id", "source", "status", "pod", "label"];

impl Store {
    /// The namespaces that there are.
    pub fn namespaces(&self) -> Vec<String> {
        names_in(&self.place.data.join("containers"))
    }

    /// All containers of a namespace, or of all, the oldest first.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn records(&self, namespace: Option<&str>) -> Result<Vec<Record>> {
        let namespaces = match namespace {
            Some(name) => vec![name.to_owned()],
            None => self.namespaces(),
        };
        let mut found = Vec::new();
        for namespace in namespaces {
            for id in names_in(&self.place.data.join("containers").join(&namespace)) {
                let path = self.data_of(&namespace, &id).join("record.json");
                found.extend(read_json::<Record>(&path)?);
            }
        }
        found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(found)
    }

    /// The one container of that name, id, or beginning of an id.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; several whose ids begin so.
    pub fn find(&self, namespace: &str, word: &str) -> Result<Record> {
        let none = || {
            Error::new(
                Kind::NotFound,
                format!(
                    "no container {word} in namespace {namespace} (see 'richctl list --all-namespaces')"
                ),
            )
        };
        if let Some((pod, container)) = word.split_once('/') {
            let words = format!(
                "no container {word}: for one of a pod there are 'richctl exec', 'richctl list', \
                 'richctl pod logs {pod} -c {container}' and 'richctl pod stop {pod}'"
            );
            return Err(Error::new(Kind::NotFound, words));
        }
        if word.is_empty() || word.starts_with('.') {
            return Err(none());
        }
        if let Ok(id) = fs::read_link(self.name_link(namespace, word)) {
            let path = self.data_of(namespace, &id.to_string_lossy()).join("record.json");
            if let Some(record) = read_json(&path)? {
                return Ok(record);
            }
        }
        let all = names_in(&self.place.data.join("containers").join(namespace));
        let fitting: Vec<&String> = all.iter().filter(|id| id.starts_with(word)).collect();
        match fitting[..] {
            [] => Err(none()),
            [id] => {
                let path = self.data_of(namespace, id).join("record.json");
                read_json(&path)?.ok_or_else(none)
            }
            _ => Err(Error::usage(format!(
                "{word} is the beginning of {} ids: give more of it",
                fitting.len()
            ))),
        }
    }
}

/// The names in a directory, sorted; none where it is not there.
fn names_in(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Place;

    fn record(id: &str, name: &str) -> Record {
        Record { id: id.into(), name: name.into(), namespace: "ns".into(), ..Record::default() }
    }

    #[test]
    fn names_ids_and_prefixes() {
        let dir = std::env::temp_dir().join(format!("rich-bundles-find-{}", std::process::id()));
        let store = Store::new(Place { run: dir.join("run"), data: dir.join("data") });
        store.add(&record("aa11", "web")).expect("add");
        store.add(&record("aa22", "db")).expect("add");
        let found = |word| store.find("ns", word).map(|record| record.name);
        assert_eq!(found("web").expect("by name"), "web");
        assert_eq!(found("aa22").expect("by id"), "db");
        assert_eq!(found("aa1").expect("by prefix"), "web");
        assert_eq!(found("aa").expect_err("two").kind, Kind::Usage);
        assert_eq!(found("../x").expect_err("no name").kind, Kind::NotFound);
        let of_pod = found("shop/web").expect_err("a pod's").message;
        assert!(of_pod.contains("'richctl pod logs shop -c web'"), "{of_pod}");
        assert_eq!(store.add(&record("bb", "web")).expect_err("taken").kind, Kind::Exists);
        let mut renamed = record("aa11", "web");
        store.rename(&mut renamed, "www").expect("rename");
        assert_eq!(found("web").expect_err("renamed").kind, Kind::NotFound);
        assert_eq!(found("www").expect("renamed"), "www");
        store.remove(&renamed).expect("remove");
        assert_eq!(store.records(None).expect("list").len(), 1);
        fs::remove_dir_all(dir).expect("clean up");
    }
}
