//! Gathers what the ways of asking for a rich container say.

use std::ffi::OsStr;
use std::path::Path;

use crate::cli::LaunchArgs;
use crate::config::Config;
use crate::config::rich::{Request, RichConfig, holds_a_pod, without_engines_init};
use crate::config::trust::Origin;
use crate::error::Result;
use crate::log;

/// The program's second name: everything that is started by it is rich.
const RICH_NAME: &str = "richrun-rich";

/// What was asked for, resolved and checked; `None`: an ordinary container.
/// A rich one's payload stands without the init that an engine put before it.
///
/// # Errors
/// What any of the ways says is wrong, or they contradict each other.
pub fn asked(
    args: &LaunchArgs,
    config: &mut Config,
    settings: Request,
) -> Result<Option<RichConfig>> {
    let holder = config.spec.annotations().as_ref().is_some_and(holds_a_pod);
    // The strongest way overrules all others, whatever they say.
    if args.rich == Some(false) || (holder && args.rich.is_none()) {
        return Ok(None);
    }
    let process = config.spec.process().as_ref();
    let env = process.and_then(|process| process.env().as_deref()).unwrap_or_default();
    let command = process.and_then(|process| process.args().clone()).unwrap_or_default();
    let uid = process.map_or(0, |process| process.user().uid());
    let mut requests = vec![
        (Origin::CommandLine, of_command_line(args)),
        (Origin::Environment, Request::of_process(env)),
        (Origin::Runtime, of_runtime()?),
        (Origin::File, settings),
        (Origin::Name, of_name(std::env::args_os().next().as_deref())),
    ];
    if let Some(annotations) = config.spec.annotations() {
        let (request, unknown) = Request::of_annotations(annotations)?;
        unknown.iter().for_each(|name| log::warn(format!("ignoring unknown annotation {name}")));
        requests.push((Origin::Annotations, request));
    }
    let payload = without_engines_init(&command);
    let rich = RichConfig::resolve(requests, payload, uid)?;
    if let (Some(process), true) = (config.spec.process_mut(), rich.is_some()) {
        process.set_args(Some(payload.to_vec()));
    }
    Ok(rich)
}

fn of_command_line(args: &LaunchArgs) -> Request {
    Request {
        rich: args.rich,
        mode: args.rich_mode.clone(),
        initscript: args.initscript.clone(),
        initcmd: args.initcmd.clone(),
        services: args.services.is_some(),
        ..Request::default()
    }
}

/// An administrator may set Pouch's two variables for the runtime.
fn of_runtime() -> Result<Request> {
    let read = |name: &str| std::env::var(name).ok();
    Request::of_runtime(read("rich_mode").as_deref(), read("rich_mode_launch_manner").as_deref())
}

fn of_name(own: Option<&OsStr>) -> Request {
    let name = own.and_then(|own| Path::new(own).file_name());
    Request { rich: (name == Some(OsStr::new(RICH_NAME))).then_some(true), ..Request::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_name_makes_rich() {
        for (own, rich) in [
            ("/usr/local/bin/richrun-rich", Some(true)),
            ("richrun-rich", Some(true)),
            ("richrun", None),
            ("/richrun-rich/richrun", None),
        ] {
            assert_eq!(of_name(Some(OsStr::new(own))).rich, rich, "{own}");
        }
        assert_eq!(of_name(None).rich, None);
    }
}
