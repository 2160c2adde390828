//! What is changed in CRIU's list of open files, once it is written.
//!
//! - PID 1 of a rich container is executed from memory (a sealed memfd). CRIU writes what is mapped of
//!   it, but on restore looks for the program's file among the plain ones (CRIU 4.2: "No entry for
//!   reg-file-ID"). It is given one there, which stands for a file that the runtime brings along.
//! - A standard stream that is a file outside comes from who restores: that file has another size
//!   and mode, and its own place to go on at, while CRIU would insist on the old ones.

use super::wire::{Malformed, Message, Value, fields};

/// The image that lists open files.
pub const FILES: &str = "files.img";
/// The name of the file that the runtime brings along: no mount has the number 0.
pub const PROGRAM: &str = "file[0:1]";

/// `fd_types` of fdinfo.proto.
const REG: u64 = 1;
const MEMFD: u64 = 18;
/// Two words that say what it is.
const HEAD: usize = 8;
/// Fields of `reg_file_entry`.
const POS: u32 = 3;
const NAME: u32 = 6;
const EXT: u32 = 9;
/// What goes on where it stands.
const NOWHERE: u64 = u64::MAX;

/// The list as it is to be.
///
/// # Errors
/// It is in a form that is not known.
pub fn changed(files: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (head, mut rest) = files.split_at_checked(HEAD).ok_or(Malformed)?;
    let mut new = head.to_vec();
    while !rest.is_empty() {
        let (size, after) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
        let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| Malformed)?;
        let (entry, after) = after.split_at_checked(size).ok_or(Malformed)?;
        rest = after;
        let fields = fields(entry)?;
        push(&mut new, outside(&fields)?.as_ref().map_or(entry, Message::encoded));
        if let (Some(MEMFD), Some(id)) = (number(&fields, 1), number(&fields, 2)) {
            push(&mut new, plain(id).encoded());
        }
    }
    Ok(new)
}

fn push(list: &mut Vec<u8>, entry: &[u8]) {
    list.extend((entry.len() as u32).to_le_bytes());
    list.extend(entry);
}

fn number(fields: &[(u32, Value<'_>)], wanted: u32) -> Option<u64> {
    fields.iter().find_map(|field| match field {
        (field, Value::Number(number)) if *field == wanted => Some(*number),
        _ => None,
    })
}

/// The entry of a file outside, without what it was there.
fn outside(entry: &[(u32, Value<'_>)]) -> Result<Option<Message>, Malformed> {
    if number(entry, 1) != Some(REG) {
        return Ok(None);
    }
    let mut new = Message::default();
    for (field, value) in entry {
        match value {
            Value::Bytes(bytes) if *field == 3 => {
                let file = fields(bytes)?;
                if number(&file, EXT) != Some(1) {
                    return Ok(None);
                }
                let mut kept = Message::default();
                for (field, value) in file.into_iter().filter(|(field, _)| *field <= NAME) {
                    kept.value(field, if field == POS { Value::Number(NOWHERE) } else { value });
                }
                kept.flag(EXT, true);
                new.message(3, &kept);
            }
            value => new.value(*field, *value),
        }
    }
    Ok(Some(new))
}

/// `file_entry` with a `reg_file_entry`, to be found outside.
fn plain(id: u64) -> Message {
    let mut owner = Message::default();
    (1..=5).for_each(|field| owner.number(field, 0));
    let mut file = Message::default();
    file.long(1, id);
    file.number(2, 0);
    file.number(POS, 0);
    file.message(5, &owner);
    file.text(NAME, PROGRAM);
    file.flag(EXT, true);
    let mut entry = Message::default();
    entry.long(1, REG);
    entry.long(2, id);
    entry.message(3, &file);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; HEAD] = [0x19, 0x43, 0x56, 0x54, 0x38, 0x31, 0x30, 0x56];

    fn list(entries: &[&[u8]]) -> Vec<u8> {
        let mut list = MAGIC.to_vec();
        entries.iter().for_each(|entry| push(&mut list, entry));
        list
    }

    #[test]
    fn each_file_in_memory_gets_a_plain_one() {
        let (memory, other) = (&b"\x08\x12\x10\x07"[..], &b"\x08\x09\x10\x08"[..]);
        let new = changed(&list(&[memory, other])).unwrap();
        assert_eq!(new, list(&[memory, plain(7).encoded(), other]));
        for bad in [&list(&[memory])[..13], b"", b"1234567"] {
            assert!(changed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_outside_is_whatever_it_is_there() {
        let file = |outside: bool, fields: &[(u32, u64)]| {
            let mut file = Message::default();
            fields.iter().for_each(|(field, value)| file.long(*field, *value));
            if outside {
                file.flag(EXT, true);
            }
            let mut entry = Message::default();
            entry.long(1, REG);
            entry.message(3, &file);
            entry
        };
        let fields = [(1, 3), (2, 1), (POS, 7), (8, 7), (10, 0o644)];
        let inside = file(false, &fields);
        assert_eq!(changed(&list(&[inside.encoded()])).unwrap(), list(&[inside.encoded()]));
        let old = file(true, &fields);
        let new = file(true, &[(1, 3), (2, 1), (POS, NOWHERE)]);
        assert_eq!(changed(&list(&[old.encoded()])).unwrap(), list(&[new.encoded()]));
    }
}
