//! What people see while a layer is unpacked or an image is fetched: on a terminal only.

use std::io::{self, Read};

use indicatif::{ProgressBar, ProgressStyle};

/// Work that may take long.
pub struct Progress {
    bar: ProgressBar,
}

const STYLE: &str = "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}";

impl Progress {
    /// Work on `total` bytes, called `name`; silent where standard error is no terminal.
    #[must_use]
    pub fn new(name: &str, total: u64) -> Progress {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Progress { bar }
    }

    /// What is read through it counts.
    pub fn reading<'a, R: Read + 'a>(&self, inner: R) -> impl Read + use<'a, R> {
        Counted { inner, bar: self.bar.clone() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

struct Counted<R> {
    inner: R,
    bar: ProgressBar,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}
