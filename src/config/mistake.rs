//! What is wrong with a configuration, in the words of whoever has to mend it.
use std::fmt;
use std::path::PathBuf;

/// One thing to mend: where it stands, what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub code: &'static str,
    pub file: PathBuf,
    /// Both from 1; 0 when the file as a whole is meant.
    pub line: usize,
    pub column: usize,
    /// `table.key`, or `[table]`; empty when the file as a whole is meant.
    pub field: String,
    pub said: Said,
}

/// A sentence without its place, in both languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub english: String,
    pub vietnamese: String,
}

impl Said {
    pub fn new(vietnamese: impl Into<String>, english: impl Into<String>) -> Self {
        Self { english: english.into(), vietnamese: vietnamese.into() }
    }
}

impl Mistake {
    pub fn english(&self) -> String {
        self.placed(&self.said.english)
    }

    pub fn vietnamese(&self) -> String {
        self.placed(&self.said.vietnamese)
    }

    fn placed(&self, said: &str) -> String {
        match self.line {
            0 => format!("{}: {said}", self.file.display()),
            line => format!("{}:{line}:{}: {said}", self.file.display(), self.column),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Of the first mistake.
    pub code: &'static str,
    /// All of them in English, one a line.
    pub text: String,
    pub mistakes: Vec<Mistake>,
}

impl Error {
    pub(super) fn of(mistakes: Vec<Mistake>) -> Self {
        let text = mistakes.iter().map(Mistake::english).collect::<Vec<_>>().join("\n");
        Self { code: mistakes.first().map_or("config.invalid", |first| first.code), text, mistakes }
    }
}

impl From<Mistake> for Error {
    fn from(mistake: Mistake) -> Self {
        Self::of(vec![mistake])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
