//! `events`: what happens to a container's services, a line of JSON each.

use rich_init::services::control::Op;
use serde::Serialize;

use super::output::{line, print};
use super::service::{Document, health_word};
use crate::cli::{EventsArgs, Global};
use crate::error::Result;
use crate::life::Store;
use crate::life::services::{Answer, Control};

/// One event, in the envelope that `events` of other runtimes has too.
#[derive(Debug, Serialize)]
struct Event<'a, T: Serialize> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    data: T,
}

#[derive(Debug, Serialize)]
struct Health {
    health: &'static str,
}

/// Prints every service as it is, then each change and each change of the health of the
/// whole, until the container ends.
pub fn run(global: &Global, args: &EventsArgs) -> Result<u8> {
    let control = Control::connect(&Store::new(global.root()), &args.id)?;
    control.ask(Op::Events, 0, &[], true)?;
    let mut last = None;
    loop {
        let told = match control.answer()? {
            Answer::Service(told) => told,
            Answer::Gone => return Ok(0),
            other => return Err(control.failure(other)),
        };
        let health = health_word(told.health);
        tell(&args.id, "service", Document::from(told))?;
        if last.replace(health) != Some(health) {
            tell(&args.id, "health", Health { health })?;
        }
    }
}

fn tell(id: &str, kind: &'static str, data: impl Serialize) -> Result<()> {
    let text = line(&[Event { kind, id, data }])?;
    print(&format!("{}\n", text.trim().trim_start_matches('[').trim_end_matches(']')))
}
