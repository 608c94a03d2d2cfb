//! What makes a recorded voice clear through a horn: de-clip, high-pass, gate, gentle compression, in this order.
mod declip;
mod dynamics;
mod high_pass;

use declip::Declip;
use dynamics::{Compressor, Gate, Ramped};
use high_pass::HighPass;

/// All four, one after the other. As many samples come out as go in, in their places; up to 25 ms are held back.
pub(super) struct Speech {
    declip: Declip,
    high_pass: HighPass,
    gate: Ramped<Gate>,
    compressor: Ramped<Compressor>,
    unclipped: Vec<f32>,
    gated: Vec<f32>,
}

impl Speech {
    pub fn new() -> Self {
        Self {
            declip: Declip::new(),
            high_pass: HighPass::new(),
            gate: Ramped::new(Gate::new()),
            compressor: Ramped::new(Compressor::new()),
            unclipped: Vec::new(),
            gated: Vec::new(),
        }
    }

    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.unclipped.clear();
        self.declip.push(samples, &mut self.unclipped);
        self.pass(out);
    }

    pub fn finish(&mut self, out: &mut Vec<f32>) {
        self.unclipped.clear();
        self.declip.finish(&mut self.unclipped);
        self.pass(out);
        self.gated.clear();
        self.gate.finish(&mut self.gated);
        self.compressor.push(&self.gated, out);
        self.compressor.finish(out);
    }

    fn pass(&mut self, out: &mut Vec<f32>) {
        self.high_pass.push(&mut self.unclipped);
        self.gated.clear();
        self.gate.push(&self.unclipped, &mut self.gated);
        self.compressor.push(&self.gated, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_samples_come_out_as_go_in_whatever_the_pieces() {
        let samples: Vec<f32> = (0..30_001).map(|at| ((at as f32 * 0.02).sin() * 1.4).clamp(-1.0, 1.0)).collect();
        let mut whole = Vec::new();
        for piece in [30_001, 1, 777] {
            let (mut speech, mut out) = (Speech::new(), Vec::new());
            for piece in samples.chunks(piece) {
                speech.push(piece, &mut out);
            }
            speech.finish(&mut out);
            assert_eq!(out.len(), samples.len());
            if whole.is_empty() {
                whole = out;
            } else {
                assert!(whole.iter().zip(&out).all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
    }
}
