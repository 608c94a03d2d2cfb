//! The passphrase of a root: from a file, or asked for without showing it.
use super::text::{Failure, Language, say};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The first line of this file is the passphrase [default: it is asked for]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// As if `file` had been named for it.
pub fn of(file: Option<&Path>) -> Options {
    Options { passphrase_file: file.map(Path::to_owned) }
}

impl Options {
    /// Of a root that exists.
    pub fn ask(&self, root: &Path, language: Language) -> Result<Zeroizing<String>, Failure> {
        match &self.passphrase_file {
            Some(file) => of_file(file),
            None => prompt(&say(language, "passphrase.ask", [&root.display()])),
        }
    }

    /// Of one to be made: asked for twice, and long enough that guessing it is no use.
    pub fn choose(&self, root: &Path, language: Language) -> Result<Zeroizing<String>, Failure> {
        let chosen = self.ask(root, language)?;
        if chosen.chars().count() < SHORTEST {
            return Err(Failure::new("passphrase.short", [&SHORTEST]));
        }
        if self.passphrase_file.is_none() && *prompt(&say(language, "passphrase.again", []))? != *chosen {
            return Err(Failure::new("passphrase.differs", []));
        }
        Ok(chosen)
    }
}

fn of_file(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::new("client.file", [&file.display(), &error]))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn prompt(text: &str) -> Result<Zeroizing<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("passphrase.nowhere", []));
    }
    let read = rpassword::prompt_password(format!("{text} "));
    read.map(Zeroizing::new).map_err(|error| Failure::new("passphrase.unread", [&error]))
}

/// Characters: stretched by Argon2id, twelve of them outlast the tree.
const SHORTEST: usize = 12;
