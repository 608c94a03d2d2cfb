//! Why a run came to nothing, and with which exit status (DESIGN §9).

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The command line or the profile: 2.
    #[error("{0}")]
    Usage(String),
    /// Anything that broke on the way: 1.
    #[error("{0}")]
    Run(String),
}

impl Failure {
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub fn run(text: impl Into<String>) -> Self {
        Self::Run(text.into())
    }

    pub fn exit(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Run(_) => 1,
        }
    }
}

impl From<loa::config::Error> for Failure {
    fn from(error: loa::config::Error) -> Self {
        Self::Usage(error.text)
    }
}

pub type Result<T> = std::result::Result<T, Failure>;
