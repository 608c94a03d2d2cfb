//! SIGHUP: a node takes from its configuration what it can without interrupting anybody, and says what has to wait.
//!
//! | at once | |
//! |---|---|
//! | `[log] level` | unless `LOA_LOG` is set |
//! | `[sources]`, but for `authority` | for the next upload and the next live source; what is on the air goes on as it is |
//! | `api.token` in the data folder | the old token is no longer taken |
//!
//! Everything else is an address, a thread or a key of something that runs, and needs a restart, which is told. A
//! configuration with mistakes changes nothing.
use super::logging::Logging;
use super::serve::Running;
use crate::config::Config;
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
    logging.follow(&after.log);
    if let Some(people) = &running.people {
        people.reload(&after);
    }
    let later = later(&before, &after);
    if !later.is_empty() {
        let fields = later.join(", ");
        tracing::warn!(code = "reload.restart", fields, "these hold from the next start on; restart the node for them");
    }
    tracing::info!(file = %file.display(), "the configuration was read again");
    // Compared with what runs: what waits for a restart is told by every reload until then.
    running_with(before, after)
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
        ("admin", before.admin == after.admin),
    ];
    parts.into_iter().filter_map(|(name, same)| (!same).then_some(name)).collect()
}

fn authority(config: &Config) -> Option<&str> {
    config.sources.as_ref().map(|sources| sources.authority.as_str())
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
    Config { sources, log: after.log, ..before }
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
}
