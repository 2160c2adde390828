//! Content of a work tree watched: a service is told when what it depends on has changed.
//!
//! Each directory below a pattern's fixed part is watched by inotify, which costs nothing
//! for files. Directories that appear later are watched when they appear; what was
//! written to them before is found by looking. Whatever was changed while the watches were
//! set is found by its change time, so nothing waits for them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

use super::template::Service;
use crate::error::{Error, Kind, Result};

/// Changes that follow each other sooner are one.
const QUIET: Duration = Duration::from_millis(300);
/// A change that never ends is told after this time.
const LONGEST: Duration = Duration::from_secs(3);

/// The patterns of one service.
#[derive(Debug, Clone)]
pub struct Patterns {
    set: GlobSet,
    roots: Vec<PathBuf>,
}

impl Patterns {
    /// A service's patterns, relative to the work tree. A pattern that names a directory
    /// means all below it; `*` does not match a slash.
    ///
    /// # Errors
    /// A malformed pattern; one that leads out of the work tree.
    pub fn of(service: &Service) -> Result<Patterns> {
        let bad = |text: String| {
            Error::new(
                Kind::Refused,
                format!("template: service {}: content: {text}", service.name),
            )
        };
        let mut set = GlobSetBuilder::new();
        let mut roots = Vec::new();
        for pattern in &service.content {
            let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
            if pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
                return Err(bad(format!("{pattern} leads out of the work tree")));
            }
            for text in [pattern.to_owned(), format!("{pattern}/**")] {
                let glob = GlobBuilder::new(&text).literal_separator(true).build();
                set.add(glob.map_err(|error| bad(error.to_string()))?);
            }
            let fixed = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '{']));
            let mut root: PathBuf = fixed.collect();
            if root == Path::new(pattern) {
                // It may be a file: its directory tells.
                root.pop();
            }
            roots.push(root);
        }
        let set = set.build().map_err(|error| bad(error.to_string()))?;
        Ok(Patterns { set, roots })
    }

    fn matches(&self, relative: &Path) -> bool {
        self.set.is_match(relative)
    }

    /// Whether something below this directory can match: git's own files never do.
    fn reaches(&self, relative: &Path) -> bool {
        relative.file_name().is_none_or(|name| name != ".git")
            && self
                .roots
                .iter()
                .any(|root| root.starts_with(relative) || relative.starts_with(root))
    }
}

/// What is watched, and for whom.
#[derive(Debug)]
pub struct Watcher {
    top: PathBuf,
    inotify: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    services: Vec<Watched>,
    /// Seconds and nanoseconds of the file system's clock when watching began.
    began: (i64, i64),
    /// The kernel has no more watches: times are compared instead.
    blind: bool,
}

#[derive(Debug)]
struct Watched {
    name: String,
    patterns: Patterns,
    /// When it was first changed since it was last told, and when last.
    changed: Option<(Instant, Instant)>,
}

fn flags() -> WatchFlags {
    WatchFlags::CREATE
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MODIFY
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE
        | WatchFlags::ONLYDIR
        | WatchFlags::DONT_FOLLOW
        | WatchFlags::EXCL_UNLINK
}

