//! When a container is started again.

use super::super::Object;
use crate::pod::model::Restart;

/// `restartPolicy`, Always by default.
pub(super) fn restart(object: &mut Object<'_>, path: &str, text: Option<&str>) -> Restart {
    match text {
        None | Some("Always") => Restart::Always,
        Some("OnFailure") => Restart::OnFailure,
        Some("Never") => Restart::Never,
        Some(other) => {
            object.error(path, format!("{other:?}: Always, OnFailure or Never"));
            Restart::Never
        }
    }
}
