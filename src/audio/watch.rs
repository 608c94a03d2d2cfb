//! Is there sound, and is it too much? What an operator must see of a live input or a speaker's output.
use crate::time::RATE;

/// Watches a run of samples as it passes: its level at present, and as events, silence and overload.
///
/// Stream time is counted in samples at 48 kHz from the first one pushed. It looks at steps of 10 ms; an event
/// comes with the end of the step that proves it, and names the time from which it held.
pub struct Watch {
    options: WatchOptions,
    /// Samples pushed so far.
    now: u64,
    step: Step,
    level: SoundLevel,
    /// Running mean square over [`WINDOW`].
    mean_square: f64,
    /// When it was last loud enough, and last overloaded.
    last_sound: u64,
    last_overload: Option<u64>,
    /// Since when sound, or overload, has gone on almost without a break.
    sound_since: Option<u64>,
    /// Overloaded steps, the older the less.
    strain: f64,
    silent: bool,
    overloaded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WatchOptions {
    /// RMS over 10 ms below which there is no sound, dBFS.
    pub silence: f64,
    /// Seconds of that before it is called silence.
    pub silence_after: f64,
    /// dB: a limiter that takes more off is overloaded.
    pub limiting: f64,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { silence: -55.0, silence_after: 5.0, limiting: 10.0 }
    }
}

/// What happened; times in samples from the first one pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// No sound since then.
    Silence { since: u64 },
    /// Sound again, from then on.
    Sound { from: u64 },
    /// Clipping, or a limiter at work, for most of the last second.
    Overload { since: u64 },
    /// The last overload was then.
    Clear { from: u64 },
}

/// dBFS; −∞ for digital silence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoundLevel {
    /// Highest sample; it falls by 20 dB in a second (as the needle of a peak programme meter).
    pub peak: f64,
    /// Root mean square over about 400 ms: a sine at full scale has −3.
    pub rms: f64,
}

#[derive(Default)]
struct Step {
    count: usize,
    peak: f32,
    squares: f64,
    /// Samples at full scale.
    full: u32,
    reduction: f64,
}

impl Watch {
    pub fn new(options: WatchOptions) -> Self {
        Self {
            options,
            now: 0,
            step: Step::default(),
            level: SoundLevel { peak: f64::NEG_INFINITY, rms: f64::NEG_INFINITY },
            mean_square: 0.0,
            last_sound: 0,
            last_overload: None,
            sound_since: None,
            strain: 0.0,
            silent: false,
            overloaded: false,
        }
    }

    /// Takes what passes; `reduction` is what a limiter takes off it, dB ([`super::Limiter::reduction`]), 0
    /// without one. Appends what happened.
    pub fn push(&mut self, mut samples: &[f32], reduction: f64, events: &mut Vec<Watched>) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(STEP - self.step.count));
            let step = &mut self.step;
            for sample in now {
                let size = sample.abs();
                step.peak = step.peak.max(size);
                step.squares += f64::from(size * size);
                step.full += u32::from(size >= FULL);
            }
            step.count += now.len();
            step.reduction = step.reduction.max(reduction);
            self.now += now.len() as u64;
            if step.count == STEP {
                let step = std::mem::take(step);
                self.look(&step, events);
            }
            samples = later;
        }
    }

    /// At present.
    pub fn level(&self) -> SoundLevel {
        self.level
    }

    pub fn silent(&self) -> bool {
        self.silent
    }

    pub fn overloaded(&self) -> bool {
        self.overloaded
    }

    fn look(&mut self, step: &Step, events: &mut Vec<Watched>) {
        let begin = self.now - STEP as u64;
        let mean_square = step.squares / STEP as f64;
        self.mean_square += (mean_square - self.mean_square) / WINDOW;
        let peak = 20.0 * f64::from(step.peak).log10();
        let rms = if self.mean_square < 1e-15 { f64::NEG_INFINITY } else { 10.0 * self.mean_square.log10() };
        self.level = SoundLevel { peak: peak.max(self.level.peak - PEAK_FALL), rms };

        if 10.0 * mean_square.log10() >= self.options.silence {
            let since = *self.sound_since.get_or_insert(begin);
            // One click is no sound: a relay that switches must not end an alarm.
            if self.now - since >= SOUND {
                self.last_sound = self.now;
                if self.silent {
                    self.silent = false;
                    events.push(Watched::Sound { from: since });
                }
            }
        } else {
            self.sound_since = None;
            let silence = self.now - self.last_sound;
            if !self.silent && silence as f64 >= self.options.silence_after * f64::from(RATE) {
                self.silent = true;
                events.push(Watched::Silence { since: self.last_sound });
            }
        }

        let strained = step.full >= CLIPPED || step.reduction > self.options.limiting;
        self.strain += (f64::from(u8::from(strained)) - self.strain) / STRAIN;
        if strained {
            self.last_overload = Some(self.now);
            if !self.overloaded && self.strain > OVERLOADED {
                self.overloaded = true;
                events.push(Watched::Overload { since: begin });
            }
        }
        if let (true, Some(last)) = (self.overloaded, self.last_overload)
            && self.now - last >= CLEAR
        {
            self.overloaded = false;
            events.push(Watched::Clear { from: last });
        }
    }
}