impl Watcher {
    /// Watches nothing yet; changes count from now on.
    ///
    /// # Errors
    /// A malformed pattern; the kernel has no more inotify instances.
    pub fn new<'a>(top: &Path, services: impl Iterator<Item = &'a Service>) -> Result<Watcher> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| Error::system(format!("env: watch {}: {error}", top.display())))?;
        let mut watched = Vec::new();
        for service in services {
            watched.push(Watched {
                name: service.name.clone(),
                patterns: Patterns::of(service)?,
                changed: None,
            });
        }
        Ok(Watcher {
            top: top.to_owned(),
            inotify,
            directories: HashMap::new(),
            services: watched,
            began: file_clock(),
            blind: false,
        })
    }

    /// Whether there is anything to watch for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.services.is_empty()
    }

    /// Watches until `stop` says so (its other end is closed), and calls `tell` with the
    /// name of each service whose content has changed and is quiet again. What changed
    /// last is told before it returns.
    ///
    /// # Errors
    /// A failed system call; errors of `tell`.
    pub fn run(&mut self, stop: &OwnedFd, mut tell: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let wrong = |error: io::Error| Error::system(format!("env: watch: {error}"));
        self.add(PathBuf::new(), true);
        loop {
            self.read().map_err(wrong)?;
            for name in self.quiet(Instant::now()) {
                tell(&name)?;
            }
            let timeout = self.next(Instant::now());
            let mut fds =
                [PollFd::new(stop, PollFlags::IN), PollFd::new(&self.inotify, PollFlags::IN)];
            let timeout = timeout.map(|time| rustix::time::Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: time.subsec_nanos().into(),
            });
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(wrong(error.into())),
            }
            if !fds[0].revents().is_empty() {
                break;
            }
        }
        self.read().map_err(wrong)?;
        if self.blind {
            self.add(PathBuf::new(), true);
        }
        let changed =
            self.services.iter_mut().filter_map(|one| one.changed.take().map(|_| one.name.clone()));
        changed.collect::<Vec<_>>().iter().try_for_each(|name| tell(name))
    }

    /// Watches a directory and all below it. `first`: what was changed since the beginning
    /// counts; otherwise all that is there counts, since it has just appeared.
    fn add(&mut self, from: PathBuf, first: bool) {
        let mut waiting = vec![from];
        while let Some(relative) = waiting.pop() {
            if !self.services.iter().any(|one| one.patterns.reaches(&relative)) {
                continue;
            }
            let path = self.top.join(&relative);
            match add_watch(&self.inotify, &path, flags()) {
                Ok(watch) => drop(self.directories.insert(watch, relative.clone())),
                Err(Errno::NOSPC | Errno::NOMEM) if !self.blind => {
                    self.blind = true;
                    eprintln!(
                        "richctl: warning: env: too many directories to watch (sysctl \
                         fs.inotify.max_user_watches); changes are looked for at the end of the command"
                    );
                }
                // Gone again, or not to be read.
                Err(_) => {}
            }
            let Ok(entries) = fs::read_dir(&path) else { continue };
            for entry in entries.flatten() {
                let below = relative.join(entry.file_name());
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let counts = self.services.iter().any(|one| one.patterns.matches(&below));
                if counts && (!first || self.is_new(&entry)) {
                    self.mark(&below);
                }
                if is_dir {
                    waiting.push(below);
                }
            }
        }
    }

    fn is_new(&self, entry: &fs::DirEntry) -> bool {
        entry.metadata().is_ok_and(|meta| (meta.ctime(), meta.ctime_nsec()) >= self.began)
    }

    fn mark(&mut self, relative: &Path) {
        let now = Instant::now();
        for service in &mut self.services {
            if service.patterns.matches(relative) {
                let first = service.changed.map_or(now, |(first, _)| first);
                service.changed = Some((first, now));
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut seen = Vec::new();
        let mut lost = false;
        let mut reader = Reader::new(self.inotify.as_fd(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    seen.push((event.wd(), event.events(), name));
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if lost {
            // Nobody knows what: look again.
            self.add(PathBuf::new(), true);
        }
        for (watch, events, name) in seen {
            if events.contains(ReadFlags::IGNORED) {
                self.directories.remove(&watch);
                continue;
            }
            let (Some(directory), Some(name)) = (self.directories.get(&watch), name) else {
                continue;
            };
            let relative = directory.join(std::ffi::OsStr::from_bytes(&name));
            self.mark(&relative);
            if events.contains(ReadFlags::ISDIR)
                && events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO)
            {
                self.add(relative, false);
            }
        }
        Ok(())
    }

    /// Services whose content has been quiet for a while.
    fn quiet(&mut self, now: Instant) -> Vec<String> {
        let due = |(first, last): (Instant, Instant)| now >= (last + QUIET).min(first + LONGEST);
        let mut names = Vec::new();
        for service in &mut self.services {
            if service.changed.is_some_and(due) {
                service.changed = None;
                names.push(service.name.clone());
            }
        }
        names
    }

    /// How long until the next one is due.
    fn next(&self, now: Instant) -> Option<Duration> {
        let times = self.services.iter().filter_map(|one| one.changed);
        let due = times.map(|(first, last)| (last + QUIET).min(first + LONGEST)).min()?;
        Some(due.saturating_duration_since(now))
    }
}

/// The clock that change times are taken from, which is a little behind the other one.
fn file_clock() -> (i64, i64) {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    (time.tv_sec, time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn service(content: &[&str]) -> Service {
        let content = content.iter().map(|text| (*text).to_owned()).collect();
        Service { name: "web".to_owned(), content, ..Service::default() }
    }

    #[test]
    fn patterns() {
        let patterns = Patterns::of(&service(&["plugins/**/*.so", "./www/", "app.toml"])).unwrap();
        for yes in ["plugins/a.so", "plugins/x/y/a.so", "www", "www/a/b", "app.toml"] {
            assert!(patterns.matches(Path::new(yes)), "{yes}");
        }
        for no in ["plugins/a.c", "a.so", "ww", "sub/app.toml", ".git/index"] {
            assert!(!patterns.matches(Path::new(no)), "{no}");
        }
        assert!(patterns.reaches(Path::new("plugins/deep")));
        assert!(patterns.reaches(Path::new("")));
        assert!(!patterns.reaches(Path::new(".git")));
        for bad in ["/etc", "../x", "a/../../b", "a["] {
            assert!(Patterns::of(&service(&[bad])).is_err(), "{bad}");
        }
    }

    /// Runs a watcher while `change` does something to the tree; how often it told.
    fn told(
        name: &str,
        before: impl FnOnce(&Path),
        change: impl FnOnce(&Path, &mpsc::Receiver<()>),
    ) -> usize {
        let top =
            std::env::temp_dir().join(format!("rich-bundles-watch-{}-{name}", std::process::id()));
        fs::create_dir_all(&top).unwrap();
        before(&top);
        // Change times of what was there before are not later than the coarse clock.
        let before = file_clock();
        while file_clock() == before {
            thread::sleep(Duration::from_millis(1));
        }
        let service = service(&["plugins/**", "later/deep/*.txt"]);
        let mut watcher = Watcher::new(&top, std::iter::once(&service)).unwrap();
        let (stop, stopped) = rustix::pipe::pipe().unwrap();
        let (send, receive) = mpsc::channel();
        let running = thread::spawn(move || {
            let mut count = 0;
            let done = watcher.run(&stop, |_| {
                count += 1;
                let _ = send.send(());
                Ok(())
            });
            done.unwrap();
            count
        });
        change(&top, &receive);
        drop(stopped);
        let count = running.join().unwrap();
        fs::remove_dir_all(&top).unwrap();
        count
    }

    const BOUND: Duration = Duration::from_secs(60);

    #[test]
    fn many_changes_are_one() {
        let count = told(
            "many",
            |top| fs::create_dir_all(top.join("plugins/a")).unwrap(),
            |top, told| {
                for number in 0..50 {
                    fs::write(top.join(format!("plugins/a/{number}")), "x").unwrap();
                }
                told.recv_timeout(BOUND).unwrap();
            },
        );
        assert!(count <= 2, "{count}");
    }

    #[test]
    fn atomic_renames_and_late_directories() {
        told(
            "rename",
            |top| fs::create_dir_all(top.join("plugins")).unwrap(),
            |top, told| {
                fs::write(top.join("elsewhere"), "x").unwrap();
                fs::rename(top.join("elsewhere"), top.join("plugins/new")).unwrap();
                told.recv_timeout(BOUND).unwrap();
                fs::create_dir_all(top.join("later/deep")).unwrap();
                fs::write(top.join("later/deep/a.txt"), "x").unwrap();
                told.recv_timeout(BOUND).unwrap();
                fs::remove_file(top.join("later/deep/a.txt")).unwrap();
                told.recv_timeout(BOUND).unwrap();
            },
        );
    }

    #[test]
    fn what_changed_last_is_told_at_the_end() {
        let count = told(
            "last",
            |_| {},
            |top, _| {
                fs::create_dir_all(top.join("plugins")).unwrap();
                fs::write(top.join("plugins/x"), "x").unwrap();
            },
        );
        assert_eq!(count, 1);
    }

    #[test]
    fn other_files_are_nobodys() {
        let count = told(
            "others",
            |top| fs::create_dir_all(top.join("plugins/old")).unwrap(),
            |top, _| {
                fs::create_dir_all(top.join("src/.git")).unwrap();
                fs::write(top.join("src/main.c"), "x").unwrap();
            },
        );
        assert_eq!(count, 0);
    }
}
