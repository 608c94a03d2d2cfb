//! A plan on its way to a device: steps are taken in, rendered, and counted as they go.
use super::super::node::Played;
use crate::audio::{Content, Renderer, Step};
use crate::time::{Local, RATE};
use std::collections::VecDeque;
use uuid::Uuid;

/// Which frame of a device leaves when.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub at: Local,
    /// The frame that leaves at `at`.
    pub frame: f64,
    /// Frames per µs.
    pub rate: f64,
}

impl Line {
    /// The frame counter at `now`, with its fraction.
    pub fn frame(&self, now: Local) -> f64 {
        self.frame + (now - self.at).max(0) as f64 * self.rate
    }

    /// Local time in µs, with its fraction.
    fn leaves(&self, frame: f64) -> f64 {
        self.at.0 as f64 + (frame - self.frame) / self.rate
    }
}

/// Where frames come from.
///
/// The renderer's output lags the plan by `Renderer::LATENCY` frames, so the first `LATENCY` rendered
/// frames are left out. Frame `p` of the plan (`Step::at`) is then frame `p` of the device.
pub struct Feed {
    renderer: Renderer,
    /// Rendered, and not let out yet.
    pending: VecDeque<f32>,
    rendered: Vec<f32>,
    /// Rendered frames still to be left out: the latency.
    skip: usize,
    /// Frames let out, silence included.
    pub out: u64,
    /// Of these, silence where there was no step.
    pub inserted: u64,
    pub steps: u64,
    /// Whether the newest step sounds.
    pub due: bool,
    /// Σ count × ratio of the steps taken in.
    planned: f64,
    /// Steps whose first sample has not left, with the sum before them.
    coming: VecDeque<(f64, Step)>,
    /// Samples per packet of the track heard last: a missing packet does not say.
    packet: Option<(Uuid, u64)>,
    /// For whoever measures; to be drained.
    pub played: Vec<Played>,
}

impl Feed {
    pub fn new() -> Self {
        Self {
            renderer: Renderer::new(),
            pending: VecDeque::new(),
            rendered: Vec::new(),
            skip: Renderer::LATENCY,
            out: 0,
            inserted: 0,
            steps: 0,
            due: false,
            planned: 0.0,
            coming: VecDeque::new(),
            packet: None,
            played: Vec::new(),
        }
    }

    /// Appends up to `count` frames of the plan, fewer where it has no more; says how many.
    pub fn sound(
        &mut self,
        count: usize,
        line: &Line,
        out: &mut Vec<f32>,
        mut next: impl FnMut() -> Option<Step>,
    ) -> usize {
        let mut left = count;
        while left > 0 {
            if self.pending.is_empty() {
                match next() {
                    Some(step) => self.take(step),
                    None => break,
                }
                continue;
            }
            let count = left.min(self.pending.len());
            out.extend(self.pending.drain(..count));
            self.out += count as u64;
            left -= count;
            self.leave(line);
        }
        count - left
    }

    pub fn silence(&mut self, count: usize, out: &mut Vec<f32>) {
        out.extend(std::iter::repeat_n(0.0, count));
        self.pass(count as u64);
    }

    /// Frames that went by without anything going out.
    pub fn pass(&mut self, count: u64) {
        self.inserted += count;
        self.out += count;
    }

    fn take(&mut self, step: Step) {
        self.rendered.clear();
        self.renderer.render(&step, &mut self.rendered);
        let skip = self.skip.min(self.rendered.len());
        self.skip -= skip;
        self.pending.extend(self.rendered.get(skip..).unwrap_or_default());
        self.steps = step.number + 1;
        // What is muted is silent by somebody's wish.
        self.due = !matches!(step.content, Content::Silence) && step.gain.from.max(step.gain.to) > 0.0;
        let begin = self.planned;
        self.planned += f64::from(step.count) * step.ratio;
        self.coming.push_back((begin, step));
    }

    /// Logs the steps whose first sample has left.
    fn leave(&mut self, line: &Line) {
        let planned_out = (self.out - self.inserted) as f64;
        while let Some((begin, step)) = self.coming.pop_front_if(|(begin, _)| *begin < planned_out) {
            let frame = begin + self.inserted as f64;
            let left = line.leaves(frame);
            if let Some((track, sample)) = self.place(&step) {
                let concealed = matches!(step.content, Content::Conceal { .. });
                let lasts = f64::from(step.count) * step.ratio / line.rate;
                let gain = step.gain.from.max(step.gain.to);
                self.played.push(Played { track, sample, count: step.count, concealed, left, lasts, gain });
            }
        }
    }

    /// Which sample of what a step begins with; nothing for silence.
    fn place(&mut self, step: &Step) -> Option<(Option<Uuid>, u64)> {
        match &step.content {
            Content::Silence => None,
            Content::Tone { from, .. } => Some((None, *from)),
            Content::Sound { track, sound, from } => {
                let samples = |record: &bytes::Bytes| opus::packet::get_nb_samples(record, RATE).unwrap_or(0) as u64;
                let known = self.packet.filter(|(known, _)| known == track).map(|(_, packet)| packet);
                let packet = known.unwrap_or_else(|| sound.records.iter().map(samples).sum());
                self.packet = Some((*track, packet));
                Some((Some(*track), sound.index * packet + u64::from(*from)))
            }
            Content::Conceal { track, index, from } => {
                let (_, packet) = self.packet.filter(|(known, _)| known == track)?;
                Some((Some(*track), index * packet + u64::from(*from)))
            }
        }
    }
}
