//! Sound itself: decode, down-mix, 48 kHz, loudness, Opus, and rendering a plan (DESIGN §3, §8).
//!
//! Contract: CPU only. Takes readers, never paths; no clock, no thread, no randomness. Bad input is
//! an [`Error`] that names the file as the caller called it, the place and the mend; no panic leaves
//! a decoder.

mod encode;
mod plan;
mod render;
mod source;
mod tone;

pub use encode::{FRAME, Frames, Options, Report, join, transcode};
pub use plan::{Content, Gain, Step};
pub use render::Renderer;
pub use source::{Error, Source};
pub use tone::{TONE, Tone, tone, tone_micros};
