//! What goes wrong inside a demuxer or a decoder, before it has the name of the file; and the wall that keeps
//! their panics in.
use super::Error;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use symphonia::core::errors::Error as Foreign;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: &'static str,
    pub text: String,
}

impl Fault {
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub fn damaged(text: impl Into<String>) -> Self {
        Self::new("media.damaged", format!("{}; copy or export it again", text.into()))
    }

    pub fn unsupported(text: impl Into<String>) -> Self {
        Self::new("media.unsupported", format!("{}; export it as 16-bit PCM WAV or FLAC", text.into()))
    }

    pub fn ends_in_header() -> Self {
        Self::new("media.truncated", "the file ends within its header, at 0.000 s of sound; copy or export it again")
    }

    /// In samples at `rate`.
    pub fn truncated(there: u64, promised: u64, rate: u32) -> Self {
        let seconds = |samples: u64| samples as f64 / f64::from(rate.max(1));
        let (there, promised) = (seconds(there), seconds(promised));
        let text = format!(
            "the sound ends at {there:.3} s of the {promised:.3} s that its header gives; copy or export it again"
        );
        Self::new("media.truncated", text)
    }

    pub fn without_sound() -> Self {
        Self::new("media.empty", "the header is there, but no sound follows; record or export it again")
    }

    /// `kind`: of sound or picture.
    pub fn no_sound(kind: &str) -> Self {
        Self::new("media.no_sound", format!("{kind} without a track of sound; send the sound itself"))
    }

    pub fn he_aac() -> Self {
        let text = "HE-AAC, which Loa doesn't decode itself: export it as AAC-LC, or set a foreign decoder \
                    (sources.decoder = \"ffmpeg\" in the configuration, --decoder ffmpeg on the command line)";
        Self::new("media.he_aac", text)
    }

    /// `what`: of the codec, what the library's decoder lacks.
    pub fn foreign(what: impl Into<String>) -> Self {
        let text = format!(
            "{}, which Loa doesn't decode itself: export it as AAC-LC in stereo, or set a foreign decoder \
             (sources.decoder = \"ffmpeg\" in the configuration, --decoder ffmpeg on the command line)",
            what.into()
        );
        Self::new("media.unsupported", text)
    }

    pub fn named(self, name: &str) -> Error {
        Error::new(self.code, format!("{name}: {}", self.text))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::new("media.read", format!("can't be read: {error}; send a file that opens, from a disk that is sound"))
    }
}

impl From<Foreign> for Fault {
    fn from(fault: Foreign) -> Self {
        match fault {
            Foreign::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => error.into(),
            Foreign::Unsupported(what) | Foreign::LimitError(what) => Self::unsupported(what),
            fault => Self::damaged(fault.to_string()),
        }
    }
}

/// Runs a piece of a decoder; a panic in it is a fault of the file, not of this program, and stays silent.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let ordinary = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                ordinary(panic);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let ended = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    ended.unwrap_or_else(|_| Err(Fault::damaged("the decoder gave up")))
}

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_decoder_is_damage_of_the_file() {
        let fault = guarded(|| -> Result<(), Fault> { panic!("index out of bounds") }).unwrap_err();
        assert_eq!(fault.code, "media.damaged");
        assert!(!GUARDED.get());
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
    }
}
