//! Sound itself: decode, down-mix, 48 kHz, loudness, Opus, and rendering a plan (DESIGN §3, §8).
//!
//! Contract: CPU only. Takes readers, never paths; no clock, no thread, no randomness. Bad input is
//! an [`Error`] that names the file as the caller called it, the place and the mend; no panic leaves
//! a decoder.

mod chain;
mod decode;
mod encode;
mod frames;
mod header;
mod input;
mod level;
mod limiter;
pub mod live;
mod loss;
mod loudness;
mod meter;
mod mix;
mod ogg;
mod peak;
mod plan;
mod render;
mod resample;
mod silence;
mod source;
mod speech;
mod spool;
mod tone;
mod transcode;
mod watch;

pub use decode::decode;
pub use encode::{Encoders, FRAME, LOOKAHEAD, join};
pub use frames::{Frames, FramesWriter};
pub use input::{Damage, Facts, Found, Input, Pcm, PcmSample};
pub use level::Leveller;
pub use limiter::Limiter;
pub use meter::{Meter, Metered, Reading};
pub use ogg::OggOpus;
pub use plan::{Content, Gain, Step};
pub use render::Renderer;
pub use source::{Error, Source};
pub use tone::{TONE, Tone, tone, tone_micros};
pub use transcode::{
    Clipping, Level, Leveling, Options, Part, Report, Sequence, Silence, frames_of, sequence, transcode,
};
pub use watch::{SoundLevel, Watch, WatchOptions, Watched};
