//! The command lines of tini, dumb-init and catatonit, for being started under their names.

use crate::dialect::Dialect;
use crate::options::{
    Options, Request, Session, Target, Words, Wrong, exit_status, own_option, rewrite,
};
use crate::signals::{self, SignalSet};

/// What the three have in common: they end with the payload and wait for nobody.
fn common_options(dialect: Dialect) -> Options {
    let mut options = Options::new();
    options.dialect = dialect;
    options.linger = 0;
    options.grace = 0;
    // catatonit makes itself one; tini does so when asked.
    options.subreaper = dialect == Dialect::Catatonit;
    options.rewrite[usize::from(signals::CHLD)] = 0;
    options
}

/// Calls `each` for the letters of grouped short options, as getopt(3) does: the letter,
/// the rest of the word and the next word. Long options go to rich-init's own reader. The
/// index of the first argument that is no option.
fn short_options<'a>(
    words: &'a dyn Words,
    options: &mut Options,
    mut each: impl FnMut(&mut Options, u8, Value<'a>) -> Result<Took, Wrong<'a>>,
) -> Result<usize, Wrong<'a>> {
    let mut i = 1;
    while let Some(word) = words.word(i) {
        match word {
            b"--" => return Ok(i + 1),
            b"--single-child" if options.dialect == Dialect::DumbInit => single_child(options),
            b"--pause" if options.dialect == Dialect::Catatonit => options.pause = true,
            [b'-', b'-', ..] => i += own_option(options, word, words.word(i + 1))?,
            [b'-', letters @ ..] if !letters.is_empty() => {
                for (at, letter) in letters.iter().enumerate() {
                    let rest = &letters[at + 1..];
                    let value = Value { word, rest, next: words.word(i + 1) };
                    if each(options, *letter, value)? == Took::Value {
                        i += usize::from(rest.is_empty());
                        break;
                    }
                }
            }
            _ => return Ok(i),
        }
        i += 1;
    }
    Ok(i)
}

/// Whether a letter took a value.
#[derive(PartialEq, Eq)]
enum Took {
    Nothing,
    Value,
}

/// Where a letter's value would be.
struct Value<'a> {
    word: &'a [u8],
    rest: &'a [u8],
    next: Option<&'a [u8]>,
}

impl<'a> Value<'a> {
    fn get(&self) -> Result<&'a [u8], Wrong<'a>> {
        match (self.rest, self.next) {
            ([], None) => Err(("an argument is missing after", self.word)),
            ([], Some(next)) => Ok(next),
            (rest, _) => Ok(rest),
        }
    }
}

fn with_command<'a>(
    words: &dyn Words,
    mut options: Options,
    command: usize,
) -> Result<Request, Wrong<'a>> {
    options.command = command;
    match words.word(command) {
        None if !options.pause => Err(("no command given", b"")),
        _ => Ok(Request::Run(options.finish())),
    }
}

fn is_word(words: &dyn Words, wanted: &[&[u8]]) -> bool {
    let mut i = 1;
    while let Some(word) = words.word(i) {
        if wanted.contains(&word) {
            return true;
        }
        if word == b"--" || !word.starts_with(b"-") {
            return false;
        }
        i += 1;
    }
    false
}

/// tini: `-p SIG -v -w -g -e N -s -h -l --version`, and its three variables.
pub(crate) fn read_tini(words: &dyn Words) -> Result<Request, Wrong<'_>> {
    if words.word(2).is_none() && words.word(1) == Some(b"--version") {
        return Ok(Request::Print(TINI_VERSION));
    }
    if is_word(words, &[b"-h"]) {
        return Ok(Request::Print(TINI_HELP));
    }
    if is_word(words, &[b"-l"]) {
        return Ok(Request::Print(LICENSE));
    }
    let mut options = common_options(Dialect::Tini);
    options.session = Session::Group;
    options.target = Target::Child;
    options.stops_itself = false;
    options.verbosity = 1;
    options.uncaught = SignalSet::FAULTS;
    options.exec_failure = (127, 126);
    for signal in [signals::TTIN, signals::TTOU] {
        options.rewrite[usize::from(signal)] = 0;
    }
    options.subreaper = words.variable(b"TINI_SUBREAPER").is_some();
    if words.variable(b"TINI_KILL_PROCESS_GROUP").is_some() {
        options.target = Target::Group;
    }
    if let Some(level) = words.variable(b"TINI_VERBOSITY").and_then(exit_status) {
        options.verbosity = level;
    }
    let command = short_options(words, &mut options, |options, letter, value| {
        match letter {
            b's' => options.subreaper = true,
            b'g' => options.target = Target::Group,
            b'v' => options.verbosity += 1,
            b'w' => {}
            b'p' => {
                let name = value.get()?;
                let signal = if name.starts_with(b"SIG") { signals::parse(name) } else { None };
                options.parent_death_signal = signal.ok_or(("not a valid option for -p", name))?;
                return Ok(Took::Value);
            }
            b'e' => {
                let code = value.get()?;
                let from = exit_status(code).ok_or(("not a valid option for -e", code))?;
                options.exit_map[usize::from(from)] = 0;
                return Ok(Took::Value);
            }
            _ => return Err(("unknown option", value.word)),
        }
        Ok(Took::Nothing)
    })?;
    with_command(words, options, command)
}

