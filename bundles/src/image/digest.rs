//! Digests of content, and readers that compute them.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use sha2::{Digest as _, Sha256, Sha512};

use super::limits::Limits;
use crate::error::{Error, Kind, Result};

/// `sha256:HEX` or `sha512:HEX`: the name of some content, safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Reads a digest; it comes from an image and later names files, so nothing but
    /// the two algorithms and lower-case hexadecimal digits of the right number passes.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Digest> {
        let length = match text.split_once(':') {
            Some(("sha256", hex)) => (hex, 64),
            Some(("sha512", hex)) => (hex, 128),
            _ => {
                return Err(Error::new(
                    Kind::Refused,
                    format!("{text:?} is not a sha256 or sha512 digest"),
                ));
            }
        };
        let (hex, wanted) = length;
        let digits = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != wanted || !digits {
            return Err(Error::new(
                Kind::Refused,
                format!("{text:?} is not a digest of {wanted} digits"),
            ));
        }
        Ok(Digest(text.to_owned()))
    }

    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(format!("sha256:{}", hex(&Sha256::digest(bytes))))
    }

    /// Without the algorithm: a file name.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// `sha256` or `sha512`.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// Enough of it for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    fn hasher(&self) -> Hasher {
        if self.algorithm() == "sha512" {
            Hasher::Sha512(Box::new(Sha512::new()))
        } else {
            Hasher::Sha256(Box::new(Sha256::new()))
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

enum Hasher {
    Sha256(Box<Sha256>),
    Sha512(Box<Sha512>),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Hasher::Sha256(hasher) => hex(&hasher.finalize()),
            Hasher::Sha512(hasher) => hex(&hasher.finalize()),
        }
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A reader that computes the digest of what passes, and stops at `limit` bytes.
pub struct Verified<R> {
    inner: R,
    wanted: Digest,
    hasher: Hasher,
    limit: u64,
    seen: Rc<Cell<u64>>,
    ratio: Option<(Rc<Cell<u64>>, Limits)>,
}

impl<R: Read> Verified<R> {
    /// Reads from `inner` what should have the digest `wanted`, and at most `limit` bytes.
    pub fn new(inner: R, wanted: &Digest, limit: u64) -> Verified<R> {
        let hasher = wanted.hasher();
        Verified { inner, wanted: wanted.clone(), hasher, limit, seen: Rc::default(), ratio: None }
    }

    /// Stops, too, when more comes out of a decompression than `limits` allow for the
    /// `stored` bytes that went into it.
    #[must_use]
    pub fn in_ratio(mut self, stored: Rc<Cell<u64>>, limits: Limits) -> Verified<R> {
        self.ratio = Some((stored, limits));
        self
    }

    /// How many bytes have passed, for readers above this one.
    pub fn counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.seen)
    }

    /// Reads what is left, and compares.
    ///
    /// # Errors
    /// A failed read; another digest than the one wanted.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        let found = self.hasher.finish();
        if found == self.wanted.hex() {
            return Ok(());
        }
        let algorithm = self.wanted.algorithm();
        let text = format!("its digest is {algorithm}:{found}, not {}", self.wanted);
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.seen.set(self.seen.get() + count as u64);
        if self.seen.get() > self.limit {
            let text = format!("it is longer than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if let Some((stored, limits)) = &self.ratio
            && self.seen.get() > limits.most_of(stored.get())
        {
            let text = format!("it unpacks to more than {} times its bytes", limits.ratio);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_digests_pass() {
        assert_eq!(Digest::parse(EMPTY).unwrap(), Digest::of(b""));
        for text in [
            "",
            "sha256:",
            "sha256:../../etc/passwd",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &EMPTY.to_uppercase(),
            &EMPTY.replace("e3b0", "e3b/"),
            &EMPTY[..70],
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn verified() {
        let wanted = Digest::of(b"abc");
        Verified::new(&b"abc"[..], &wanted, 3).finish().unwrap();
        let other = Verified::new(&b"abd"[..], &wanted, 3).finish().unwrap_err();
        assert!(other.to_string().contains(&format!("not {wanted}")), "{other}");
        let long = Verified::new(&b"abcd"[..], &wanted, 3).finish().unwrap_err();
        assert_eq!(long.to_string(), "it is longer than 3 bytes");
    }
}
