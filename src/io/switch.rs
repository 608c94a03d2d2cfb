//! The switch beside a loudspeaker: a file that says 1 or 0, such as a pin's value in sysfs, looked at ten times a second.
//! What cannot be read leaves the mute as it is, and is trouble with a code.
use super::queue;
use super::sound::Said;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the thread is given.
pub struct Setup {
    pub file: PathBuf,
    pub reports: queue::Sender<Said>,
    /// The thread ends when its sender is dropped.
    pub end: Receiver<()>,
}

/// Starts the thread.
pub fn start(setup: Setup) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("switch".into()).spawn(move || run(setup))
}

fn run(mut setup: Setup) {
    let mut switch = Switch::default();
    loop {
        for said in switch.look(&setup.file, read(&setup.file)) {
            match &said {
                Said::Trouble { code, text } => tracing::error!(code, "{text}"),
                Said::Mended { code, text } => tracing::info!(code, "{text}"),
                _ => {}
            }
            setup.reports.send(said);
        }
        setup.reports.flush();
        match setup.end.recv_timeout(EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[derive(Default)]
struct Switch {
    on: Option<bool>,
    wrong: bool,
}

impl Switch {
    fn look(&mut self, file: &Path, found: Result<bool, String>) -> Vec<Said> {
        let mut said = Vec::new();
        match found {
            Ok(on) => {
                if std::mem::take(&mut self.wrong) {
                    let text = format!("{}: the switch can be read again", file.display());
                    said.push(Said::Mended { code: TROUBLE, text });
                }
                if self.on.replace(on) != Some(on) {
                    said.push(Said::Switch(on));
                }
            }
            Err(why) if !std::mem::replace(&mut self.wrong, true) => {
                let text = format!(
                    "{}: the mute's switch cannot be read ({why}); it is tried on, see its wiring and playout.mute_switch",
                    file.display()
                );
                said.push(Said::Trouble { code: TROUBLE, text });
            }
            Err(_) => {}
        }
        said
    }
}

/// Where the switch stands, or why nobody can tell.
pub fn read(file: &Path) -> Result<bool, String> {
    let mut text = Vec::new();
    // A device or a pipe may stand there by mistake: not for ever, and not for all of the memory.
    let kind = std::fs::metadata(file).map_err(|error| error.to_string())?.file_type();
    if !kind.is_file() {
        return Err("it is no plain file".to_owned());
    }
    let read = File::open(file).and_then(|open| open.take(LONGEST).read_to_end(&mut text));
    read.map_err(|error| error.to_string())?;
    match text.trim_ascii() {
        b"1" => Ok(true),
        b"0" => Ok(false),
        other => Err(format!("it says {:?}, and should say 1 or 0", String::from_utf8_lossy(other))),
    }
}

const TROUBLE: &str = "mute.switch";
/// Quick for a hand, slow for a contact that bounces.
const EVERY: Duration = Duration::from_millis(100);
/// Bytes: a digit and a line's end.
const LONGEST: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_one_or_zero_and_whatever_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("value");
        assert!(read(&file).unwrap_err().contains("No such file"));
        for (text, expected) in
            [("1\n", Some(true)), ("0\n", Some(false)), (" 1", Some(true)), ("", None), ("10", None)]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(&file).ok(), expected, "{text:?}");
        }
        std::fs::write(&file, "x".repeat(1 << 20)).unwrap();
        assert!(read(&file).unwrap_err().len() < 100);
        assert!(read(folder.path()).unwrap_err().contains("no plain file"));
    }

    #[test]
    fn it_is_told_when_it_turns_and_trouble_once() {
        let mut switch = Switch::default();
        let file = Path::new("value");
        let mut look = |found: Result<bool, &str>| switch.look(file, found.map_err(str::to_owned));
        assert_eq!(look(Ok(false)), [Said::Switch(false)], "first, that it is read at all");
        assert_eq!(look(Ok(false)), []);
        assert_eq!(look(Ok(true)), [Said::Switch(true)]);
        assert!(matches!(&look(Err("gone"))[..], [Said::Trouble { code: TROUBLE, .. }]));
        assert_eq!(look(Err("gone")), []);
        assert!(matches!(&look(Ok(true))[..], [Said::Mended { code: TROUBLE, .. }]), "and it has not turned");
    }
}
