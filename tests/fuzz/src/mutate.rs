//! Seeded mutations of a corpus, for machines without a coverage-guided fuzzer.

/// Numbers that look random and are the same in every run (xorshift64*).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice for a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`; 0 if there is none.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        if sides == 0 { 0 } else { number as usize % sides }
    }
}

/// What parsers stumble over.
const MORSELS: [&[u8]; 24] = [
    b"\0",
    b"\n",
    b"\r",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"-1",
    b"0",
    b"4294967295",
    b"18446744073709551616",
    b"1e400",
    b"null",
    b"\\ud800",
    b"\xff",
    b"\xe2\x80\xae",
    b"..",
    b"/",
    b"=",
    b"#",
];

/// One to four changes to `bytes`, at most `longest` long.
pub fn mutated(bytes: &[u8], other: &[u8], longest: usize, dice: &mut Dice) -> Vec<u8> {
    let mut text = bytes.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(text.len() + 1);
        let end = (at + dice.roll(16)).min(text.len());
        match dice.roll(7) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..at, MORSELS[dice.roll(MORSELS.len())].iter().copied())),
            2 => drop(text.splice(at..end, MORSELS[dice.roll(MORSELS.len())].iter().copied())),
            3 => text.truncate(at),
            4 => {
                // A piece again, up to a hundred times.
                let piece = text[at..end].to_vec();
                drop(text.splice(at..at, piece.repeat(dice.roll(100))));
            }
            5 => {
                let from = dice.roll(other.len());
                let to = (from + dice.roll(64)).min(other.len());
                drop(text.splice(at..end, other[from..to].iter().copied()));
            }
            _ => {
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << dice.roll(8);
                }
            }
        }
    }
    text.truncate(longest);
    text
}
