//! What operators read of GLB's tables.

use log::Level;

use super::plural;
use crate::glb::Notice;

pub(super) fn word(notice: &Notice) -> (Level, String) {
    match notice {
        Notice::Read { source, tables, backends } => {
            let (tables, backends) = (plural(*tables, "table", "tables"), plural(*backends, "backend", "backends"));
            (Level::Info, format!("forwarding tables {}: {tables}, {backends}", source.display()))
        }
        Notice::Presumed(targets) => {
            let targets = plural(*targets, "target has", "targets have");
            (Level::Warn, format!("forwarding tables: {targets} no verdict in time and counts by the last result"))
        }
        Notice::Written { destination, changed, healthy, backends } => {
            let what = if *changed { "written" } else { "as it shall be" };
            (Level::Info, format!("{} {what}: {healthy} of {backends} backends healthy", destination.display()))
        }
        Notice::WriteFailed(destination, error) => {
            (Level::Error, format!("{} cannot be written, trying again: {error}", destination.display()))
        }
        Notice::CommandFailed(error) => (Level::Error, format!("reload_command failed, trying again: {error}")),
        Notice::CommandSucceeded => (Level::Info, "reload_command has succeeded again".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_in_words() {
        let line = |notice: Notice| {
            let (level, text) = word(&notice);
            format!("{level} {text}")
        };
        let destination = || "/d".into();
        for (notice, expected) in [
            (
                Notice::Read { source: "/s".into(), tables: 1, backends: 2 },
                "INFO forwarding tables /s: 1 table, 2 backends",
            ),
            (
                Notice::Presumed(1),
                "WARN forwarding tables: 1 target has no verdict in time and counts by the last result",
            ),
            (
                Notice::Written { destination: destination(), changed: true, healthy: 1, backends: 2 },
                "INFO /d written: 1 of 2 backends healthy",
            ),
            (
                Notice::Written { destination: destination(), changed: false, healthy: 1, backends: 1 },
                "INFO /d as it shall be: 1 of 1 backends healthy",
            ),
            (
                Notice::WriteFailed(destination(), "no space".to_owned()),
                "ERROR /d cannot be written, trying again: no space",
            ),
            (
                Notice::CommandFailed("exit status 1".to_owned()),
                "ERROR reload_command failed, trying again: exit status 1",
            ),
            (Notice::CommandSucceeded, "INFO reload_command has succeeded again"),
        ] {
            assert_eq!(line(notice), expected);
        }
    }
}
