//! Examples of helps, manual pages and documents, to be run as they stand.

use crate::command::{Cmd, Output, wait_until};
use crate::terminal::pair;

/// The commands of a text of examples: a note stands after two blanks, or in a line of its own.
pub fn commands(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let line = if goes_on { line.trim() } else { line.strip_prefix("  ").unwrap_or(line) };
        if line.is_empty() || line.starts_with(' ') {
            continue;
        }
        let command = line.split("  ").next().unwrap_or_default().trim_end();
        let (command, more) = match command.strip_suffix('\\') {
            Some(command) => (command, true),
            None => (command, false),
        };
        match found.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(command),
            None => found.push(command.to_owned()),
        }
        goes_on = more;
    }
    found
}

/// Runs a command on a terminal, whose shells are left with `exit`, one after the other.
pub fn left_by_exit(command: Cmd<'_>) -> Output {
    let (mut terminal, slave) = pair(24, 80);
    let error = slave.try_clone().expect("a second descriptor");
    let input = slave.try_clone().expect("a third descriptor");
    let command = command.stdio(0, input).stdio(1, slave).stdio(2, error);
    let running = command.with_terminal().spawn();
    wait_until("the end", || {
        terminal.look();
        // Typed again where it was lost between one program and the next; one too many ends
        // the next shell, which is to be left as well.
        let line = terminal.seen().rsplit('\n').next().unwrap_or_default();
        if ["# ", "$ "].iter().any(|prompt| line.contains(prompt)) && !line.contains("exit") {
            terminal.send("exit\n");
        }
        !running.alive()
    });
    let mut out = running.wait();
    out.err.push_str(terminal.seen());
    out
}
