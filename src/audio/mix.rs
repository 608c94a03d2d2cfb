//! Any number of channels to one, so that speech is kept.
//!
//! Surround: the front centre, where speech is, weighs most; left and right less, surrounds least, the
//! subwoofer nothing. Weights are for ratios alone, since loudness is levelled later; together they are 1, so
//! that nothing clips.
//!
//! Stereo: the mean of both channels. Where one is the other turned upside down (a cable wired wrongly, a
//! "wide" effect), the mean would be silence: there it is half of the difference instead. That is judged over
//! [`WINDOW`] blocks of 20 ms that begin with the one to be mixed, and changed within one block:
//! ```text
//! blocks      │ k │ k+1 │ … │ k+9 │      mixed: k, once k+9 is here
//!             └── judged for k ───┘
//! ```

/// What each channel weighs in the mix.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    weights: Vec<f32>,
    /// Left and right, and nothing else.
    stereo: bool,
}

impl Layout {
    /// Of channels whose places nobody tells.
    pub fn equal(channels: u16) -> Self {
        Self::of(vec![1.0; channels.into()])
    }

    /// By the bits of WAVEFORMATEXTENSIBLE's mask, lowest first; equal where it doesn't name every channel.
    pub fn mask(channels: u16, mask: u32) -> Self {
        if channels == 2 {
            return Self { weights: vec![0.5; 2], stereo: true };
        }
        if mask.count_ones() != u32::from(channels) {
            return Self::equal(channels);
        }
        Self::of((0..32).filter(|bit| mask >> bit & 1 == 1).map(place).collect())
    }

    /// As files without a mask order their channels: WAV, FLAC (RFC 9639 §9.1.3) and AAC once decoded.
    pub fn usual(channels: u16) -> Self {
        let masks = [0, 0x4, 0x3, 0x7, 0x33, 0x37, 0x3f, 0x70f, 0x63f];
        Self::mask(channels, masks.get(usize::from(channels)).copied().unwrap_or(0))
    }

    /// As Vorbis (I, §4.3.9) and Opus (RFC 7845 §5.1.1.2) order them: left, centre, right, surrounds, subwoofer.
    pub fn xiph(channels: u16) -> Self {
        match channels {
            3 | 5.. => {
                let mut weights = vec![SIDE, CENTRE, SIDE];
                weights.resize(channels.into(), REAR);
                if channels > 5 {
                    weights[usize::from(channels) - 1] = 0.0;
                }
                Self::of(weights)
            }
            _ => Self::usual(channels),
        }
    }

    pub fn channels(&self) -> u16 {
        self.weights.len() as u16
    }

    fn of(weights: Vec<f32>) -> Self {
        let all: f32 = weights.iter().sum();
        let stereo = weights.len() == 2;
        // A lone subwoofer is all there is.
        let share = |weight: f32| if all > 0.0 { weight / all } else { 1.0 / weights.len().max(1) as f32 };
        Self { weights: weights.iter().map(|weight| share(*weight)).collect(), stereo }
    }
}

/// The weight of a place, by its bit.
fn place(bit: u32) -> f32 {
    match bit {
        2 => CENTRE,
        // Left and right, those beside the centre, and the wide ones.
        0 | 1 | 6 | 7 | 24 | 25 => SIDE,
        3 | 18 => 0.0,
        _ => REAR,
    }
}

pub(super) struct Mixer {
    layout: Layout,
    phase: Option<Phase>,
}

impl Mixer {
    pub fn new(layout: Layout, rate: u32) -> Self {
        let phase = layout.stereo.then(|| Phase::new(rate));
        Self { layout, phase }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Appends what is mixed so far to `out`; of stereo, the last 200 ms wait for what follows.
    pub fn push(&mut self, planes: &[&[f32]], out: &mut Vec<f32>) {
        match (&mut self.phase, planes) {
            (_, [only]) => out.extend_from_slice(only),
            (Some(phase), [left, right]) => phase.push(left, right, out),
            (_, [first, rest @ ..]) => {
                let from = out.len();
                out.extend(first.iter().map(|sample| sample * self.layout.weights[0]));
                for (plane, weight) in rest.iter().zip(&self.layout.weights[1..]).filter(|(_, weight)| **weight > 0.0) {
                    for (sum, sample) in out[from..].iter_mut().zip(*plane) {
                        *sum += sample * weight;
                    }
                }
            }
            (_, []) => {}
        }
    }

    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if let Some(phase) = &mut self.phase {
            phase.finish(out);
        }
    }

