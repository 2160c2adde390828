//! What is added to CRIU's images of a rich container.
//!
//! PID 1 is executed from memory (a sealed memfd). CRIU writes what is mapped of it, but on restore
//! looks for the program's file among the plain ones (CRIU 4.2: "No entry for reg-file-ID"). It is
//! given one there, which stands for a file that the runtime brings along.

use super::wire::{Message, Value, fields};

/// The image that lists open files.
pub const FILES: &str = "files.img";
/// The name of the file that the runtime brings along: no mount has the number 0.
pub const PROGRAM: &str = "file[0:1]";

/// `fd_types` of fdinfo.proto.
const REG: u32 = 1;
const MEMFD: u64 = 18;
/// Two words that say what it is.
const HEAD: usize = 8;

/// What is to be appended to the list of files: for each file in memory a plain one of its number.
/// Nothing, where there is none, or the list is in another form.
pub fn addition(files: &[u8]) -> Vec<u8> {
    let mut added = Vec::new();
    let mut rest = files.get(HEAD..).unwrap_or_default();
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let Some((entry, after)) = after.split_at_checked(u32::from_le_bytes(*size) as usize)
        else {
            return Vec::new();
        };
        rest = after;
        if let Some(id) = in_memory(entry) {
            let entry = plain(id);
            let entry = entry.encoded();
            added.extend((entry.len() as u32).to_le_bytes());
            added.extend(entry);
        }
    }
    added
}

/// The number of a file in memory.
fn in_memory(entry: &[u8]) -> Option<u32> {
    let fields = fields(entry).ok()?;
    let number = |wanted| {
        fields.iter().find_map(|field| match field {
            (field, Value::Number(number)) if *field == wanted => Some(*number),
            _ => None,
        })
    };
    if number(1)? != MEMFD { None } else { u32::try_from(number(2)?).ok() }
}

/// `file_entry` with a `reg_file_entry`, to be found outside.
fn plain(id: u32) -> Message {
    let mut owner = Message::default();
    (1..=5).for_each(|field| owner.number(field, 0));
    let mut file = Message::default();
    file.number(1, id);
    file.number(2, 0);
    file.number(3, 0);
    file.message(5, &owner);
    file.text(6, PROGRAM);
    file.flag(9, true);
    let mut entry = Message::default();
    entry.number(1, REG);
    entry.number(2, id);
    entry.message(3, &file);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_in_memory_gets_a_plain_one() {
        let mut files = vec![0x19, 0x43, 0x56, 0x54, 0x38, 0x31, 0x30, 0x56];
        for entry in [&b"\x08\x12\x10\x07"[..], b"\x08\x01\x10\x08", b"\x08\x12\x10\x09"] {
            files.extend((entry.len() as u32).to_le_bytes());
            files.extend(entry);
        }
        let added = addition(&files);
        let size = u32::from_le_bytes(*added.first_chunk().unwrap()) as usize;
        assert_eq!(added.len(), 2 * (4 + size));
        let entry = fields(&added[4..4 + size]).unwrap();
        assert_eq!(entry[..2], [(1, Value::Number(1)), (2, Value::Number(7))]);
        let (3, Value::Bytes(file)) = entry[2] else { panic!() };
        assert!(fields(file).unwrap().contains(&(6, Value::Bytes(PROGRAM.as_bytes()))));
        assert!(addition(&files[..files.len() - 1]).is_empty());
        assert!(addition(b"").is_empty());
    }
}
