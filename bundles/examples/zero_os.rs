//! 0-OS's container module in three verbs: run, inspect, delete, by tenant.
//!
//!     cargo run -p rich-bundles --example zero_os -- ROOT NS NAME ROOTFS WORD...
//!
//! runs the words in a container, prints what inspect says, waits for the end, and deletes it.

use std::path::Path;

use rich_bundles::container::{Containers, LogRequest, Request};
use rich_bundles::spec::{Bind, Options};
use rich_bundles::store::{Found, Network, Record};
use rich_bundles::{Error, Result};

/// What the module's callers say of a network: a namespace that is there.
struct NetworkInfo {
    namespace: Option<String>,
}

/// The module.
struct ContainerModule<'a> {
    root: &'a Path,
}

impl ContainerModule<'_> {
    fn of(&self, tenant: &str) -> Result<Containers> {
        Containers::open(Some(self.root), tenant, None)
    }

    /// Creates and starts a container: its id.
    #[expect(clippy::too_many_arguments, reason = "the module's own interface")]
    fn run(
        &self,
        ns: &str,
        name: &str,
        flist: &str,
        tags: &[&str],
        env: &[String],
        network: &NetworkInfo,
        mounts: Vec<Bind>,
        entrypoint: &[String],
    ) -> Result<String> {
        let labels = tags.iter().map(|tag| ((*tag).to_owned(), String::new())).collect();
        let network = network.namespace.as_ref().map(|path| Network::Path(path.into()));
        let request = Request {
            source: flist.to_owned(),
            command: entrypoint.to_vec(),
            name: Some(name.to_owned()),
            labels,
            network,
            options: Options { env: env.to_vec(), mounts, ..Options::default() },
            log: LogRequest { dir: Some(self.root.join("log")), ..LogRequest::default() },
            ..Request::default()
        };
        Ok(self.of(ns)?.run(&request)?.id)
    }

    /// What is known of a container.
    fn inspect(&self, ns: &str, id: &str) -> Result<Found> {
        let containers = self.of(ns)?;
        let record: Record = containers.find(id)?;
        let life = containers.look(&record)?;
        Ok(Found { record, life })
    }

    /// Ends and forgets a container.
    fn delete(&self, ns: &str, id: &str) -> Result<()> {
        let containers = self.of(ns)?;
        containers.remove(&containers.find(id)?, true)
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [root, ns, name, flist, entrypoint @ ..] = &words[..] else {
        return Err(Error::usage("usage: zero_os ROOT NS NAME ROOTFS WORD..."));
    };
    let module = ContainerModule { root: Path::new(root) };
    let network = NetworkInfo { namespace: None };
    let env = ["MODULE=container".to_owned()];
    let id = module.run(ns, name, flist, &["example"], &env, &network, Vec::new(), entrypoint)?;
    let found = module.inspect(ns, &id)?;
    println!("{} {} {:?}", found.record.name, found.life.phase.name(), found.record.labels);
    let exit = module.of(ns)?.wait(&found.record)?;
    println!("exit code {}", exit.code.map_or("unknown".to_owned(), |code| code.to_string()));
    module.delete(ns, &id)
}
