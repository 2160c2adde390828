use super::*;

#[test]
fn ids_are_file_names_and_nothing_else() {
    for good in ["a", "A-1_b.c+d", "0".repeat(255).as_str()] {
        assert!(check_id(good).is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "../x", "a b", "ä", "0".repeat(256).as_str(), "a\n"] {
        assert!(check_id(bad).is_err(), "{bad:?}");
    }
}
/// A store in a directory of its own.
fn store(name: &str) -> Store {
    let name = format!("richrun-store-{name}-{}", std::process::id());
    Store::new(std::env::temp_dir().join(name))
}

#[test]
fn a_lock_on_what_was_deleted_is_none_on_its_successor() {
    let store = store("lock");
    let first = store.create("a").unwrap();
    assert_eq!(store.create("a").unwrap_err().kind(), Kind::WrongState);
    assert_eq!(is_at(&first.dir, &first.path()), Ok(true));
    first.remove().unwrap();
    assert_eq!(is_at(&first.dir, &first.path()), Ok(false));
    assert_eq!(store.entry("a").unwrap_err().kind(), Kind::NotFound);
    let second = store.create("a").unwrap();
    assert_eq!(is_at(&first.dir, &second.path()), Ok(false));
    assert_eq!(is_at(&second.dir, &second.path()), Ok(true));
    std::fs::remove_dir_all(store.root()).unwrap();
}

#[test]
fn the_gate_is_held_by_who_reads_from_it() {
    let store = store("gate");
    let entry = store.create("a").unwrap();
    let held = || is_held(entry.dir(), Path::new(EXEC_FIFO));
    assert!(!held(), "there is none");
    let mode = Mode::from_raw_mode(0o600);
    fs::mknodat(entry.dir(), EXEC_FIFO, fs::FileType::Fifo, mode, 0).unwrap();
    assert!(!held(), "nobody reads");
    let reader = openat(entry.dir(), EXEC_FIFO, OFlags::RDWR, Mode::empty()).unwrap();
    assert!(held());
    drop(reader);
    assert!(!held(), "nobody reads any more");
    std::fs::remove_dir_all(store.root()).unwrap();
}
