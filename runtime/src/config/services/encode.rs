//! The compact form that PID 1 gets: the plan of [`rich_init::services::wire`].

use std::net::{IpAddr, SocketAddr};

use rich_init::services::wire::{
    self, Field, HEADER_WORDS, Head, MAGIC, MAX_PLAN, PROBE_WORDS, ProbeField, RECORD_WORDS, UNSET,
};

use super::Services;
use super::graph::Relations;
use super::probes::{Action, Probe};
use super::service::Service;
use crate::error::{Error, Result};

/// What only the launch knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// The user who makes the container, as seen in it.
    pub owner: u32,
    /// The host's superuser, as seen in it.
    pub root: u32,
    /// Descriptors from 3 on that belong to the payload.
    pub descriptors: u32,
}

/// Words, then blobs.
struct Plan {
    words: Vec<u32>,
    blobs: Vec<u8>,
}

impl Plan {
    /// Adds a blob; its offset. Nothing is 0.
    fn blob(&mut self, bytes: &[u8]) -> u32 {
        if bytes.is_empty() {
            return 0;
        }
        let offset = self.words.len() * 4 + self.blobs.len();
        self.blobs.extend((bytes.len() as u32).to_le_bytes());
        self.blobs.extend(bytes);
        // The next one is aligned.
        self.blobs.resize(self.blobs.len().next_multiple_of(4), 0);
        offset as u32
    }

    fn text(&mut self, text: &str) -> u32 {
        if text.is_empty() { 0 } else { self.blob(&[text.as_bytes(), b"\0"].concat()) }
    }

    fn list(&mut self, list: &[String]) -> u32 {
        let bytes: Vec<u8> = list.iter().flat_map(|text| text.bytes().chain([0])).collect();
        self.blob(&bytes)
    }

    fn finish(self) -> Vec<u8> {
        let words = self.words.iter().flat_map(|word| word.to_le_bytes());
        words.chain(self.blobs).collect()
    }
}

/// Makes the plan.
///
/// # Errors
/// It is larger than PID 1 has room for.
pub fn encode(services: &Services, around: Surroundings) -> Result<Vec<u8>> {
    let count = services.all.len();
    let words = vec![0; HEADER_WORDS + count * RECORD_WORDS];
    let mut plan = Plan { words, blobs: Vec::new() };
    let head = [
        (Head::Magic, MAGIC),
        (Head::Count, count as u32),
        (Head::Main, services.main as u32),
        (Head::Grace, services.grace.unwrap_or(UNSET)),
        (Head::Shutdown, services.shutdown.unwrap_or(UNSET)),
        (Head::Owner, around.owner),
        (Head::Root, around.root),
        (Head::Descriptors, around.descriptors),
    ];
    for (at, word) in head {
        plan.words[at as usize] = word;
    }
    for (i, (service, relations)) in services.all.iter().zip(&services.relations).enumerate() {
        let start = HEADER_WORDS + i * RECORD_WORDS;
        for (field, word) in record(&mut plan, service, relations) {
            plan.words[start + field as usize] = word;
        }
        for status in &service.success {
            let word = start + Field::Expected as usize + usize::from(status / 32);
            plan.words[word] |= 1 << (status % 32);
        }
        for (number, probe) in service.probes.iter().enumerate() {
            let Some(probe) = probe else { continue };
            let start = start + Field::Words as usize + number * PROBE_WORDS;
            for (field, word) in probe_record(&mut plan, probe) {
                plan.words[start + field as usize] = word;
            }
        }
        // The upper halves stand behind the lower ones.
        for (field, set) in [
            (Field::NeedsHigh, relations.needs),
            (Field::WantsHigh, relations.wants),
            (Field::AfterHigh, relations.after),
        ] {
            plan.words[start + field as usize] = (set >> 32) as u32;
        }
    }
    let bytes = plan.finish();
    match bytes.len() < MAX_PLAN {
        true => Ok(bytes),
        false => Err(Error::config(format!("services: larger than {} KiB", MAX_PLAN / 1024))),
    }
}

