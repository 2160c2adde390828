//! Reading what a container uses.

use super::{Cgroup, file};
use crate::plan::cgroup::Mode;
use crate::plan::stats::{self, Stats};

/// Where the kernel names its sizes of huge pages.
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";

impl Cgroup {
    /// What the container's groups say now; what a file does not say is left out.
    pub fn stats(&self) -> Stats {
        let read = |name: &str| {
            let controller = name.split('.').next().unwrap_or(name);
            let group = match self.mode {
                Mode::V2 => self.unified.as_ref(),
                _ => self.with(controller).or(self.unified.as_ref()),
            };
            file::get(&group?.dir, name).ok()
        };
        let directory = std::fs::read_dir(HUGE_PAGES).into_iter().flatten().flatten();
        let pages: Vec<String> =
            directory.filter_map(|entry| stats::page_name(entry.file_name().to_str()?)).collect();
        match self.mode {
            Mode::V2 => stats::v2(&read, &pages),
            Mode::V1 | Mode::Hybrid | Mode::None => {
                let mut all = stats::v1(&read, &pages);
                // A hybrid host has some in the unified hierarchy.
                let unified = stats::v2(&read, &pages);
                let there = |group: &super::Group| group.place.controllers.is_empty();
                if all.hugetlb.is_empty() && self.unified.as_ref().is_some_and(there) {
                    all.hugetlb = unified.hugetlb;
                }
                all.cpu.psi = unified.cpu.psi;
                all.memory.psi = unified.memory.psi;
                all.blkio.psi = unified.blkio.psi;
                all
            }
        }
    }
}
