//! What an image says about how it is run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The configuration document of an image, OCI's or Docker's, as far as it is used. The
/// oci-spec crate's type refuses the nulls that Docker writes for empty maps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `linux`, or the image is none of ours.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`... in Go's words.
    #[serde(default)]
    pub architecture: String,
    /// When it was made, in RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// How it is run.
    #[serde(default)]
    pub config: Option<Settings>,
    /// Its layers.
    #[serde(default)]
    pub rootfs: Layers,
}

/// The layers of an image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Layers {
    /// Digests of their uncompressed tar streams, the lowest first.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// How a container of the image is run unless the caller says otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Settings {
    /// `USER[:GROUP]`, names or numbers.
    #[serde(default)]
    pub user: Option<String>,
    /// `NAME=VALUE`.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// The program, before the command.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or the program's arguments.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// Where it starts.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// The signal that ends it.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// Directories with data of their own.
    #[serde(default)]
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    /// `PORT[/PROTOCOL]`.
    #[serde(default)]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// Labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// The search path where neither the image nor the caller has one.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl ImageConfig {
    /// How it is run; nothing set where it does not say.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.config.clone().unwrap_or_default()
    }
}

impl Settings {
    /// The command line: the image's program with `words`, or with its own command where
    /// there are none. An `entrypoint` of the caller's takes the image's command away.
    #[must_use]
    pub fn command(&self, entrypoint: Option<&[String]>, words: &[String]) -> Vec<String> {
        let own = self.entrypoint.as_deref().unwrap_or_default();
        let mut line = entrypoint.unwrap_or(own).to_vec();
        if words.is_empty() && entrypoint.is_none() {
            line.extend(self.cmd.iter().flatten().cloned());
        } else {
            line.extend_from_slice(words);
        }
        line
    }

    /// The environment: the image's, then `more`; the last of a name counts.
    #[must_use]
    pub fn environment(&self, more: &[String]) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let image = self.env.iter().flatten();
        for variable in std::iter::once(&PATH.to_owned()).chain(image).chain(more) {
            let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
            all.retain(|one| name(one) != name(variable));
            all.push(variable.clone());
        }
        all
    }

    /// Where it starts.
    #[must_use]
    pub fn directory(&self) -> &str {
        match self.working_dir.as_deref() {
            None | Some("") => "/",
            Some(directory) => directory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn dockers_nulls() {
        let text = r#"{"os":"linux","architecture":"amd64","config":{"Cmd":null,"Env":null,
            "Volumes":null,"ExposedPorts":null,"Labels":null,"OnBuild":null,"Image":"",
            "Healthcheck":{"Test":["CMD","x"]},"User":"","WorkingDir":""},
            "rootfs":{"type":"layers","diff_ids":[]},"history":null}"#;
        let settings = serde_json::from_str::<ImageConfig>(text).unwrap().settings();
        assert_eq!(settings.directory(), "/");
        assert_eq!(settings.environment(&[]), [PATH]);
        assert!(settings.command(None, &[]).is_empty());
    }

    #[test]
    fn commands() {
        let settings = Settings {
            entrypoint: Some(words("/entry -x")),
            cmd: Some(words("default")),
            env: Some(words("PATH=/bin A=1")),
            ..Settings::default()
        };
        assert_eq!(settings.command(None, &[]), words("/entry -x default"));
        assert_eq!(settings.command(None, &words("a b")), words("/entry -x a b"));
        assert_eq!(settings.command(Some(&words("/own")), &[]), words("/own"));
        assert_eq!(settings.environment(&words("A=2")), words("PATH=/bin A=2"));
    }
}
