//! Records to samples, one track after the other, with concealment; and the same for a whole track.
use crate::time::RATE;
use crate::track::Sound;
use bytes::Bytes;
use opus::{Channels, Decoder};
use uuid::Uuid;

/// No Opus packet lasts longer (RFC 6716 §3.2): 120 ms.
const LONGEST: usize = RATE as usize * 120 / 1_000;
/// Concealment is asked for in pieces of 10 ms, the length of a step.
const PIECE: usize = RATE as usize / 100;
/// Made-up sound fades to silence over 200 ms: longer it would buzz.
const FADE_OUT: f32 = RATE as f32 * 0.2;
/// And real sound comes back over 5 ms, so that it doesn't click.
const FADE_IN: f32 = RATE as f32 * 0.005;

/// Decodes the packets of a track in order into one run of samples, from its first packet on; `None`
/// is a lost packet, concealed. Each packet yields `duration_samples`. This is what
/// [`super::Renderer`] plays before it resamples, without gains.
pub fn decode<'a>(packets: impl Iterator<Item = Option<&'a Sound>>, duration_samples: usize) -> Vec<f32> {
    let mut voice = Voice::new();
    let mut out = Vec::new();
    for (index, packet) in packets.enumerate() {
        let begin = out.len();
        out.resize(begin + duration_samples, 0.0);
        let out = &mut out[begin..];
        match packet {
            Some(sound) => voice.sound(Uuid::nil(), index as u64, &sound.records, 0, out),
            None => voice.conceal(Uuid::nil(), index as u64, 0, out),
        }
    }
    out
}

/// One decoder and where it stands.
pub(super) struct Voice {
    decoder: Decoder,
    /// Decoded and not yet handed out.
    ready: Vec<f32>,
    used: usize,
    /// The sample that would come next; `None` before the first.
    next: Option<Place>,
    /// The record of the present packet to decode next.
    record: usize,
    /// 1 while real sound plays; falls while sound is made up.
    level: f32,
}

#[derive(Clone, Copy)]
struct Place {
    track: Uuid,
    index: u64,
    sample: u32,
    /// The present packet was missing so far.
    concealing: bool,
}

impl Voice {
    pub fn new() -> Self {
        let decoder = Decoder::new(RATE, Channels::Mono).expect("48 kHz mono is a format of Opus");
        Self { decoder, ready: Vec::with_capacity(LONGEST), used: 0, next: None, record: 0, level: 1.0 }
    }

    /// Fills `out` with the packet's samples from `from`. Where `from` is not the continuation, the
    /// packet is decoded from its start and what lies before is thrown away: with the decoder's state
    /// as it is if the packet follows the last one, with a fresh one otherwise.
    pub fn sound(&mut self, track: Uuid, index: u64, records: &[Bytes], from: u32, out: &mut [f32]) {
        let mut at = match self.next {
            Some(next) if next.track == track && next.index == index && !next.concealing && next.sample <= from => {
                next.sample
            }
            Some(next) if next.track == track && follows(next, index) => {
                self.begin();
                0
            }
            _ => {
                self.restart();
                0
            }
        };
        // A packet lasts 480 ms at most, so this ends after 48 pieces or at the last record.
        let mut dropped = [0.0; PIECE];
        while at < from && self.record_ready(records) {
            let piece = (from - at).min(PIECE as u32);
            at += self.copy(&mut dropped[..piece as usize]) as u32;
        }
        let mut filled = 0;
        while filled < out.len() {
            if self.record_ready(records) {
                let begin = filled;
                filled += self.copy(&mut out[begin..]);
                self.swell(&mut out[begin..filled]);
            } else {
                self.make_up(&mut out[filled..]);
                filled = out.len();
            }
        }
        let sample = from.saturating_add(out.len() as u32);
        self.next = Some(Place { track, index, sample, concealing: false });
    }

    /// Fills `out` with what might have been the sound of a missing packet.
    pub fn conceal(&mut self, track: Uuid, index: u64, from: u32, out: &mut [f32]) {
        match self.next {
            Some(next) if next.track == track && next.index == index && next.concealing => {}
            Some(next) if next.track == track && follows(next, index) => self.begin(),
            _ => self.restart(),
        }
        self.make_up(out);
        let sample = from.saturating_add(out.len() as u32);
        self.next = Some(Place { track, index, sample, concealing: true });
    }

    /// From the first record of a packet, with the state that the last one left.
    fn begin(&mut self) {
        self.ready.clear();
        self.used = 0;
        self.record = 0;
    }

    /// Like [`Voice::begin`], with a fresh state.
    fn restart(&mut self) {
        self.begin();
        self.level = 1.0;
        let reset = self.decoder.reset_state();
        debug_assert!(reset.is_ok(), "a decoder can always be reset");
    }

    /// Decodes the next record unless samples are left of the last; false when none is left.
    fn record_ready(&mut self, records: &[Bytes]) -> bool {
        while self.used >= self.ready.len() {
            let Some(record) = records.get(self.record) else { return false };
            self.record += 1;
            self.used = 0;
            // A record that isn't Opus has no duration: it is left out, and the packet's end is
            // concealed instead.
            let duration = match opus::packet::get_nb_samples(record, RATE) {
                Ok(duration) if duration <= LONGEST && !record.is_empty() => duration,
                _ => 0,
            };
            self.ready.resize(duration, 0.0);
            if duration == 0 {
                continue;
            }
            let decoded = self.decoder.decode_float(record, &mut self.ready, false);
            if decoded.is_err() && self.decoder.decode_float(&[], &mut self.ready, false).is_err() {
                self.ready.fill(0.0);
            }
        }
        true
    }

    fn copy(&mut self, out: &mut [f32]) -> usize {
        let count = out.len().min(self.ready.len() - self.used);
        out[..count].copy_from_slice(&self.ready[self.used..self.used + count]);
        self.used += count;
        count
    }

    /// The decoder's own concealment, fading out.
    fn make_up(&mut self, out: &mut [f32]) {
        let mut filled = 0;
        while filled < out.len() {
            if self.level <= 0.0 {
                out[filled..].fill(0.0);
                return;
            }
            if self.used >= self.ready.len() {
                self.used = 0;
                self.ready.resize(PIECE, 0.0);
                if self.decoder.decode_float(&[], &mut self.ready, false).is_err() {
                    self.ready.fill(0.0);
                }
            }
            let begin = filled;
            filled += self.copy(&mut out[begin..]);
            for sample in &mut out[begin..filled] {
                *sample *= self.level;
                self.level = (self.level - 1.0 / FADE_OUT).max(0.0);
            }
        }
    }

    fn swell(&mut self, out: &mut [f32]) {
        for sample in out {
            if self.level >= 1.0 {
                return;
            }
            *sample *= self.level;
            self.level = (self.level + 1.0 / FADE_IN).min(1.0);
        }
    }
}

/// The packet after the last one, or one that was missing at first and came while it was concealed.
fn follows(next: Place, index: u64) -> bool {
    next.index.checked_add(1) == Some(index) || (next.index == index && next.concealing)
}
