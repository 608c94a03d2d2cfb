//! Makes a track of stored sound: frames in, sealed packets out, once, where sound enters (DESIGN §3).
use super::text::Failure;
use crate::audio::{self, Frames};
use crate::broadcast::Priority;
use crate::io::identity;
use crate::key::SigningKey;
use crate::time::{Civil, RATE};
use crate::track::{Info, Packet, Print, Secret, Writer};
use bytes::Bytes;
use std::io::Cursor;

/// A track whose packets are all made. Its signing key is gone: nobody can add one.
pub struct Made {
    pub info: Info,
    pub secret: Secret,
    pub packets: Vec<Packet>,
}

/// Samples per packet (DESIGN §3): as long as fits 1,200 bytes and the playout delay allows. `delay` in µs.
pub fn duration(bitrate: u32, priority: Priority, delay: Option<i64>) -> u32 {
    let millis = match bitrate {
        _ if delay.is_some_and(|delay| delay < SHORT_DELAY) => 60,
        _ if priority == Priority::Emergency => 120,
        0..=16_000 => 480,
        16_001..=32_000 => 240,
        _ => 120,
    };
    millis * (RATE / 1_000)
}

/// The same for several renditions of one sound: as short as the one that needs the shortest, since all are cut
/// alike.
pub fn alike(bitrates: &[u32], priority: Priority, delay: Option<i64>) -> u32 {
    bitrates.iter().map(|bitrate| duration(*bitrate, priority, delay)).min().unwrap_or(0)
}

/// Shortest delay at which packets of this priority can still be repaired once, µs.
pub fn shortest_delay(bitrates: &[u32], priority: Priority, delay: i64) -> i64 {
    let samples = alike(bitrates, priority, Some(delay));
    crate::time::micros(u64::from(samples)) + REPAIR
}

/// Draws fresh keys, a fresh id and SSRC: no index is ever encrypted twice under them. The last packet
/// is filled with silence. CPU only, about 0.1 ms per packet.
#[cfg(test)]
pub fn make(frames: &Frames, priority: Priority, delay: Option<i64>, now: Civil) -> Result<Made, Failure> {
    cut(frames, duration(frames.bitrate, priority, delay), now)
}

/// One track of each rendition, all cut alike.
pub fn make_all(
    renditions: &[Frames],
    priority: Priority,
    delay: Option<i64>,
    now: Civil,
) -> Result<Vec<Made>, Failure> {
    let bitrates: Vec<u32> = renditions.iter().map(|frames| frames.bitrate).collect();
    let samples = alike(&bitrates, priority, delay);
    renditions.iter().map(|frames| cut(frames, samples, now)).collect()
}

fn cut(frames: &Frames, samples: u32, now: Civil) -> Result<Made, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::new("media.packets", [error]);
    let per_packet = samples as usize / audio::FRAME;
    let secret = Secret { key: identity::random(), salt: identity::random() };
    let key = SigningKey::from_seed(&identity::random());
    let count = frames.frames.len().div_ceil(per_packet);
    let info = Info {
        id: identity::new_id(now),
        sign: key.public(),
        ssrc: u32::from_be_bytes(identity::random()),
        duration: samples,
        // The trunk sets it when it airs the track; the packets don't depend on it.
        anchor: now,
        key_hash: secret.hash(),
        bitrate: frames.bitrate,
        packets: Some(count as u64),
    };
    let mut writer = Writer::new(info.clone(), &secret, key, Writer::room(frames.bitrate, samples));
    let mut packets = Vec::with_capacity(count);
    for part in frames.frames.chunks(per_packet) {
        let packet = match part.len() == per_packet {
            true => writer.write(&audio::join(part), now),
            false => {
                let mut filled = part.to_vec();
                filled.resize(per_packet, silence(frames.bitrate)?);
                writer.write(&audio::join(&filled), now)
            }
        };
        packets.push(packet.map_err(|error| wrong(&error))?);
    }
    Ok(Made { info, secret, packets })
}

