//! Sound itself: decode, down-mix, 48 kHz, loudness, Opus, and rendering a plan (DESIGN §3, §8).
//!
//! Contract: CPU only. Takes readers, never paths; no clock, no thread, no randomness. Bad input is
//! an [`Error`] that names the file as the caller called it, the place and the mend; no panic leaves
//! a decoder.

#[cfg(feature = "full")]
mod chain;
mod decode;
#[cfg(feature = "full")]
mod encode;
#[cfg(feature = "full")]
mod frames;
#[cfg(feature = "full")]
mod header;
#[cfg(feature = "full")]
mod input;
#[cfg(feature = "full")]
mod level;
#[cfg(feature = "full")]
mod limiter;
#[cfg(feature = "full")]
pub mod live;
#[cfg(feature = "full")]
mod loss;
#[cfg(feature = "full")]
mod loudness;
mod meter;
#[cfg(feature = "full")]
mod mix;
#[cfg(feature = "full")]
mod ogg;
#[cfg(feature = "full")]
mod peak;
mod plan;
mod render;
mod resample;
#[cfg(feature = "full")]
mod silence;
#[cfg(feature = "full")]
mod source;
#[cfg(feature = "full")]
mod speech;
mod spoken;
#[cfg(feature = "full")]
mod spool;
mod tone;
#[cfg(feature = "full")]
mod transcode;
#[cfg(feature = "full")]
mod watch;

pub use decode::decode;
#[cfg(feature = "full")]
pub use encode::{Encoders, FRAME, LOOKAHEAD, join};
#[cfg(feature = "full")]
pub use frames::{Frames, FramesWriter};
#[cfg(feature = "full")]
pub use input::{Damage, Facts, Found, Input, Pcm, PcmSample};
#[cfg(feature = "full")]
pub use level::Leveller;
#[cfg(feature = "full")]
pub use limiter::Limiter;
pub use meter::{Meter, Metered, Reading};
#[cfg(feature = "full")]
pub use ogg::OggOpus;
pub use plan::{Content, Gain, Step};
pub use render::Renderer;
#[cfg(feature = "full")]
pub use source::{Error, Source};
pub use spoken::{CODE, EXERCISE, TEST, code, code_micros, code_number, words_micros};
pub use tone::{TONE, Tone, tone, tone_micros};
#[cfg(feature = "full")]
pub use transcode::{
    Clipping, Level, Leveling, Options, Part, Report, Sequence, Silence, frames_of, sequence, transcode,
};
#[cfg(feature = "full")]
pub use watch::{SoundLevel, Watch, WatchOptions, Watched};
