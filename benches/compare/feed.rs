//! The same speech for every rival: 24 kb/s of Opus, hard CBR, mono, written as Ogg pages at the pace of sound,
//! so that it's known when each sample entered.
use super::heard::clock;
use ogg::{PacketWriteEndInfo, PacketWriter};
use opus::{Application, Bitrate, Channels, Encoder};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub const BITRATE: i32 = 24_000;

/// A thread that writes until it is dropped.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Feed {
    /// Pages of so many packets from an instant on, each when its last sample would have been spoken.
    pub fn pages(mut out: impl Write + Send + 'static, packet: Duration, together: usize) -> (Self, Duration) {
        let packets = speech(packet);
        let samples = packet.as_micros() as u64 * 48 / 1_000;
        let began = clock();
        let mut writer = PacketWriter::new(Vec::new());
        let head = |writer: &mut PacketWriter<Vec<u8>>, bytes: Vec<u8>| {
            writer.write_packet(bytes, SERIAL, PacketWriteEndInfo::EndPage, 0).expect("memory takes it");
        };
        head(&mut writer, opus_head());
        head(&mut writer, opus_tags());
        let mut number = 0;
        let feed = Self::paced(began, packet * together as u32, move || {
            for at in 1..=together {
                let end = if at == together { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
                let bytes = packets[number % packets.len()].clone();
                number += 1;
                writer.write_packet(bytes, SERIAL, end, number as u64 * samples).expect("memory takes it");
            }
            let page = std::mem::take(writer.inner_mut());
            out.write_all(&page).and_then(|()| out.flush()).is_ok()
        });
        (feed, began)
    }

    /// Sixteen-bit samples at 48 kHz, the same in both channels.
    pub fn samples(mut out: impl Write + Send + 'static) -> Self {
        let sound = sound(50);
        let bytes: Vec<u8> = sound.iter().flat_map(|sample| [*sample; 2]).flat_map(i16::to_le_bytes).collect();
        let piece = Duration::from_millis(20);
        let mut number = 0;
        Self::paced(clock(), piece, move || {
            let piece = bytes.chunks(3_840).nth(number % 50).unwrap_or_default();
            number += 1;
            out.write_all(piece).is_ok()
        })
    }

    fn paced(began: Duration, every: Duration, mut write: impl FnMut() -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = stop.clone();
        let thread = thread::spawn(move || {
            for number in 1.. {
                thread::sleep((began + every * number).saturating_sub(clock()));
                if end.load(Ordering::Acquire) || !write() {
                    break;
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A second or so of packets, to be sent again and again: nobody decodes them here.
fn speech(packet: Duration) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).expect("libopus knows 48 kHz");
    encoder.set_bitrate(Bitrate::Bits(BITRATE)).expect("libopus knows the bitrate");
    encoder.set_vbr(false).expect("libopus knows CBR");
    let count = (1_200 / packet.as_millis()) as usize;
    let samples = packet.as_millis() as usize * 48;
    let sound = sound(count * samples / 960);
    sound.chunks(samples).map(|piece| encoder.encode_vec(piece, 1_275).expect("a whole packet")).collect()
}

/// So many times 20 ms of a voice-like buzz with noise on it: no encoder or server takes it for silence.
fn sound(pieces: usize) -> Vec<i16> {
    let mut noise = 1u32;
    let sample = |at: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let saw = (at % 320) as i32 * 40 - 6_400;
        (saw + (noise >> 20) as i32 - 2_048) as i16
    };
    (0..pieces * 960).map(sample).collect()
}

/// RFC 7845; no pre-skip, so that granule positions are times.
fn opus_head() -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(0u16.to_le_bytes());
    head.extend(48_000u32.to_le_bytes());
    head.extend([0; 3]);
    head
}

fn opus_tags() -> Vec<u8> {
    let mut tags = b"OpusTags".to_vec();
    tags.extend(3u32.to_le_bytes());
    tags.extend(b"loa");
    tags.extend(0u32.to_le_bytes());
    tags
}

const SERIAL: u32 = 7;
