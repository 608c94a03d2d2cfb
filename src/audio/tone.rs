//! The attention tone that every speaker keeps.

/// The one tone of version 1.
pub const TONE: u32 = 1;

/// A stored tone: mono 48 kHz.
#[derive(Clone, Debug)]
pub struct Tone {
    pub samples: Vec<f32>,
}

/// The tone by its number; `None` if unknown. Deterministic.
pub fn tone(_which: u32) -> Option<Tone> {
    todo!()
}

/// µs that the tone of version 1 lasts.
pub fn tone_micros() -> i64 {
    todo!()
}
