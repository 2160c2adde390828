//! From the command line to what is asked for: rich-init's own, or that of the program
//! under whose name it was started.

use crate::dialect::Dialect;
use crate::drop_in;
use crate::options::{OWN_FAILURE, Options, Request, Words, Wrong, own_option};

/// A command line that cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake<'a> {
    /// Whose command line it is.
    pub dialect: Dialect,
    /// What is wrong.
    pub what: &'static str,
    /// The argument concerned.
    pub word: &'a [u8],
}

impl Mistake<'_> {
    /// The exit status that tells of it.
    pub fn status(&self) -> u8 {
        if self.dialect == Dialect::Rich { OWN_FAILURE } else { 1 }
    }
}

/// Reads the command line, in the dialect that the program's name asks for.
pub fn read(words: &dyn Words) -> Result<Request, Mistake<'_>> {
    let dialect = Dialect::of(words.word(0).unwrap_or_default());
    let request = match dialect {
        Dialect::Rich => read_own(words),
        Dialect::Tini => drop_in::read_tini(words),
        Dialect::DumbInit => drop_in::read_dumb_init(words),
        Dialect::Catatonit => drop_in::read_catatonit(words),
    };
    request.map_err(|(what, word)| Mistake { dialect, what, word })
}

fn read_own(words: &dyn Words) -> Result<Request, Wrong<'_>> {
    let mut options = Options::new();
    let mut i = 1;
    while let Some(word) = words.word(i) {
        i += 1;
        match word {
            b"--" => break,
            b"-h" | b"--help" => return Ok(Request::Print(HELP)),
            b"-V" | b"--version" => return Ok(Request::Print(VERSION)),
            _ if word.starts_with(b"--") => i += own_option(&mut options, word, words.word(i))?,
            _ if word.starts_with(b"-") => return Err(("unknown option", word)),
            _ => {
                i -= 1;
                break;
            }
        }
    }
    options.command = i;
    match words.word(i) {
        Some(_) => Ok(Request::Run(options.finish())),
        None => Err(("no command given", b"")),
    }
}

/// What `--version` prints.
pub const VERSION: &str = concat!("rich-init version ", env!("CARGO_PKG_VERSION"), "\n");

/// What `--help` prints.
pub const HELP: &str = "\
Usage: rich-init [option...] [--] command [argument...]

Runs a command as a container's main process, as PID 1 should: forwards signals, reaps
orphans, lets descendants finish when the command has ended, and exits as it did.

  --forward-to child|group|all  who gets forwarded signals: the command, its process
                                group, or every descendant (default: group)
  --session new|group|keep      the command's own session with the terminal, its own
                                group in the foreground, or neither (default: new)
  --rewrite FROM:TO[,...]       forward FROM as TO; by name (TERM, RTMIN+3) or number;
                                TO 0 drops it
  --exit-map FROM:TO[,...]      exit with TO when the command exits with FROM
  --linger TIME                 descendants may go on undisturbed for TIME after the
                                command has ended (default: 2s; none after a stop request)
  --grace TIME                  then they get TERM, and after TIME they are killed
                                (default: 5s)
  --stop-timeout TIME           kill the command when it lives TIME after a forwarded
                                TERM, INT or QUIT (default: forever)
  --delay-term TIME             hold TERM back for TIME; a second one goes at once
  --parent-death-signal SIGNAL  get SIGNAL when the parent dies
  --record FD                   write the command's wait status (wait(2)) to this
                                descriptor when it has ended
  --no-subreaper                when not PID 1, do not adopt orphans
  --verbose                     say what is done, on standard error
  -h, --help    -V, --version

TIME is seconds, or a number with ms, s, m or h, or forever.
Exit status: the command's; 128+n when signal n ended it; 127 not found; 126 not
executable; 125 when rich-init itself fails.
Called tini, docker-init, dumb-init, catatonit, podman-init or init, it understands the
options of those programs (catatonit's for the last two), and the long ones above.
";
