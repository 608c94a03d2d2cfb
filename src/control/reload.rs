//! SIGHUP: a node takes from its configuration what it can without interrupting anybody, and says what has to wait.
//!
//! | at once | |
//! |---|---|
//! | `[log] level` | unless `LOA_LOG` is set |
//! | `[telemetry] level` | where the node has `[telemetry]` since its start |
//! | `[sources]`, but for `authority` | for the next upload and the next live source; what is on the air goes on as it is |
//! | `api.token` in the data folder | the old token is no longer taken |
//!
//! Everything else is an address, a thread or a key of something that runs, and needs a restart, which is told. A
//! configuration with mistakes changes nothing.
use super::logging::Logging;
use super::serve::Running;
use crate::config::{Config, Telemetry};
use std::path::Path;

/// The configuration that holds from now on: the file's, or the one before if anything is wrong with it.
pub fn reload(file: &Path, before: Config, running: &Running, logging: &Logging) -> Config {
    let after = match Config::load(file) {
        Ok(after) => after,
        Err(error) => {
            for mistake in &error.mistakes {
                tracing::error!(code = mistake.code, "{}", mistake.english());
            }
            tracing::error!(
                code = "reload.refused",
                mistakes = error.mistakes.len(),
                "the configuration stays as it was"
            );
            return before;
        }
    };
    if let Some(people) = &running.people {
        people.reload(&after);
    }
    let later = later(&before, &after);
    if !later.is_empty() {
        let fields = later.join(", ");
        tracing::warn!(code = "reload.restart", fields, "these hold from the next start on; restart the node for them");
    }
    // Compared with what runs: what waits for a restart is told by every reload until then.
    let now = running_with(before, after);
    logging.follow(&now);
    tracing::info!(file = %file.display(), "the configuration was read again");
    now
}

/// What has changed and cannot be taken while the node runs.
fn later(before: &Config, after: &Config) -> Vec<&'static str> {
    let parts = [
        ("node", before.node == after.node),
        ("enrol", before.enrol == after.enrol),
        ("parent", before.parent == after.parent),
        ("children", before.children == after.children),
        ("sources.authority", authority(before) == authority(after)),
        ("playout", before.playout == after.playout),
        ("api", before.api == after.api),
        ("timetable", before.timetable == after.timetable),
        ("clock", before.clock == after.clock),
        ("admin", before.admin == after.admin),
        ("telemetry.otlp", collector(before) == collector(after)),
    ];
    parts.into_iter().filter_map(|(name, same)| (!same).then_some(name)).collect()
}

fn authority(config: &Config) -> Option<&str> {
    config.sources.as_ref().map(|sources| sources.authority.as_str())
}

fn collector(config: &Config) -> Option<&str> {
    config.telemetry.as_ref().map(|telemetry| telemetry.otlp.as_str())
}

/// What runs now: the old configuration with what was taken of the new one.
fn running_with(before: Config, after: Config) -> Config {
    let sources = match (before.sources, after.sources) {
        (Some(old), Some(mut new)) => {
            new.authority = old.authority;
            Some(new)
        }
        (old, _) => old,
    };
    let telemetry = match (before.telemetry, after.telemetry) {
        (Some(old), Some(new)) => Some(Telemetry { otlp: old.otlp, ..new }),
        (old, _) => old,
    };
    Config { sources, log: after.log, telemetry, ..before }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("loa.toml")).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_needs_a_restart_is_named_until_there_is_one() {
        let origin = "[node]\ndata = \"d\"\n[children]\n[sources]\nauthority = \"a\"\nloudness = -20.0\n[api]\n";
        let before = config(origin);
        assert_eq!(later(&before, &before.clone()), [""; 0]);
        let louder = config(&origin.replace("-20.0", "-14.0"));
        assert_eq!(later(&before, &louder), [""; 0]);
        let moved = origin.replace("[children]", "[children]\nshards = 4").replace("\"a\"", "\"b\"");
        let moved = config(&format!("{moved}listen = \"127.0.0.1:8461\"\n[log]\nlevel = \"debug\"\n"));
        assert_eq!(later(&before, &moved), ["children", "sources.authority", "api"]);
        let now = running_with(before, moved.clone());
        assert_eq!(now.log, moved.log);
        assert_eq!(later(&now, &moved), ["children", "sources.authority", "api"]);
    }

    #[test]
    fn how_much_goes_to_a_collector_is_taken_at_once_and_where_it_goes_is_not() {
        let sent = |otlp: &str, level: &str| {
            let telemetry = Telemetry { otlp: otlp.into(), level: Some(level.into()) };
            Config { telemetry: Some(telemetry), ..config("[node]\ndata = \"d\"\n[children]\n") }
        };
        let (before, after) = (sent("http://a:1", "info"), sent("http://b:1", "debug"));
        assert_eq!(later(&before, &sent("http://a:1", "debug")), [""; 0]);
        assert_eq!(later(&before, &after), ["telemetry.otlp"]);
        assert_eq!(running_with(before.clone(), after), sent("http://a:1", "debug"));
        let gone = Config { telemetry: None, ..before.clone() };
        assert_eq!(later(&before, &gone), ["telemetry.otlp"]);
        assert_eq!(running_with(before.clone(), gone), before);
    }
}
