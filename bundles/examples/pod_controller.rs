//! The pod controller as a library, with a plugin of the caller's own: its containers are
//! plain processes, as in the pod controller's dummy plugin.
//!
//!     cargo run --example pod_controller -- FILE
//!
//! prints a line of JSON, the values of `healthy()` and `status()`, each time that something
//! has changed, until the pod is over; its exit status is the pod's.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rich_bundles::error::{At, Error, Result};
use rich_bundles::pod::controller::Controller;
use rich_bundles::pod::model::Pod;
use rich_bundles::pod::plugin::{Container, End, Plugin};
use rich_bundles::pod::read;

/// Only looks at the words, and does almost nothing with the rest.
struct Process {
    words: Vec<String>,
    child: Mutex<Option<Child>>,
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(128 + status.signal().unwrap_or(0))
}

impl Process {
    fn with<T>(&self, work: impl FnOnce(&mut Option<Child>) -> T) -> T {
        work(&mut self.child.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Container for Process {
    fn start(&self) -> Result<Option<i32>> {
        let (program, arguments) =
            self.words.split_first().ok_or_else(|| Error::usage("no command"))?;
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
        let child = child.at("run", program)?;
        let pid = i32::try_from(child.id()).ok();
        self.with(|place| *place = Some(child));
        Ok(pid)
    }

    fn wait(&self) -> End {
        loop {
            // Not held while it waits: `kill` has to get through.
            let status = self.with(|child| child.as_mut().map(Child::try_wait));
            match status {
                Some(Ok(None)) => std::thread::sleep(Duration::from_millis(20)),
                Some(Ok(Some(status))) => return End { status: code(status), reason: None },
                Some(Err(_)) | None => return End { status: 1, reason: Some("lost".into()) },
            }
        }
    }

    fn kill(&self, signal: &str) -> Result<()> {
        let signal = if signal.is_empty() { "TERM" } else { signal };
        let Some(pid) = self.with(|child| child.as_ref().map(Child::id)) else { return Ok(()) };
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
        sent.map(drop).at("signal", pid)
    }

    fn exec(&self, words: &[String], limit: Duration) -> Result<i32> {
        let (program, arguments) = words.split_first().ok_or_else(|| Error::usage("no command"))?;
        let mut child = Command::new(program).args(arguments).spawn().at("run", program)?;
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = child.try_wait().at("wait for", program)? {
                return Ok(code(status));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(Error::system("no answer in time"))
    }
}

struct Processes;

impl Plugin for Processes {
    fn container(&self, pod: &Pod, place: usize) -> Result<Arc<dyn Container>> {
        let one = &pod.containers[place];
        let of_spec = one.spec.as_ref().and_then(|spec| spec.pointer("/process/args")?.as_array());
        let of_spec = of_spec.into_iter().flatten().filter_map(|word| word.as_str());
        let words = of_spec.map(str::to_owned).chain(one.command.clone()).chain(one.args.clone());
        Ok(Arc::new(Process { words: words.collect(), child: Mutex::new(None) }))
    }
}

fn run(file: &str) -> Result<u8> {
    let text = std::fs::read_to_string(file).at("read", file)?;
    let mut read = read::pods(file, &text, "pod").map_err(Error::usage)?;
    let controller = Controller::start(read.pods.remove(0), Arc::new(Processes))?;
    let mut seen = 0;
    loop {
        let (number, status) = controller.next_status(seen, Duration::from_secs(3600));
        println!("{}", serde_json::json!({ "healthy": controller.healthy(), "status": status }));
        if status.over {
            return Ok(u8::try_from(status.exit_status.unwrap_or(0)).unwrap_or(255));
        }
        seen = number;
    }
}

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("pod_controller FILE");
        return ExitCode::from(2);
    };
    match run(&file) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("pod_controller: {error}");
            ExitCode::from(125)
        }
    }
}