    /// Samples in which the channels were against each other.
    pub fn out_of_phase(&self) -> u64 {
        self.phase.as_ref().map_or(0, |phase| phase.against)
    }
}

/// The mix of two channels that may be against each other.
struct Phase {
    /// Samples in a block.
    block: usize,
    left: Vec<f32>,
    right: Vec<f32>,
    /// Samples of `left` that are in `judged`.
    seen: usize,
    /// Energy of left and right, and their product, of each whole block that waits.
    judged: std::collections::VecDeque<[f32; 3]>,
    /// Taken off the right channel instead of added.
    turned: bool,
    /// Whether a block has been mixed.
    begun: bool,
    against: u64,
}

impl Phase {
    fn new(rate: u32) -> Self {
        let block = (rate / 50).max(1) as usize;
        Self {
            block,
            left: Vec::new(),
            right: Vec::new(),
            seen: 0,
            judged: Default::default(),
            turned: false,
            begun: false,
            against: 0,
        }
    }

    fn push(&mut self, left: &[f32], right: &[f32], out: &mut Vec<f32>) {
        self.left.extend_from_slice(left);
        self.right.extend_from_slice(right);
        let mut mixed = 0;
        while self.left.len() - self.seen >= self.block {
            let next = self.seen..self.seen + self.block;
            self.judged.push_back(energies(&self.left[next.clone()], &self.right[next]));
            self.seen += self.block;
            if self.judged.len() == WINDOW {
                self.mix(mixed, self.block, out);
                mixed += self.block;
            }
        }
        self.left.drain(..mixed);
        self.right.drain(..mixed);
        self.seen -= mixed;
    }

    fn finish(&mut self, out: &mut Vec<f32>) {
        if self.left.len() > self.seen {
            self.judged.push_back(energies(&self.left[self.seen..], &self.right[self.seen..]));
        }
        let mut mixed = 0;
        while mixed < self.left.len() {
            let count = self.block.min(self.left.len() - mixed);
            self.mix(mixed, count, out);
            mixed += count;
        }
        self.left.clear();
        self.right.clear();
        self.judged.clear();
        self.seen = 0;
    }

    /// Mixes the oldest block that waits.
    fn mix(&mut self, from: usize, count: usize, out: &mut Vec<f32>) {
        let [left, right, product] = self.judged.iter().fold([0.0; 3], |[a, b, c], [d, e, f]| [a + d, b + e, c + f]);
        let alike = product / (left * right).sqrt();
        let before = self.turned;
        // What is too soft to be judged stays as it was, and so does what is neither.
        if left.min(right) > SOFTEST * (self.block * self.judged.len()) as f32 {
            self.turned = if before { alike < LEAVE } else { alike < ENTER };
        }
        self.judged.pop_front();
        self.against += if self.turned { count as u64 } else { 0 };
        let (left, right) = (&self.left[from..from + count], &self.right[from..from + count]);
        let sign = |turned: bool| if turned { -0.5 } else { 0.5 };
        // The first block of all is as it should be at once.
        let first = !std::mem::replace(&mut self.begun, true);
        if before == self.turned || first {
            let sign = sign(self.turned);
            out.extend(left.iter().zip(right).map(|(left, right)| 0.5 * left + sign * right));
        } else {
            let (from, step) = (sign(before), (sign(self.turned) - sign(before)) / count as f32);
            let faded = left.iter().zip(right).enumerate();
            out.extend(faded.map(|(at, (left, right))| 0.5 * left + (from + step * at as f32) * right));
        }
    }
}

/// Eight sums beside one another, which the processor adds at once.
fn energies(left: &[f32], right: &[f32]) -> [f32; 3] {
    let mut sums = [[0.0f32; 8]; 3];
    let (left, right) = (left.chunks_exact(8), right.chunks_exact(8));
    let rest = left.remainder().iter().zip(right.remainder());
    let rest = rest.fold([0.0; 3], |[a, b, c], (left, right)| [a + left * left, b + right * right, c + left * right]);
    for (left, right) in left.zip(right) {
        for lane in 0..8 {
            sums[0][lane] += left[lane] * left[lane];
            sums[1][lane] += right[lane] * right[lane];
            sums[2][lane] += left[lane] * right[lane];
        }
    }
    [0, 1, 2].map(|which| sums[which].iter().sum::<f32>() + rest[which])
}

