//! What a speaker's device lets out is what an offline decoder makes of the same packets: sample by
//! sample, at the sound card's own rate, on real sockets, with and without loss on the last hop.

use super::contract::{self, World};
use super::world::{Options, Sockets};
use loa::audio::{self, Frames};
use loa::io::node::Played;
use loa::io::{clock, identity};
use loa::key::SigningKey;
use loa::sim::check::percentile;
use loa::sim::{Aired, Bulletin};
use loa::time::{RATE, SECOND};
use loa::track::{Info, Packet, Reader, Secret, Sound, Writer};
use std::collections::BTreeSet;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

/// Plays the demonstration's bulletin everywhere and compares what came out of each speaker.
pub fn speakers_play_what_an_offline_decoder_makes_of_the_same_packets(loss: f64) {
    let (info, secret, packets) = sealed(&BULLETIN);
    let sounds = read(&info, &secret, &packets);
    let begun = clock::local();
    let mut world = Sockets::start(Options { loss, wav: true });
    let begun = begun.0 as f64..(clock::local() + SECOND).0 as f64;
    contract::settle(&mut world);
    let made = (info.clone(), secret, packets);
    let aired = world.air_made("origin", &Bulletin::new("vn", 0), made).expect("on the air");
    let length = aired.samples as i64 * SECOND / i64::from(RATE);
    contract::wait_until(&mut world, aired.sounds + length + SECOND);
    let played: Vec<Vec<Played>> = contract::SPEAKERS.iter().map(|speaker| world.played(speaker)).collect();
    for speaker in contract::SPEAKERS {
        if loss == 0.0 {
            contract::assert_whole(&world, speaker, &aired);
        }
        // A file is complete when its node has stopped.
        world.stop(speaker);
    }
    for (speaker, played) in contract::SPEAKERS.iter().zip(&played) {
        let ppm = world.member(speaker).config.playout.as_ref().expect("a speaker").rate_error_ppm;
        let speech = Speech::of(played, &aired, &info, ppm);
        let reference = audio::decode(
            sounds.iter().map(|sound| (!speech.lost.contains(&sound.index)).then_some(sound)),
            info.duration as usize,
        );
        let out = samples(&world.wav(speaker));
        let (zero, correlations) = speech.compare(&out, &reference, &begun);
        let (median, worst) = (percentile(&correlations, 0.5), percentile(&correlations, 0.0));
        println!(
            "{speaker} at {ppm:+} ppm, {:.0} % lost on the way: {} windows, median {median:.6}, worst {worst:.4}, \
             {} packets concealed, first frame {:.2} ms after the start",
            loss * 100.0,
            correlations.len(),
            speech.lost.len(),
            (zero / speech.rate - begun.start) / 1e3
        );
        assert!(correlations.len() > 60, "{speaker}: {} windows with sound", correlations.len());
        assert!(median >= 0.999, "{speaker}: median {median}: {correlations:.4?}");
    }
    if loss > 0.0 {
        let (carried, lost) = world.counted();
        let share = lost as f64 / (carried + lost) as f64;
        assert!((0.02..0.1).contains(&share), "{lost} of {} datagrams were lost", carried + lost);
    }
    assert_eq!(world.foreign(), 0);
}

/// When each sample of one track left one speaker.
struct Speech {
    /// (device frame on a scale without its zero, sample of the track, frames per sample, samples), in
    /// order.
    steps: Vec<(f64, f64, f64, u32)>,
    lost: BTreeSet<u64>,
    /// Device frames per µs.
    rate: f64,
}

impl Speech {
    fn of(played: &[Played], aired: &Aired, info: &Info, ppm: f64) -> Self {
        let rate = f64::from(RATE) * (1.0 + ppm * 1e-6) / 1e6;
        let mine = || played.iter().filter(|played| played.track == Some(aired.track));
        let lost = mine().filter(|played| played.concealed).map(|played| played.sample / u64::from(info.duration));
        let step = |played: &Played| {
            let frames = played.lasts * rate / f64::from(played.count);
            (played.left * rate, played.sample as f64, frames, played.count)
        };
        Self { lost: lost.collect(), steps: mine().map(step).collect(), rate }
    }

    /// Sample of the track that leaves with device frame `frame`.
    fn sample_at(&self, frame: f64) -> Option<f64> {
        let step = self.steps.partition_point(|(begin, ..)| *begin <= frame).checked_sub(1)?;
        let (begin, sample, frames, count) = self.steps[step];
        let within = (frame - begin) / frames;
        (within < f64::from(count)).then_some(sample + within)
    }