/// dumb-init: `-c -r s:r -v -h -V` and the long forms, and its two variables.
pub(crate) fn read_dumb_init(words: &dyn Words) -> Result<Request, Wrong<'_>> {
    if is_word(words, &[b"-h", b"--help"]) {
        return Ok(Request::Print(DUMB_INIT_HELP));
    }
    if is_word(words, &[b"-V", b"--version"]) {
        return Ok(Request::Print(DUMB_INIT_VERSION));
    }
    let mut options = common_options(Dialect::DumbInit);
    options.last_term = true;
    options.exec_failure = (2, 2);
    if words.variable(b"DUMB_INIT_DEBUG") == Some(b"1") {
        options.verbosity = 2;
    }
    if words.variable(b"DUMB_INIT_SETSID") == Some(b"0") {
        single_child(&mut options);
    }
    let command = short_options(words, &mut options, |options, letter, value| {
        match letter {
            b'c' => single_child(options),
            b'v' => options.verbosity = 2,
            b'r' => {
                let pair = value.get()?;
                rewrite(options, pair).ok_or(("not a valid rewrite", pair))?;
                return Ok(Took::Value);
            }
            _ => return Err(("unknown option", value.word)),
        }
        Ok(Took::Nothing)
    })?;
    with_command(words, options, command)
}

fn single_child(options: &mut Options) {
    options.session = Session::Keep;
    options.target = Target::Child;
}

/// catatonit: `-g -h -L -P -V`, and CATATONIT_DEBUG.
pub(crate) fn read_catatonit(words: &dyn Words) -> Result<Request, Wrong<'_>> {
    if is_word(words, &[b"-h", b"--help"]) {
        return Ok(Request::Print(CATATONIT_HELP));
    }
    if is_word(words, &[b"-V", b"--version"]) {
        return Ok(Request::Print(CATATONIT_VERSION));
    }
    if is_word(words, &[b"-L", b"--license"]) {
        return Ok(Request::Print(LICENSE));
    }
    let mut options = common_options(Dialect::Catatonit);
    options.session = Session::Group;
    options.target = Target::Child;
    options.stops_itself = false;
    options.uncaught = SignalSet::FAULTS;
    options.exec_failure = (1, 1);
    for signal in [signals::TSTP, signals::TTIN, signals::TTOU] {
        options.rewrite[usize::from(signal)] = 0;
    }
    if words.variable(b"CATATONIT_DEBUG").is_some() {
        options.verbosity = 2;
    }
    let command = short_options(words, &mut options, |options, letter, value| {
        match letter {
            b'g' => options.target = Target::Group,
            b'P' => options.pause = true,
            _ => return Err(("unknown option", value.word)),
        }
        Ok(Took::Nothing)
    })?;
    with_command(words, options, command)
}

const TINI_VERSION: &str =
    concat!("tini version 0.19.0 (rich-init ", env!("CARGO_PKG_VERSION"), ")\n");
const DUMB_INIT_VERSION: &str =
    concat!("dumb-init v1.2.5 (rich-init ", env!("CARGO_PKG_VERSION"), ")\n");
/// It calls itself tini: Docker looks for that in its init's answer.
const CATATONIT_VERSION: &str =
    concat!("tini version 0.1.7_catatonit (rich-init ", env!("CARGO_PKG_VERSION"), ")\n");
const LICENSE: &str = "rich-init is free software under the Apache License, version 2.0.\n";
const TINI_HELP: &str = "\
Usage: tini [-p SIGNAL] [-e CODE]... [-svwg] [--] command [argument...]

  -p SIGNAL  get SIGNAL (SIGTERM, ...) when the parent dies
  -e CODE    exit with 0 when the command exits with CODE
  -s         adopt orphans when not PID 1 (TINI_SUBREAPER)
  -g         forward signals to the command's process group (TINI_KILL_PROCESS_GROUP)
  -v         say more (TINI_VERBOSITY=0..3)
  -w         accepted
  -h, -l, --version

This is rich-init; its own long options are understood as well.
";
const DUMB_INIT_HELP: &str = "\
Usage: dumb-init [option...] command [argument...]

  -c, --single-child  no session of its own; signals to the command alone
                      (DUMB_INIT_SETSID=0)
  -r, --rewrite S:R   forward signal S as R, 0 drops it; names and real-time ones too
  -v, --verbose       say what is done (DUMB_INIT_DEBUG=1)
  -h, --help  -V, --version

This is rich-init; its own long options are understood as well.
";
const CATATONIT_HELP: &str = "\
Usage: catatonit [-ghLPV] [--] command [argument...]

  -g  forward signals to the command's process group
  -P  no command: only reap, until a stop request comes
  -h, -L, -V

This is rich-init; its own long options are understood as well.
";
