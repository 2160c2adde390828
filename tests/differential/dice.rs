//! A small generator of numbers, the same on every machine (xorshift64*).

/// Numbers that follow from a seed.
pub struct Dice(u64);

impl Dice {
    /// Neighbouring seeds give unlike numbers.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// All 64 bits: the seed of other dice.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        (self.number() >> 33) % sides
    }

    /// Once in `sides` times.
    pub fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len() as u64) as usize]
    }

    /// Some of a list, in its order; each with one chance in two.
    pub fn some<T: Copy>(&mut self, list: &[T]) -> Vec<T> {
        list.iter().copied().filter(|_| self.once_in(2)).collect()
    }
}