fn record(plan: &mut Plan, service: &Service, relations: &Relations) -> Vec<(Field, u32)> {
    let flag = |is: bool, flag: u32| if is { flag } else { 0 };
    let [delay, max_delay, reset] = service.restart_times.map(|time| time.unwrap_or(UNSET));
    let (uid, gid, groups) = match &service.user {
        Some((uid, gid, groups)) => (*uid, *gid, groups.as_slice()),
        None => (UNSET, UNSET, &[][..]),
    };
    let groups: Vec<u8> = groups.iter().flat_map(|gid| gid.to_le_bytes()).collect();
    let limits: Vec<u8> = service
        .limits
        .iter()
        .flat_map(|(number, soft, hard)| [u64::from(*number), *soft, *hard])
        .flat_map(u64::to_le_bytes)
        .collect();
    vec![
        (Field::Name, plan.text(&service.name)),
        (Field::Command, plan.list(service.command.as_deref().unwrap_or_default())),
        (Field::Env, plan.list(&service.env)),
        (Field::Cwd, plan.text(service.cwd.as_deref().unwrap_or_default())),
        (Field::User, uid),
        (Field::Group, gid),
        (Field::Groups, plan.blob(&groups)),
        (Field::Umask, service.umask.unwrap_or(UNSET)),
        (Field::Limits, plan.blob(&limits)),
        (Field::Log, service.log),
        (Field::LogPath, plan.text(service.log_path.as_deref().unwrap_or_default())),
        (Field::LogSize, service.log_size),
        (
            Field::Flags,
            flag(service.oneshot, wire::FLAG_ONESHOT)
                | flag(service.essential, wire::FLAG_ESSENTIAL),
        ),
        (Field::Start, service.start),
        (Field::Needs, relations.needs as u32),
        (Field::Wants, relations.wants as u32),
        (Field::After, relations.after as u32),
        (Field::Restart, service.restart),
        (Field::Delay, delay),
        (Field::MaxDelay, max_delay),
        (Field::Tries, service.tries),
        (Field::Reset, reset),
        (Field::Ready, service.ready.0),
        (Field::ReadyFd, service.ready.1),
        (Field::StartTimeout, service.start_timeout.unwrap_or(UNSET)),
        (Field::StopSignal, u32::from(service.stop_signal)),
        (Field::StopTimeout, service.stop_timeout.unwrap_or(UNSET)),
        (Field::Finish, plan.list(&service.finish)),
        (Field::FinishTimeout, service.finish_timeout.unwrap_or(UNSET)),
        (Field::Reload, plan.list(&service.reload)),
        (Field::ReloadSignal, u32::from(service.reload_signal)),
        (Field::Ports, plan.text(&service.ports)),
        (Field::Watch, plan.list(&service.watch)),
        (Field::WatchDelay, service.watch_delay),
    ]
}

fn probe_record(plan: &mut Plan, probe: &Probe) -> Vec<(ProbeField, u32)> {
    let mut words = match &probe.action {
        Action::Exec(command) => {
            vec![(ProbeField::Kind, wire::PROBE_EXEC), (ProbeField::Command, plan.list(command))]
        }
        Action::Tcp(host, port) => vec![
            (ProbeField::Kind, wire::PROBE_TCP),
            (ProbeField::Address, plan.blob(&address(*host, *port))),
        ],
        Action::Http(host, port, request) => vec![
            (ProbeField::Kind, wire::PROBE_HTTP),
            (ProbeField::Address, plan.blob(&address(*host, *port))),
            (ProbeField::Request, plan.text(request)),
        ],
    };
    let times = [ProbeField::InitialDelay, ProbeField::Period, ProbeField::Timeout];
    words.extend(times.into_iter().zip(probe.seconds.map(|seconds| seconds * 1000)));
    words.extend([ProbeField::Success, ProbeField::Failure].into_iter().zip(probe.thresholds));
    words.push((ProbeField::Grace, probe.grace_seconds * 1000));
    words
}

/// struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)).
fn address(host: IpAddr, port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    match SocketAddr::new(host, 0).ip() {
        IpAddr::V4(ip) => [&2_u16.to_le_bytes()[..], &port, &ip.octets(), &[0; 8]].concat(),
        IpAddr::V6(ip) => {
            [&10_u16.to_le_bytes()[..], &port, &[0; 4], &ip.octets(), &[0; 4]].concat()
        }
    }
}
