//! Asking for a rich container: the options and what they resolve to.

use crate::error::{Error, Kind, Result};

/// Which init a rich container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RichMode {
    /// The built-in init in front of the payload.
    DumbInit,
}

/// The modes by the names that `--rich-mode` takes; the first is the default.
pub const MODES: &[(&str, RichMode)] = &[("dumb-init", RichMode::DumbInit)];

/// A rich container as it was asked for and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RichConfig {
    /// Which init.
    pub mode: RichMode,
}

impl RichConfig {
    /// Resolves `--rich` and `--rich-mode`.
    ///
    /// # Errors
    /// In Pouch's words: a mode without `--rich`, or one that is not known.
    pub fn resolve(rich: bool, mode: Option<&str>) -> Result<Option<RichConfig>> {
        match (rich, mode) {
            (false, None) => Ok(None),
            (false, Some(_)) => Err(Error::new(
                Kind::Usage,
                "must first enable rich mode, then specify a rich mode type",
            )),
            (true, mode) => {
                let name = mode.unwrap_or(MODES[0].0);
                let known = MODES.iter().find(|row| row.0 == name);
                let unknown = || format!("not supported rich mode: {name}");
                let row = known.ok_or_else(|| Error::new(Kind::Usage, unknown()))?;
                Ok(Some(RichConfig { mode: row.1 }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_resolve_with_pouchs_words() {
        assert_eq!(RichConfig::resolve(false, None).unwrap(), None);
        let dumb_init = Some(RichConfig { mode: RichMode::DumbInit });
        assert_eq!(RichConfig::resolve(true, None).unwrap(), dumb_init);
        assert_eq!(RichConfig::resolve(true, Some("dumb-init")).unwrap(), dumb_init);
        let error = RichConfig::resolve(false, Some("dumb-init")).unwrap_err();
        assert_eq!(error.to_string(), "must first enable rich mode, then specify a rich mode type");
        let error = RichConfig::resolve(true, Some("upstart")).unwrap_err();
        assert_eq!(error.to_string(), "not supported rich mode: upstart");
    }
}
