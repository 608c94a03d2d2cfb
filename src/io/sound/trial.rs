//! Whether sound could leave here, found out without making any.
use super::super::disk;
use super::Output;
use crate::config::Playout;
use std::path::{Path, PathBuf};

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The sound card: why, and the mend.
    Card { why: String, mend: String },
    /// Nothing can be written where the file should be.
    File { file: PathBuf, why: String },
    /// There is no such program, or it may not be run.
    Program(String),
}

/// Opens what can be opened without a sound, and gives it back at once.
pub fn run(playout: &Playout) -> Result<(), Obstacle> {
    match Output::new(playout) {
        Output::Null => Ok(()),
        Output::Wav(file) => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let place = if file.exists() { file.as_path() } else { folder };
            disk::may_write(place).map_err(|error| Obstacle::File { file: place.to_owned(), why: error.to_string() })
        }
        Output::Pipe { command, folder } => match program(&command) {
            Some(name) if !is_there(name, &folder) => Err(Obstacle::Program(name.to_owned())),
            _ => Ok(()),
        },
        Output::Alsa(name) => card(&name),
    }
}

#[cfg(feature = "sound")]
fn card(name: &str) -> Result<(), Obstacle> {
    let opened = super::alsa::open(name);
    opened.map(drop).map_err(|lost| Obstacle::Card { why: lost.why, mend: lost.mend.to_owned() })
}

#[cfg(not(feature = "sound"))]
fn card(_: &str) -> Result<(), Obstacle> {
    let (why, mend) = crate::config::WITHOUT_SOUND.split_once(": ").unwrap_or((crate::config::WITHOUT_SOUND, ""));
    Err(Obstacle::Card { why: why.to_owned(), mend: mend.to_owned() })
}

/// The program that a command begins with, where that can be read off it; the rest is for the shell to know.
fn program(command: &str) -> Option<&str> {
    let mut words = command.split_whitespace().skip_while(|word| {
        let set = word.split_once('=').map(|(name, _)| name);
        set.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
    });
    let first = match words.next()? {
        "exec" => words.next()?,
        first => first,
    };
    let plain = first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte));
    (plain && !OF_THE_SHELL.contains(&first)).then_some(first)
}

/// Whether a program can be run, looked for as the shell would.
pub fn is_there(program: &str, folder: &Path) -> bool {
    if program.contains('/') {
        return disk::may_run(&folder.join(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).any(|folder| disk::may_run(&folder.join(program)))
}

/// Words that need no program.
const OF_THE_SHELL: &[&str] = &[
    ".", "cd", "command", "echo", "eval", "false", "for", "if", "read", "set", "test", "trap", "true", "ulimit",
    "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(device: &str, folder: &Path) -> Result<(), Obstacle> {
        run(&Playout { folder: folder.to_owned(), ..Playout::new(device) })
    }

    #[test]
    fn a_command_is_looked_for_as_the_shell_would() {
        let here = Path::new("/");
        assert_eq!(tried("pipe:cat > /dev/null", here), Ok(()));
        assert_eq!(tried("pipe:VOLUME=3 exec bin/sh -c true", here), Ok(()));
        assert_eq!(tried("pipe:no-such-player -q", here), Err(Obstacle::Program("no-such-player".into())));
        assert_eq!(tried("pipe:A=1 ./nowhere", here), Err(Obstacle::Program("./nowhere".into())));
        // What only the shell can tell is left to it.
        assert_eq!(tried("pipe:$PLAYER -q", here), Ok(()));
        assert_eq!(tried("pipe:while true; do sleep 1; done", here), Ok(()));
    }

    #[test]
    fn a_file_must_have_a_folder_that_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wav");
        assert_eq!(tried(&format!("wav:{}", file.display()), folder.path()), Ok(()));
        let nowhere = folder.path().join("nowhere/a.wav");
        let obstacle = tried(&format!("wav:{}", nowhere.display()), folder.path());
        assert!(matches!(obstacle, Err(Obstacle::File { .. })), "{obstacle:?}");
        assert_eq!(tried("null", folder.path()), Ok(()));
    }

    #[test]
    fn a_card_that_is_not_there_is_told_with_its_mend() {
        let obstacle = tried("alsa:no_such_card", Path::new("/"));
        assert!(matches!(&obstacle, Err(Obstacle::Card { mend, .. }) if !mend.is_empty()), "{obstacle:?}");
    }
}