const CENTRE: f32 = 1.0;
const SIDE: f32 = 0.707;
const REAR: f32 = 0.4;
/// Blocks of 20 ms that are judged together: a syllable.
const WINDOW: usize = 10;
/// Correlation below which the channels are against each other, and above which they are so no more. Two
/// microphones in one room stay above −0.3; a channel turned upside down is at −1, with some room left for noise.
const ENTER: f32 = -0.7;
const LEAVE: f32 = -0.3;
/// Mean square below which nothing is judged: −70 dBFS.
const SOFTEST: f32 = 1e-7;

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin() * 0.5).collect()
    }

    fn mixed(layout: Layout, planes: &[&[f32]]) -> (Vec<f32>, f64) {
        let mut mixer = Mixer::new(layout, 48_000);
        let mut out = Vec::new();
        for at in (0..planes[0].len()).step_by(1_152) {
            let part: Vec<_> = planes.iter().map(|plane| &plane[at..plane.len().min(at + 1_152)]).collect();
            mixer.push(&part, &mut out);
        }
        mixer.finish(&mut out);
        assert_eq!(out.len(), planes[0].len());
        (out, mixer.out_of_phase() as f64 / 48_000.0)
    }

    fn rms(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn mono_stays_as_it_is_and_stereo_becomes_its_mean() {
        let (a, b) = (tone(10_000, 0.05), tone(10_000, 0.031));
        assert_eq!(mixed(Layout::usual(1), &[&a]).0, a);
        let mean: Vec<f32> = a.iter().zip(&b).map(|(a, b)| 0.5 * a + 0.5 * b).collect();
        assert_eq!(mixed(Layout::usual(2), &[&a, &b]), (mean, 0.0));
    }

    #[test]
    fn speech_whose_channels_are_against_each_other_is_kept_from_its_first_sample() {
        let a = tone(48_000, 0.05);
        let turned: Vec<f32> = a.iter().map(|sample| -sample).collect();
        let (out, against) = mixed(Layout::usual(2), &[&a, &turned]);
        assert_eq!(out, a);
        assert!((against - 1.0).abs() < 1e-9, "{against}");
    }

    #[test]
    fn the_mix_changes_with_the_phase_and_never_falls_silent() {
        let a = tone(144_000, 0.05);
        let b: Vec<f32> =
            a.iter().enumerate().map(|(at, x)| if (48_000..96_000).contains(&at) { -x } else { *x }).collect();
        let (out, against) = mixed(Layout::usual(2), &[&a, &b]);
        assert!((against - 1.0).abs() < 0.25, "{against}");
        let softest = out.chunks(4_800).map(rms).fold(1.0, f32::min);
        assert!(softest > 0.1, "{softest}");
        assert!(rms(&out[60_000..84_000]) > 0.35);
    }

    #[test]
    fn a_dead_channel_and_unrelated_channels_are_not_out_of_phase() {
        let (a, dead, other) = (tone(48_000, 0.05), vec![0.0; 48_000], tone(48_000, 0.0317));
        let (out, against) = mixed(Layout::usual(2), &[&a, &dead]);
        assert_eq!(against, 0.0);
        assert!((rms(&out) - 0.5 * rms(&a)).abs() < 1e-3);
        assert_eq!(mixed(Layout::usual(2), &[&a, &other]).1, 0.0);
    }

    #[test]
    fn the_centre_outweighs_the_others_and_a_subwoofer_is_left_out() {
        let (voice, silent) = (vec![0.5; 100], vec![0.0; 100]);
        let alone = |layout: Layout, channel: usize| {
            let planes: Vec<&[f32]> = (0..usize::from(layout.channels()))
                .map(|at| if at == channel { &voice[..] } else { &silent })
                .collect();
            mixed(layout, &planes).0[50]
        };
        for (layout, [left, centre, low, rear]) in [(Layout::usual(6), [0, 2, 3, 4]), (Layout::xiph(6), [0, 1, 5, 3])] {
            let heard = [left, centre, low, rear].map(|channel| alone(layout.clone(), channel));
            assert!(heard[1] > heard[0] && heard[0] > heard[3] && heard[3] > 0.0, "{heard:?}");
            assert_eq!(heard[2], 0.0);
        }
        assert_eq!(alone(Layout::mask(8, 0), 7), 0.5 / 8.0);
        // A mask that contradicts the number of channels tells nothing.
        assert_eq!(Layout::mask(4, 0x3f), Layout::equal(4));
    }
}