/// The sound `times` times, with silence between.
pub fn repeat(frames: Frames, times: u32, pause_ms: u32) -> Result<Frames, Failure> {
    let pause = pause_ms as usize * (RATE as usize / 1_000) / audio::FRAME;
    let length = (frames.frames.len() + pause).saturating_mul(times as usize);
    if !TIMES.contains(&times) || pause_ms > LONGEST_PAUSE || times > 1 && length > LONGEST_REPEATED {
        return Err(Failure::new("air.times", [TIMES.end(), &(LONGEST_PAUSE / 1_000)]));
    }
    if times == 1 {
        return Ok(frames);
    }
    let silence = silence(frames.bitrate)?;
    let mut all = Vec::with_capacity(length);
    for time in 0..times {
        if time > 0 {
            all.resize(all.len() + pause, silence.clone());
        }
        all.extend_from_slice(&frames.frames);
    }
    Ok(Frames { frames: all, ..frames })
}

/// The hash of the sound that a rendition becomes, cut so (`track::Print`): as the track's maker and whoever hears all
/// of it compute it. `None` of no frames.
pub fn print(frames: &Frames, samples: u32) -> Result<Option<[u8; 32]>, Failure> {
    let per_packet = (samples as usize / audio::FRAME).max(1);
    let mut print = Print::default();
    let parts = frames.frames.chunks(per_packet);
    let count = parts.len() as u64;
    for (index, part) in parts.enumerate() {
        let mut filled = part.to_vec();
        if part.len() < per_packet {
            filled.resize(per_packet, silence(frames.bitrate)?);
        }
        print.take_records(index as u64, audio::join(&filled).iter().map(|record| &record[..]));
    }
    Ok(print.of(count))
}

/// One frame of silence: the third that the encoder makes of nothing, when it has settled.
fn silence(bitrate: u32) -> Result<Bytes, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::new("media.packets", [error]);
    let spec =
        hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut wav = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut wav, spec).map_err(|error| wrong(&error))?;
    for _ in 0..4 * audio::FRAME {
        writer.write_sample(0i16).map_err(|error| wrong(&error))?;
    }
    writer.finalize().map_err(|error| wrong(&error))?;
    let wav = Bytes::from(wav.into_inner());
    let options = audio::Options { bitrates: vec![bitrate], ..Default::default() };
    let (frames, _) = audio::frames_of(|| Ok(Cursor::new(wav.clone())), "silence", &options, |_| ())
        .map_err(|error| Failure::from_room(error.code, error.text))?;
    frames
        .first()
        .and_then(|frames| frames.frames.get(2))
        .cloned()
        .ok_or_else(|| wrong(&"the encoder makes nothing of silence"))
}

