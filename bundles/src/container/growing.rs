//! A file that grows, and that is moved aside when it is large: read on without a gap.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::monitor::numbered;

/// A growing file: `PATH`, and `PATH.1`, `PATH.2`... that were `PATH` before.
#[derive(Debug)]
pub struct Growing {
    path: PathBuf,
    /// The highest number that is kept.
    last: u32,
    current: Option<BufReader<File>>,
}

impl Growing {
    /// From the beginning of the oldest one that is kept. So many have numbers.
    pub fn new(path: &Path, numbered: u32) -> Growing {
        Growing { path: path.to_owned(), last: numbered, current: None }
    }

    /// How many bytes there are now.
    ///
    /// # Errors
    /// The file system's.
    pub fn size(&self) -> io::Result<u64> {
        kept(&self.path, self.last)?.iter().map(|file| Ok(file.metadata()?.len())).sum()
    }

    /// Adds to `line` up to its end, or what there is of it; false when there is nothing for now.
    ///
    /// # Errors
    /// The file system's.
    pub fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            if let Some(reader) = &mut self.current {
                if reader.read_until(b'\n', line)? > 0 {
                    return Ok(true);
                }
                if reader.get_ref().metadata()?.len() < reader.stream_position()? {
                    // It was emptied.
                    reader.seek(SeekFrom::Start(0))?;
                    continue;
                }
            }
            let Some(next) = self.next()? else { return Ok(false) };
            // What was written between the last look and the move: nothing comes after that.
            if let Some(reader) = &mut self.current
                && reader.read_until(b'\n', line)? > 0
            {
                return Ok(true);
            }
            self.current = Some(BufReader::new(next));
        }
    }

    /// The file that followed the current one; nothing while that is the newest.
    fn next(&self) -> io::Result<Option<File>> {
        let oldest = || Ok(kept(&self.path, self.last)?.into_iter().next());
        let Some(current) = &self.current else { return oldest() };
        let current = inode(current.get_ref())?;
        let place = |number: u32| match number {
            0 => self.path.clone(),
            number => numbered(&self.path, number),
        };
        let is_at = |number| -> io::Result<bool> {
            Ok(match open(&place(number))? {
                Some(file) => inode(&file)? == current,
                None => false,
            })
        };
        loop {
            let mut at = None;
            for number in 0..=self.last {
                if is_at(number)? {
                    at = Some(number);
                    break;
                }
            }
            match at {
                Some(0) => return Ok(None),
                // Where it has been moved on meanwhile, the next one has too.
                Some(number) => match open(&place(number - 1))? {
                    Some(next) if is_at(number)? => return Ok(Some(next)),
                    Some(_) => {}
                    None if number == 1 => return Ok(None),
                    None => {}
                },
                // Nobody has kept it: on with the oldest that is there.
                None => return oldest(),
            }
        }
    }
}

/// The files that there are, the oldest first: each once, also while they are moved on.
fn kept(path: &Path, last: u32) -> io::Result<Vec<File>> {
    let mut all: Vec<File> = Vec::new();
    let mut seen = Vec::new();
    for file in std::iter::once(path.to_owned()).chain((1..=last).map(|n| numbered(path, n))) {
        let Some(file) = open(&file)? else { continue };
        let own = inode(&file)?;
        if !seen.contains(&own) {
            seen.push(own);
            all.push(file);
        }
    }
    all.reverse();
    Ok(all)
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|file| (file.dev(), file.ino()))
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn place(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("rich-growing-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("make a directory");
        dir
    }

    fn write(path: &Path, text: &str) {
        let file = File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("write");
    }

    fn all(growing: &mut Growing) -> String {
        let mut text = Vec::new();
        while growing.read_line(&mut text).expect("read") {}
        String::from_utf8(text).expect("text")
    }

    /// As the monitor moves them.
    fn rotate(path: &Path, last: u32) {
        for number in (1..last).rev() {
            let _ = fs::rename(numbered(path, number), numbered(path, number + 1));
        }
        fs::rename(path, numbered(path, 1)).expect("rename");
    }

    #[test]
    fn nothing_is_missed_over_several_moves_between_two_looks() {
        let dir = place("moves");
        let path = dir.join("log");
        let mut growing = Growing::new(&path, 3);
        assert_eq!(all(&mut growing), "");
        write(&path, "one\n");
        assert_eq!(all(&mut growing), "one\n");
        // Written after the last look, and moved twice before the next one.
        write(&path, "two\n");
        rotate(&path, 3);
        write(&path, "three\n");
        rotate(&path, 3);
        write(&path, "four\npart");
        assert_eq!(all(&mut growing), "two\nthree\nfour\npart");
        // More moves than are kept: on with the oldest.
        for number in 5..10 {
            rotate(&path, 3);
            write(&path, &format!("{number}\n"));
        }
        assert_eq!(all(&mut growing), "6\n7\n8\n9\n");
        fs::remove_dir_all(dir).expect("clean up");
    }

    #[test]
    fn a_file_that_was_emptied_is_read_from_its_beginning() {
        let dir = place("emptied");
        let path = dir.join("log");
        let mut growing = Growing::new(&path, 0);
        write(&path, "a long line\n");
        assert_eq!(all(&mut growing), "a long line\n");
        File::options().write(true).open(&path).and_then(|file| file.set_len(0)).expect("empty");
        write(&path, "short\n");
        assert_eq!(all(&mut growing), "short\n");
        fs::remove_dir_all(dir).expect("clean up");
    }

    #[test]
    fn all_that_are_kept_come_in_order() {
        let dir = place("kept");
        let path = dir.join("log");
        for word in ["a", "b", "c"] {
            write(&path, word);
            rotate(&path, 3);
        }
        write(&path, "d");
        let mut growing = Growing::new(&path, 3);
        assert_eq!(growing.size().expect("sizes"), 4);
        assert_eq!(all(&mut growing), "abcd");
        fs::remove_dir_all(dir).expect("clean up");
    }
}
