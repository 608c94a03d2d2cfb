//! A plan: what a device plays, step by step. `playout` makes it, [`super::Renderer`] renders it.
use crate::track::Sound;
use std::sync::Arc;
use uuid::Uuid;

/// A short run of content. Steps follow each other without a gap on the device.
#[derive(Clone, Debug)]
pub struct Step {
    /// From 0, one by one.
    pub number: u64,
    pub content: Content,
    /// Samples of content at 48 kHz: 480 (10 ms).
    pub count: u32,
    /// Device frames per sample of content: 1 ± 0.002. The step takes `count × ratio` device frames.
    pub ratio: f64,
    pub gain: Gain,
    /// Device frame, counted from the device's start, at which the step's first sample leaves:
    /// the sum of all earlier steps and of what the device inserted.
    pub at: f64,
}

/// Linear, across the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    pub from: f32,
    pub to: f32,
}

#[derive(Clone, Debug)]
pub enum Content {
    Silence,
    /// A stored sound from its sample `from`: the attention tone ([`super::TONE`]) or a spoken code
    /// ([`super::code_number`]); silence for a number unknown and behind its end.
    Tone {
        which: u32,
        from: u64,
    },
    /// Packet `sound.index` of a track from sample `from` within the packet; a step never crosses
    /// a packet's end.
    Sound {
        track: Uuid,
        sound: Arc<Sound>,
        from: u32,
    },
    /// The packet is missing: the decoder makes something up, fading out over 200 ms.
    Conceal {
        track: Uuid,
        index: u64,
        from: u32,
    },
}