/// µs. Below this delay packets are as short as within one LAN (DESIGN §3: 40–60 ms).
const SHORT_DELAY: i64 = 500_000;
/// How often in one broadcast; more than anybody listens to.
const TIMES: std::ops::RangeInclusive<u32> = 1..=20;
/// ms: five seconds of silence within a broadcast are a fault (`sound.silent`).
const LONGEST_PAUSE: u32 = 4_000;
/// Frames: three hours.
const LONGEST_REPEATED: usize = 3 * 3_600 * RATE as usize / audio::FRAME;
/// µs that a packet needs beyond its own length: the way down, the device's horizon.
const REPAIR: i64 = 120_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::media::tests::wav;
    use crate::track::{MAX_PACKET, Reader};

    fn frames(bitrate: u32, seconds: f64) -> Frames {
        let options = audio::Options { bitrates: vec![bitrate], complexity: 0, ..Default::default() };
        let wav = wav(seconds);
        audio::frames_of(move || Ok(Cursor::new(wav.clone())), "a.wav", &options, |_| ()).unwrap().0.remove(0)
    }

    #[test]
    fn every_packet_reads_back_whole_whatever_the_bitrate_and_priority() {
        for bitrate in [6_000, 16_000, 24_000, 32_000, 48_000, 64_000] {
            let frames = frames(bitrate, 0.7);
            for priority in [Priority::Normal, Priority::Emergency] {
                for delay in [None, Some(300_000)] {
                    let made = make(&frames, priority, delay, Civil(1)).unwrap();
                    let reader = Reader::new(&made.info, &made.secret).unwrap();
                    assert_eq!(made.info.packets, Some(made.packets.len() as u64));
                    let seconds = made.packets.len() as f64 * f64::from(made.info.duration) / 48_000.0;
                    assert!((0.7..1.2).contains(&seconds), "{bitrate} {seconds}");
                    for packet in &made.packets {
                        assert!(packet.bytes.len() <= MAX_PACKET, "{bitrate}: {}", packet.bytes.len());
                        assert_eq!(packet.bytes.len(), made.packets[0].bytes.len());
                        let sound = reader.read(packet.index, &packet.bytes).unwrap();
                        let samples: usize = sound
                            .records
                            .iter()
                            .map(|record| opus::packet::get_nb_samples(record, RATE).unwrap())
                            .sum();
                        assert_eq!(samples as u32, made.info.duration);
                    }
                }
            }
        }
    }

    #[test]
    fn a_sound_is_repeated_with_silence_between_and_not_for_ever() {
        let once = frames(24_000, 0.5);
        let thrice = repeat(once.clone(), 3, 1_000).unwrap();
        let (sound, pause) = (once.frames.len(), 1_000 / 20);
        assert_eq!(thrice.frames.len(), 3 * sound + 2 * pause);
        for start in [0, sound + pause, 2 * (sound + pause)] {
            assert_eq!(thrice.frames[start..start + sound], once.frames);
        }
        let quiet = silence(24_000).unwrap();
        assert!(thrice.frames[sound..sound + pause].iter().all(|frame| *frame == quiet));
        assert!(thrice.frames.iter().all(|frame| frame.len() == quiet.len()), "hard CBR");
        assert_eq!(repeat(once.clone(), 1, 0).unwrap(), once);
        let code = |times, pause| repeat(once.clone(), times, pause).map_err(|failure| failure.code).unwrap_err();
        for (times, pause) in [(0, 0), (21, 0), (2, 4_001), (u32::MAX, u32::MAX)] {
            assert_eq!(code(times, pause), "air.times");
        }
        let long = Frames { frames: vec![quiet; LONGEST_REPEATED / 2 + 1], bitrate: 24_000 };
        assert_eq!(repeat(long, 2, 0).map_err(|failure| failure.code).unwrap_err(), "air.times");
    }

    #[test]
    fn no_two_tracks_of_one_sound_share_a_key() {
        let frames = frames(24_000, 0.1);
        let a = make(&frames, Priority::Normal, None, Civil(1)).unwrap();
        let b = make(&frames, Priority::Normal, None, Civil(1)).unwrap();
        assert_ne!(a.info.id, b.info.id);
        assert_ne!(a.info.sign, b.info.sign);
        assert_ne!(a.secret, b.secret);
        assert_ne!(a.packets, b.packets);
    }

    #[test]
    fn packets_are_as_long_as_the_design_says() {
        let millis = |bitrate, priority, delay| duration(bitrate, priority, delay) / 48;
        assert_eq!(millis(24_000, Priority::Normal, None), 240);
        assert_eq!(millis(16_000, Priority::Priority, None), 480);
        assert_eq!(millis(64_000, Priority::Normal, None), 120);
        assert_eq!(millis(24_000, Priority::Emergency, None), 120);
        assert_eq!(millis(24_000, Priority::Normal, Some(300_000)), 60);
        assert_eq!(shortest_delay(&[24_000], Priority::Normal, 1_000), 180_000);
        assert_eq!(shortest_delay(&[24_000], Priority::Normal, 600_000), 360_000);
        assert_eq!(shortest_delay(&[16_000], Priority::Normal, 550_000), 600_000);
        // Renditions are cut as the one with the shortest packets.
        assert_eq!(alike(&[16_000, 24_000], Priority::Normal, None) / 48, 240);
        assert_eq!(alike(&[24_000, 64_000, 16_000], Priority::Normal, None) / 48, 120);
        assert_eq!(shortest_delay(&[16_000, 24_000], Priority::Normal, 550_000), 360_000);
    }
}