    /// Where the file's first frame lies, and the correlation of every 250 ms that aren't silent. Only that
    /// zero of the device's clock is sought, in `begun` (µs); its rate and every step are as its log says.
    fn compare(&self, out: &[i16], reference: &[f32], begun: &Range<f64>) -> (f64, Vec<f64>) {
        // Half a second from the loudest place on.
        let power = |part: &[f32]| part.iter().map(|sample| f64::from(sample * sample)).sum::<f64>();
        let places = (PROBE..reference.len().saturating_sub(2 * PROBE)).step_by(PROBE);
        let loud =
            places.max_by(|a, b| power(&reference[*a..*a + PROBE]).total_cmp(&power(&reference[*b..*b + PROBE])));
        let loud = loud.expect("the bulletin has sound");
        let frame = self.steps.iter().find(|(_, sample, ..)| *sample >= loud as f64).expect("it sounded").0;
        let correlate = |zero: f64, step: usize| {
            let first = (frame - zero).ceil().max(0.0) as usize;
            let last = (first + PROBE).min(out.len());
            self.correlation((first..last).step_by(step), zero, out, reference)
        };
        let search = |from: f64, steps: u32, step: f64, look: usize| {
            let zeros = (0..=steps).map(|at| from + f64::from(at) * step);
            let found = zeros.map(|zero| (correlate(zero, look).unwrap_or(-1.0), zero));
            found.max_by(|a, b| a.0.total_cmp(&b.0)).expect("a place").1
        };
        // Speech is still alike 8 samples off: most of it lies below 2 kHz.
        let steps = ((begun.end - begun.start) * self.rate / 8.0) as u32;
        let coarse = search(begun.start * self.rate, steps, 8.0, 160);
        let whole = search(coarse - 16.0, 32, 1.0, 16);
        let zero = search(whole - 1.0, 64, 1.0 / 32.0, 8);
        let windows = (0..out.len()).step_by(WINDOW).map(|first| first..(first + WINDOW).min(out.len()));
        let windows = windows.map(|window| self.correlation(window.step_by(LOOKS), zero, out, reference));
        (zero, windows.flatten().collect())
    }

    /// `None` for a window that is silent or not full of the track.
    fn correlation(
        &self,
        frames: impl Iterator<Item = usize>,
        zero: f64,
        out: &[i16],
        reference: &[f32],
    ) -> Option<f64> {
        let (mut xx, mut yy, mut xy, mut count, mut all) = (0.0, 0.0, 0.0, 0u32, 0u32);
        for frame in frames {
            all += 1;
            let Some(sample) = self.sample_at(frame as f64 + zero) else { continue };
            let Some(expected) = interpolate(reference, sample) else { continue };
            let (x, y) = (f64::from(out[frame]) / 32_768.0, expected);
            (xx, yy, xy, count) = (xx + x * x, yy + y * y, xy + x * y, count + 1);
        }
        // −50 dBFS: below lies the background between sentences.
        (count * 2 > all && yy / f64::from(count) > 1e-5).then(|| xy / (xx * yy).sqrt().max(1e-12))
    }
}

/// Windowed sinc over 32 samples, computed by the formula: an oracle, not the code under test.
fn interpolate(samples: &[f32], at: f64) -> Option<f64> {
    let (whole, fraction) = (at.floor(), at - at.floor());
    let first = (whole as usize).checked_sub(15)?;
    let taps = samples.get(first..first + 32)?;
    if fraction < 1e-9 {
        return Some(f64::from(taps[15]));
    }
    let sine = (std::f64::consts::PI * fraction).sin() / std::f64::consts::PI;
    // The Hann window's cosine at each tap, by the rule for cosines of sums.
    let turn = std::f64::consts::PI / 16.5;
    let (mut now, mut next) = ((turn * (fraction + 15.0)).cos(), (turn * (fraction + 14.0)).cos());
    let double = 2.0 * turn.cos();
    let mut sum = 0.0;
    for (tap, sample) in taps.iter().enumerate() {
        let distance = fraction - (tap as f64 - 15.0);
        let sign = if tap % 2 == 1 { 1.0 } else { -1.0 };
        sum += f64::from(*sample) * sign * sine / distance * (0.5 + 0.5 * now);
        (now, next) = (next, double * next - now);
    }
    Some(sum)
}

static BULLETIN: LazyLock<Frames> = LazyLock::new(|| {
    let file = include_bytes!("../../config/demo/bulletin.flac");
    let options = audio::Options { complexity: 5, ..audio::Options::default() };
    audio::frames_of(|| Ok(Cursor::new(file)), "bulletin.flac", &options, |_| {}).expect("a FLAC file").0.remove(0)
});

/// Packets of 240 ms; the rest of a packet at the end is left out.
fn sealed(frames: &Frames) -> (Info, Secret, Vec<Packet>) {
    let (secret, seed) = (Secret { key: identity::random(), salt: identity::random() }, identity::random());
    let parts: Vec<_> = frames.frames.chunks_exact(12).collect();
    let info = Info {
        id: identity::new_id(clock::wall()),
        sign: SigningKey::from_seed(&seed).public(),
        ssrc: u32::from_be_bytes(identity::random()),
        duration: 11_520,
        anchor: clock::wall(),
        key_hash: secret.hash(),
        bitrate: frames.bitrate,
        packets: Some(parts.len() as u64),
    };
    let room = Writer::room(info.bitrate, info.duration);
    let mut writer = Writer::new(info.clone(), &secret, SigningKey::from_seed(&seed), room);
    let packet = |part: &[bytes::Bytes]| writer.write(&audio::join(part), clock::wall()).expect("it fits");
    let packets = parts.into_iter().map(packet).collect();
    (info, secret, packets)
}

/// The same packets, read as any listener reads them.
fn read(info: &Info, secret: &Secret, packets: &[Packet]) -> Vec<Sound> {
    let reader = Reader::new(info, secret).expect("its own secret");
    packets.iter().map(|packet| reader.read(packet.index, &packet.bytes).expect("its own packet")).collect()
}

fn samples(file: &Path) -> Vec<i16> {
    let reader = hound::WavReader::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    reader.into_samples().collect::<Result<_, _>>().expect("16 bits")
}

/// 250 ms.
const WINDOW: usize = 12_000;
/// Every third frame of a window is compared: 4,000 of them say what all would.
const LOOKS: usize = 3;
/// Half a second.
const PROBE: usize = 24_000;
