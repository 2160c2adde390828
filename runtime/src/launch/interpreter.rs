//! What an execve(2) that found nothing was looking for: the program is there, but not
//! the interpreter that its first line names, or the loader that its ELF header names.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::image_file;

/// As much of a first line as the kernel reads (`BINPRM_BUF_SIZE`).
const FIRST_LINE: usize = 256;
/// The longest path (`PATH_MAX`).
const LONGEST: usize = 4096;
/// More program headers than any program has.
const HEADERS: u64 = 1024;

/// The interpreter or loader of `program`, if it has one that is not there.
#[expect(clippy::disallowed_methods, reason = "what execve(2) was given, as the payload sees it")]
pub fn missing(program: &CStr) -> Option<PathBuf> {
    let found = rustix::fs::open(program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let named = of(found.as_fd())?;
    std::fs::symlink_metadata(&named)
        .and_then(|_| std::fs::metadata(&named))
        .is_err()
        .then_some(named)
}

/// The interpreter or loader that the program behind an `O_PATH` descriptor names.
pub fn of(program: BorrowedFd<'_>) -> Option<PathBuf> {
    let file = image_file::open(program).ok()?;
    named_by(&|offset, length| read(&file, offset, length))
}

fn read(file: &OwnedFd, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let got = rustix::io::pread(file, &mut bytes, offset).unwrap_or(0);
    bytes.truncate(got);
    bytes
}

/// Who is named by a program whose bytes `read` gives: at an offset, at most so many.
fn named_by(read: &dyn Fn(u64, usize) -> Vec<u8>) -> Option<PathBuf> {
    let head = read(0, FIRST_LINE);
    let name = match head.strip_prefix(b"#!") {
        Some(line) => first_word(line)?.to_vec(),
        None => loader(&head, read)?,
    };
    Some(Path::new(OsStr::from_bytes(&name)).to_owned())
}

fn first_word(line: &[u8]) -> Option<&[u8]> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).find(|word| !word.is_empty())
}

/// `PT_INTERP` of an ELF file (elf(5)) in this machine's byte order, of 64 or 32 bits.
fn loader(head: &[u8], read: &dyn Fn(u64, usize) -> Vec<u8>) -> Option<Vec<u8>> {
    const PT_INTERP: u64 = 3;
    let wide = match head.strip_prefix(b"\x7fELF")?.first()? {
        2 => true,
        1 => false,
        _ => return None,
    };
    let (table, size, count) = match wide {
        true => (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?),
        false => (number(head, 28, 4)?, number(head, 42, 2)?, number(head, 44, 2)?),
    };
    (0..count.min(HEADERS)).find_map(|at| {
        let header = read(table.checked_add(at * size)?, 56);
        if number(&header, 0, 4)? != PT_INTERP {
            return None;
        }
        let (offset, length) = match wide {
            true => (number(&header, 8, 8)?, number(&header, 32, 8)?),
            false => (number(&header, 4, 4)?, number(&header, 16, 4)?),
        };
        let length = usize::try_from(length).ok()?.min(LONGEST);
        let name = read(offset, length);
        let name = name.split(|byte| *byte == 0).next()?;
        (!name.is_empty()).then(|| name.to_vec())
    })
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    let mut whole = [0; 8];
    let place = if cfg!(target_endian = "little") { 0 } else { 8 - width };
    whole[place..place + width].copy_from_slice(field);
    Some(u64::from_ne_bytes(whole))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a trial's own file")]
mod tests {
    use super::*;

    fn of_bytes(bytes: &[u8]) -> Option<PathBuf> {
        named_by(&|offset, length| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            bytes[start..start.saturating_add(length).min(bytes.len())].to_vec()
        })
    }

    #[test]
    fn a_first_line_names_an_interpreter() {
        for (text, name) in [
            ("#!/bin/x\n", Some("/bin/x")),
            ("#! \t/bin/x -e y\nmore", Some("/bin/x")),
            ("#!/bin/x", Some("/bin/x")),
            ("#!\n/bin/x", None),
            ("#!", None),
            ("#", None),
            ("", None),
            ("echo", None),
        ] {
            assert_eq!(of_bytes(text.as_bytes()).as_deref(), name.map(Path::new), "{text:?}");
        }
    }

    #[test]
    fn an_elf_file_names_its_loader() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        // This test is linked statically or not: a made file says it for sure.
        let _ = of_bytes(&own);
        let mut file = vec![0; 300];
        file[..5].copy_from_slice(b"\x7fELF\x02");
        file[32..40].copy_from_slice(&64u64.to_ne_bytes());
        file[54..56].copy_from_slice(&56u16.to_ne_bytes());
        file[56..58].copy_from_slice(&2u16.to_ne_bytes());
        file[120..124].copy_from_slice(&3u32.to_ne_bytes());
        file[128..136].copy_from_slice(&200u64.to_ne_bytes());
        file[152..160].copy_from_slice(&8u64.to_ne_bytes());
        file[200..208].copy_from_slice(b"/lib/ld\0");
        assert_eq!(of_bytes(&file), Some("/lib/ld".into()));
        // Whatever the fields are: no panic, no endless reading.
        for at in 0..file.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut broken = file.clone();
                broken[at] = byte;
                let _ = of_bytes(&broken);
                let _ = of_bytes(&broken[..at]);
            }
        }
    }
}
