//! Renders a plan on the sound thread: decode, conceal, resample by parts per million, fade.
use super::Step;

/// One device's renderer. Decoding continues across steps of one track; a jump restarts the decoder
/// at the start of the packet and runs up to the step's sample.
pub struct Renderer {}

impl Renderer {
    /// Device frames by which output lags the plan (the resampler's filter); constant. Playout starts
    /// each step that much earlier.
    pub const LATENCY: usize = 0;

    pub fn new() -> Self {
        todo!()
    }

    /// Appends the step's device frames to `out` (mono f32). After any number of steps the frames
    /// produced differ from the sum of `count × ratio` by less than one plus a constant. Never
    /// panics on bad records: it conceals.
    pub fn render(&mut self, _step: &Step, _out: &mut Vec<f32>) {
        todo!()
    }
}
