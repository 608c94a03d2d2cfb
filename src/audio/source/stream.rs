//! What a demuxer gives: runs of sound with one decoder each, their packets, and what is missing between them.
use super::fault::Fault;
use super::opus;
use super::pcm::Number;
use crate::audio::mix::Layout;
use symphonia::core::codecs::audio::AudioCodecParameters;

pub(super) trait Demuxer: Send {
    fn next(&mut self) -> Result<Step, Fault>;

    /// Rate and samples of each stream to come, where they are more than the first and all known.
    fn lengths(&self) -> Option<Vec<(u32, u64)>> {
        None
    }
}

pub(super) enum Step {
    /// What follows needs a decoder of its own; always the first step.
    Stream(Stream),
    Packet(Packet),
    /// Something is missing before the next packet; 0 samples if nobody can tell how much.
    Lost {
        samples: u64,
        what: &'static str,
    },
    /// The file ends before its sound does.
    Early {
        what: &'static str,
    },
    End,
}

/// Places are counted in samples at `rate`; sample 0 is the first that may be heard.
pub(super) struct Stream {
    pub container: String,
    pub name: String,
    pub codec: Codec,
    pub rate: u32,
    pub layout: Layout,
    /// Place of the first packet; below zero where an encoder put samples before the sound.
    pub begins: i64,
    /// Nothing from here on is to be heard.
    pub ends: Option<u64>,
    /// Promised by the file.
    pub samples: Option<u64>,
    /// By how many samples the places of packets may be off, as timestamps are rounded.
    pub slack: u64,
    /// The highest value of the format.
    pub full_scale: f32,
}

pub(super) enum Codec {
    Pcm(Number),
    Opus(opus::Head),
    Library(Box<AudioCodecParameters>),
}

pub(super) struct Packet {
    pub data: Vec<u8>,
    /// Place of its first sample; `None`: where the packet before ended.
    pub at: Option<i64>,
    /// Nothing of this packet from here on is to be heard.
    pub until: Option<i64>,
    /// Samples at its end that are not to be heard, where its place isn't exact.
    pub cut: u64,
    /// Samples it holds, where the container knows; 0 if not.
    pub samples: u64,
}
