//! A stand-in for the kernel's resctrl, for machines whose processor has none: a file system of
//! FUSE (include/uapi/linux/fuse.h) with the kernel's rules for classes, monitoring groups, tasks
//! and schemata (Documentation/filesystems/resctrl.rst).
//!
//! `info/log` has every change and look-up, one a line; that file is not the kernel's.

mod model;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};

use model::{Entry, Model};
use nix::mount::{MsFlags, mount};

/// Mounts it at a directory, runs a command, and serves until that ends: its exit status.
pub fn main(words: &[String]) -> ExitCode {
    let device = File::options().read(true).write(true).open("/dev/fuse").expect("open /dev/fuse");
    let fd = device.as_raw_fd();
    let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other");
    let (flags, place) = (MsFlags::empty(), words[0].as_str());
    mount(Some("fake"), place, Some("fuse"), flags, Some(options.as_str())).expect("mount");
    std::thread::spawn(move || serve(device));
    let status = Command::new(&words[1]).args(&words[2..]).status().expect("run the command");
    ExitCode::from(status.code().map_or(255, |code| code as u8))
}

/// Answers until the file system is unmounted.
fn serve(mut device: File) {
    let mut server = Server { model: Model::new(), nodes: vec![String::new()] };
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let Ok(size) = device.read(&mut buffer) else { return };
        let request = Request(&buffer[..size]);
        let Some(answer) = server.answer(&request) else { continue };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-errno, Vec::new()),
        };
        let mut out = Vec::new();
        out.extend((16 + body.len() as u32).to_ne_bytes());
        out.extend(error.to_ne_bytes());
        out.extend(request.u64(8).to_ne_bytes());
        out.extend(body);
        // Whoever asked may have been killed meanwhile.
        let _ = device.write(&out);
    }
}

/// `struct fuse_in_header` and what follows.
struct Request<'b>(&'b [u8]);

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    /// The text from a place in the body on, without its end.
    fn text(&self, at: usize) -> String {
        let bytes = self.0[40 + at..].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }
}

type Answer = Result<Vec<u8>, i32>;

struct Server {
    model: Model,
    /// The paths of the nodes by their numbers, the root being 1.
    nodes: Vec<String>,
}

impl Server {
    /// The answer to a request; `None`: there is none to it.
    fn answer(&mut self, request: &Request<'_>) -> Option<Answer> {
        let at = (request.u64(16) as usize).checked_sub(1);
        let path = at.and_then(|at| self.nodes.get(at)).cloned().unwrap_or_default();
        let name = |at| match path.as_str() {
            "" => request.text(at),
            path => format!("{path}/{}", request.text(at)),
        };
        Some(match request.u32(4) {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return None,
            // INIT: version 7.31, 64 KiB a write
            26 => Ok([7, 31, 0, 0, 0, 1 << 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
                .into_iter()
                .flat_map(u32::to_ne_bytes)
                .collect()),
            // LOOKUP
            1 => self.entry(&name(0)),
            // GETATTR, SETATTR
            3 | 4 => self.model.find(&path).ok_or(libc::ENOENT).map(|entry| {
                let mut out = vec![0_u8; 16];
                out.extend(self.attributes(&path, entry));
                out
            }),
            // MKDIR
            9 => self.model.make(&name(8)).and_then(|()| self.entry(&name(8))),
            // RMDIR
            11 => self.model.remove(&name(0)).map(|()| Vec::new()),
            // OPEN, OPENDIR: FOPEN_DIRECT_IO
            14 | 27 => Ok([0, 0, 1, 0].into_iter().flat_map(u32::to_ne_bytes).collect()),
            15 => self.model.read(&path).map(|text| {
                let bytes = text.into_bytes();
                let from = bytes.len().min(request.u64(48) as usize);
                let to = bytes.len().min(from + request.u32(56) as usize);
                bytes[from..to].to_vec()
            }),
            16 => {
                let size = request.u32(56);
                let text = String::from_utf8_lossy(&request.0[80..]).into_owned();
                self.model
                    .write(&path, &text)
                    .map(|()| [size, 0].into_iter().flat_map(u32::to_ne_bytes).collect())
            }
            // RELEASE, RELEASEDIR, FLUSH, DESTROY
            18 | 25 | 29 | 38 => Ok(Vec::new()),
            // READDIR
            28 => Ok(self.listing(&path, request.u64(48))),
            _ => Err(libc::ENOSYS),
        })
    }

    /// `struct fuse_entry_out`
    fn entry(&mut self, path: &str) -> Answer {
        let entry = self.model.find(path).ok_or(libc::ENOENT)?;
        let mut out = self.number(path).to_ne_bytes().to_vec();
        out.extend([0_u8; 32]);
        out.extend(self.attributes(path, entry));
        Ok(out)
    }

    fn number(&mut self, path: &str) -> u64 {
        let found = self.nodes.iter().position(|known| known == path);
        let at = found.unwrap_or_else(|| {
            self.nodes.push(path.to_owned());
            self.nodes.len() - 1
        });
        at as u64 + 1
    }

    /// `struct fuse_attr`
    fn attributes(&mut self, path: &str, entry: Entry) -> Vec<u8> {
        let mode = match entry {
            Entry::Directory => libc::S_IFDIR | 0o755,
            Entry::File => libc::S_IFREG | 0o644,
        };
        let mut out = self.number(path).to_ne_bytes().to_vec();
        out.extend([0_u8; 52]);
        for field in [mode, 1, 0, 0, 0, 4096, 0] {
            out.extend(field.to_ne_bytes());
        }
        out
    }

    /// `struct fuse_dirent` of each name, all at once.
    fn listing(&mut self, path: &str, from: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if from > 0 {
            return out;
        }
        for (at, name) in self.model.names(path).into_iter().enumerate() {
            out.extend(1000_u64.to_ne_bytes());
            out.extend((at as u64 + 1).to_ne_bytes());
            out.extend((name.len() as u32).to_ne_bytes());
            out.extend(0_u32.to_ne_bytes());
            out.extend(name.as_bytes());
            out.resize(out.len().next_multiple_of(8), 0);
        }
        out
    }
}
