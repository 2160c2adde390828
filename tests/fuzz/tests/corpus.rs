//! The targets over their corpora, over seeded mutations of these, and over documents
//! that grow.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use richrun_fuzz::growth::{GROWTHS, Growth};
use richrun_fuzz::mutate::{Dice, mutated};
use richrun_fuzz::{TARGETS, Target, run};
use rustix::time::{ClockId, clock_gettime};

/// Mutations of each target; `FUZZ_ROUNDS` asks for more.
const ROUNDS: usize = 3000;
/// The longest mutation, in bytes.
const LONGEST: usize = 4096;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let each = TARGETS.iter().flat_map(|target| {
        [
            Trial::test(format!("corpus::{}", target.name), || corpus(target)),
            Trial::test(format!("mutations::{}", target.name), || mutations(target)),
        ]
    });
    let growths = GROWTHS.iter().map(|growth| {
        Trial::test(format!("time::{}::{}", growth.target, growth.name), || in_proportion(growth))
    });
    libtest_mimic::run(&arguments, each.chain(growths).collect()).exit_code()
}

/// The files of a corpus, in the order of their names.
fn files(target: &Target) -> Result<Vec<Vec<u8>>, Failed> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut paths: Vec<_> =
        entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{}: empty", dir.display()).into());
    }
    Ok(paths.into_iter().map(std::fs::read).collect::<Result<_, _>>()?)
}

fn corpus(target: &Target) -> Result<(), Failed> {
    files(target)?.iter().for_each(|bytes| (target.run)(bytes));
    Ok(())
}

fn mutations(target: &Target) -> Result<(), Failed> {
    let seeds = files(target)?;
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    let mut dice = Dice::new(target.name.bytes().map(u64::from).sum());
    // A panic ends the whole program where panics abort: the input is said before.
    let told = std::panic::take_hook();
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let bytes = &seeds[dice.roll(seeds.len())];
        let other = &seeds[dice.roll(seeds.len())];
        let input = mutated(bytes, other, LONGEST, &mut dice);
        let shown = format!("{} round {round}: {}", target.name, input.escape_ascii());
        std::panic::set_hook(Box::new(move |panic| eprintln!("{panic}\n{shown}")));
        (target.run)(&input);
    }
    std::panic::set_hook(told);
    Ok(())
}

/// A document eight times as long takes some eight times as long to read; one that is
/// read in quadratic time takes sixty-four. It is the time of this thread that counts, so
/// that what else the machine does does not.
fn in_proportion(growth: &Growth) -> Result<(), Failed> {
    // Long enough that what does not grow counts for little.
    let mut count = growth.least;
    while time_of(growth, count) < Duration::from_millis(2) && count < 25_000 {
        count *= 2;
    }
    // The best of a few: caches and the processor's speed only ever add.
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..6 {
        best.0 = best.0.min(time_of(growth, count));
        best.1 = best.1.min(time_of(growth, count * 8));
        if best.1 < best.0 * 24 + Duration::from_millis(5) {
            return Ok(());
        }
    }
    Err(format!("{count} entries: {:?}, {} entries: {:?}", best.0, count * 8, best.1).into())
}

fn time_of(growth: &Growth, count: usize) -> Duration {
    let bytes = (growth.make)(count);
    let began = thread_time();
    run(growth.target, &bytes);
    thread_time().saturating_sub(began)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