/// Samples of one look: 10 ms.
const STEP: usize = RATE as usize / 100;
/// Steps of the mean square: 400 ms.
const WINDOW: f64 = 40.0;
/// dB per step.
const PEAK_FALL: f64 = 0.2;
/// A sample this high is at full scale in 16 bits, whatever scaled it.
const FULL: f32 = 0.9995;
/// Samples at full scale in 10 ms that are no chance.
const CLIPPED: u32 = 2;
/// Samples: sound shorter than 50 ms is a click.
const SOUND: u64 = RATE as u64 / 20;
/// Steps that strain remembers: one second. It is an overload when a quarter of them were strained: a
/// speaker's vowels clip while the rest of each syllable doesn't.
const STRAIN: f64 = 100.0;
const OVERLOADED: f64 = 0.25;
/// Samples without strain that end an overload: three seconds.
const CLEAR: u64 = 3 * RATE as u64;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: usize = RATE as usize;

    fn sine(seconds: f64, size: f32) -> Vec<f32> {
        (0..(seconds * f64::from(RATE)) as usize).map(|at| (at as f32 * 0.05).sin() * size).collect()
    }

    fn watched(samples: &[f32]) -> Vec<Watched> {
        let (mut watch, mut events) = (Watch::new(WatchOptions::default()), Vec::new());
        for piece in samples.chunks(960) {
            watch.push(piece, 0.0, &mut events);
        }
        events
    }

    #[test]
    fn silence_is_told_after_five_seconds_of_it_and_so_is_its_end() {
        let mut samples = sine(2.0, 0.1);
        samples.extend(sine(7.0, 0.001));
        samples.extend(sine(1.0, 0.1));
        let since = 2 * SECOND as u64;
        assert_eq!(watched(&samples), [Watched::Silence { since }, Watched::Sound { from: 9 * SECOND as u64 }]);
    }

    #[test]
    fn an_input_that_never_sounds_is_silent_from_its_beginning() {
        assert_eq!(watched(&vec![0.0; 6 * SECOND]), [Watched::Silence { since: 0 }]);
        assert_eq!(watched(&vec![0.0; 4 * SECOND]), []);
    }

    #[test]
    fn a_pause_is_no_silence_and_a_click_no_sound() {
        let mut samples = Vec::new();
        for _ in 0..4 {
            samples.extend(sine(1.0, 0.1));
            samples.extend(vec![0.0; 4 * SECOND]);
        }
        assert_eq!(watched(&samples), []);
        let mut clicks = vec![0.0; 12 * SECOND];
        for second in 1..12 {
            clicks[second * SECOND] = 0.9;
        }
        assert_eq!(watched(&clicks), [Watched::Silence { since: 0 }]);
    }

    #[test]
    fn clipping_is_told_while_it_lasts() {
        let mut samples = sine(2.0, 0.5);
        samples.extend(sine(2.0, 2.0).iter().map(|sample| sample.clamp(-1.0, 1.0)));
        samples.extend(sine(5.0, 0.5));
        let events = watched(&samples);
        let [Watched::Overload { since }, Watched::Clear { from }] = events[..] else { panic!("{events:?}") };
        assert!((2 * SECOND..3 * SECOND).contains(&(since as usize)), "{since}");
        assert!(from.abs_diff(4 * SECOND as u64) <= STEP as u64, "{from}");
    }

    #[test]
    fn a_single_clipped_syllable_is_no_overload_but_a_limiter_at_its_end_is() {
        let mut samples = sine(2.0, 0.5);
        samples.extend(sine(0.1, 2.0).iter().map(|sample| sample.clamp(-1.0, 1.0)));
        samples.extend(sine(2.0, 0.5));
        assert_eq!(watched(&samples), []);
        let (mut watch, mut events) = (Watch::new(WatchOptions::default()), Vec::new());
        for piece in sine(2.0, 0.5).chunks(960) {
            watch.push(piece, 14.0, &mut events);
        }
        assert!(matches!(events[..], [Watched::Overload { .. }]) && watch.overloaded());
    }

    #[test]
    fn the_level_is_peak_and_mean_of_the_last_moments() {
        let (mut watch, mut events) = (Watch::new(WatchOptions::default()), Vec::new());
        assert_eq!(watch.level().rms, f64::NEG_INFINITY);
        watch.push(&sine(3.0, 0.5), 0.0, &mut events);
        let level = watch.level();
        assert!((level.peak + 6.02).abs() < 0.05 && (level.rms + 9.03).abs() < 0.1, "{level:?}");
        watch.push(&vec![0.0; SECOND], 0.0, &mut events);
        assert!((watch.level().peak + 26.02).abs() < 0.5, "{:?}", watch.level());
    }
}
