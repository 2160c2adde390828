//! `list`: the containers below `--root`.

use super::output::{line, print};
use crate::cli::{Format, Global, ListArgs};
use crate::error::{Kind, Result, Step};
use crate::life::Store;
use crate::life::document::{Document, state_document};
use crate::log;

/// Prints every container that has a state; one whose `create` was cut off
/// before that has nothing to show.
pub fn run(global: &Global, args: &ListArgs) -> Result<u8> {
    if let Some(root) = &global.root {
        // Its own root is made by the first container; another that is named is there.
        std::fs::metadata(root).step(|| format!("--root: open {}", root.display()))?;
    }
    let store = Store::new(global.root());
    let mut documents = Vec::new();
    for id in store.ids()? {
        match store.peek(&id) {
            Ok((state, status)) => documents.push(state_document(&store, &state, status)),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => log::warn(error.within(format!("load container {id}"))),
        }
    }
    let text = match args.format {
        _ if args.quiet => documents.iter().map(|document| format!("{}\n", document.id)).collect(),
        Format::Table => table(&documents),
        Format::Json => line(&documents)?,
    };
    print(&text)?;
    Ok(0)
}

/// The least width of a column, and the least space after a cell (runc's).
const WIDTH: usize = 12;
const SPACE: usize = 3;

/// runc's table: a heading, a line a container.
fn table(documents: &[Document]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = documents.iter().map(|document| {
        [
            document.id.clone(),
            document.pid.to_string(),
            document.status.to_string(),
            document.bundle.clone(),
            document.created.clone(),
            document.owner.clone(),
        ]
    });
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (longest + SPACE).max(WIDTH)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("{cell:width$}"));
        }
        text.push_str(&row[5]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Status;

    #[test]
    fn columns_are_runcs() {
        assert_eq!(
            table(&[]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
        let document = Document {
            oci_version: "1.3.0".into(),
            id: "a-long-name-of-one".into(),
            pid: 7,
            status: Status::Running,
            bundle: "/b".into(),
            rootfs: "/b/r".into(),
            created: "2026-01-02T03:04:05Z".into(),
            annotations: std::collections::BTreeMap::new(),
            owner: "root".into(),
            ended: None,
        };
        assert_eq!(
            table(&[document]),
            "ID                   PID         STATUS      BUNDLE      CREATED                OWNER\n\
             a-long-name-of-one   7           running     /b          2026-01-02T03:04:05Z   root\n"
        );
    }
}
