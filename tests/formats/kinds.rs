//! Every format of the table: how a station's program makes it, what it tells of its length, how like the
//! original it must be, and which of the table's rows it can't hold.

use crate::made::{Plain, Step, kept, run};
use std::path::PathBuf;

pub struct Kind {
    pub name: &'static str,
    pub suffix: &'static str,
    pub rates: &'static [u32],
    pub channels: &'static [u16],
    pub make: fn(&Plain) -> PathBuf,
    pub tells: Tells,
    /// Least correlation with the original: 0.99 for what loses nothing (resampling and 8 bits included); for
    /// the rest a little below what ffmpeg's own decoder gives.
    pub alike: f64,
    /// Why no such file exists.
    pub impossible: fn(u32, u16) -> Option<&'static str>,
    /// Which file Loa refuses, and a word that its refusal must say.
    pub refused: fn(u32, u16) -> Option<&'static str>,
}

impl Tells {
    /// Samples at 48 kHz that may be too many before and behind.
    pub fn allowed(&self, rate: u32) -> (f64, f64) {
        let at_48 = |samples: u32| f64::from(samples) * 48_000.0 / f64::from(rate) + 1.0;
        match self {
            Self::Samples => (0.0, 1.0),
            Self::Milliseconds => (0.0, MILLISECOND),
            Self::Frames { before, behind } => (at_48(*before), at_48(*behind)),
        }
    }
}

/// In samples at 48 kHz.
pub const MILLISECOND: f64 = 48.0;

/// What a format says of its length, and so how exactly it must come out.
pub enum Tells {
    /// All of it: to one sample.
    Samples,
    /// To the millisecond.
    Milliseconds,
    /// Nothing, or only whole frames. Up to so many samples of the file's own rate too many before and behind,
    /// since the file can't say which of its samples the encoder added.
    Frames { before: u32, behind: u32 },
}

/// All of them, test by test.
pub const ALL: &[&[Kind]] = &[WAV, RF64, FLAC, MP3, AAC, ALAC, PCM, VORBIS, OPUS];

pub const RATES: &[u32] = &[8_000, 22_050, 44_100, 48_000, 96_000];
pub const CHANNELS: &[u16] = &[1, 2, 6];
const CD: &[u32] = &[44_100];

/// For what holds every row.
fn none(_: u32, _: u16) -> Option<&'static str> {
    None
}

const LOSSLESS: Kind = Kind {
    name: "",
    suffix: "",
    rates: RATES,
    channels: CHANNELS,
    make: |plain| plain.path.clone(),
    tells: Tells::Samples,
    alike: 0.99,
    impossible: none,
    refused: none,
};

/// The plain WAV itself, and each other way that a WAV stores a sample, at one rate.
pub const WAV: &[Kind] = &[
    Kind { name: "wav s16", suffix: "wav", ..LOSSLESS },
    Kind { name: "wav u8", suffix: "wav", rates: CD, make: |plain| wav(plain, "pcm_u8"), ..LOSSLESS },
    Kind { name: "wav s24", suffix: "wav", rates: CD, make: |plain| wav(plain, "pcm_s24le"), ..LOSSLESS },
    Kind { name: "wav s32", suffix: "wav", rates: CD, make: |plain| wav(plain, "pcm_s32le"), ..LOSSLESS },
    Kind { name: "wav f32", suffix: "wav", rates: CD, make: |plain| wav(plain, "pcm_f32le"), ..LOSSLESS },
    Kind { name: "wav f64", suffix: "wav", rates: CD, make: |plain| wav(plain, "pcm_f64le"), ..LOSSLESS },
    Kind { name: "wav alaw", suffix: "wav", rates: CD, make: |plain| wav(plain, "pcm_alaw"), ..LOSSLESS },
    Kind { name: "wav mulaw", suffix: "wav", rates: CD, make: |plain| wav(plain, "pcm_mulaw"), ..LOSSLESS },
    Kind {
        name: "wav adpcm_ms",
        suffix: "wav",
        rates: CD,
        make: |plain| wav(plain, "adpcm_ms"),
        // ffmpeg fills the last block and its "fact" chunk counts the fill.
        tells: Tells::Frames { before: 0, behind: 2_036 },
        impossible: only_stereo,
        ..LOSSLESS
    },
    Kind {
        name: "wav adpcm_ima",
        suffix: "wav",
        rates: CD,
        make: |plain| wav(plain, "adpcm_ima_wav"),
        tells: Tells::Frames { before: 0, behind: 2_041 },
        impossible: only_stereo,
        ..LOSSLESS
    },
    Kind { name: "wav 192 kHz", suffix: "wav", rates: &[192_000], ..LOSSLESS },
    // Seven channels of murmur around the centre.
    Kind { name: "wav 8 channels", suffix: "wav", rates: CD, channels: &[8], alike: 0.98, ..LOSSLESS },
];

pub const RF64: &[Kind] = &[Kind {
    name: "rf64",
    suffix: "wav",
    make: |plain| through(plain, "wav", "-c:a pcm_s16le -rf64 always -f wav"),
    ..LOSSLESS
}];

pub const FLAC: &[Kind] = &[
    Kind {
        name: "flac",
        suffix: "flac",
        make: |plain| plain.through(&[Step::run("flac", "-s -f --channel-map=none -o OUT IN")], "flac"),
        ..LOSSLESS
    },
    Kind {
        name: "flac s24",
        suffix: "flac",
        rates: CD,
        make: |plain| through(plain, "flac", "-c:a flac -sample_fmt s32 -bits_per_raw_sample 24 -f flac"),
        ..LOSSLESS
    },
];

/// What LAME's own header tells: delay and padding, to the sample.
const LAYER3: Kind = Kind { suffix: "mp3", alike: 0.97, impossible: not_in_mp3, ..LOSSLESS };

pub const MP3: &[Kind] = &[
    Kind {
        name: "mp3 cbr",
        make: |plain| plain.through(&[Step::run("lame", "--quiet --cbr -b 64 --resample RATE IN OUT")], "mp3"),
        ..LAYER3
    },
    Kind {
        name: "mp3 vbr",
        make: |plain| plain.through(&[Step::run("lame", "--quiet -V 3 --resample RATE IN OUT")], "mp3"),
        ..LAYER3
    },
    Kind {
        name: "mp3 tags, cover",
        make: |plain| {
            let cover = kept("cover 1", "jpg", |out| {
                let picture = ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=s=640x480", "-frames:v", "1"];
                run("ffmpeg", &[&picture[..], &[out.to_str().unwrap()]].concat());
            });
            let tags = format!("--tt Thông_báo --ta Xã --pad-id3v2-size 40000 --ti {}", cover.display());
            let encode = format!("--quiet --cbr -b 64 --resample RATE {tags} IN OUT");
            plain.through(&[Step::run("lame", &encode)], "mp3")
        },
        ..LAYER3
    },
    Kind {
        name: "mp3 by ffmpeg",
        make: |plain| through(plain, "mp3", "-c:a libmp3lame -metadata title=Thông_báo -write_id3v1 1 -f mp3"),
        // ffmpeg can't write a padding below the decoder's delay of 529, and its own decoder gives as much too many.
        tells: Tells::Frames { before: 0, behind: 529 },
        ..LAYER3
    },
    Kind {
        name: "mp3 behind junk",
        make: |plain| {
            let encode = Step::run("lame", "--quiet --cbr -b 64 --resample RATE IN OUT");
            let junk = Step::bytes("five thousand bytes of junk 1", |file, _| [junk(5_000), file].concat());
            plain.through(&[encode, junk], "mp3")
        },
        ..LAYER3
    },
    Kind {
        name: "mp3 bare",
        make: |plain| through(plain, "mp3", "-c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0 -f mp3"),
        // Nothing tells of the encoder's delay of 576 (LAME: 1,105 with the decoder's 529), nor of the fill to
        // whole frames of 1,152.
        tells: Tells::Frames { before: 1_105, behind: 2 * 1_152 },
        ..LAYER3
    },
];

/// AAC-LC of more than two channels is left to a foreign decoder.
const ADVANCED: Kind = Kind { alike: 0.97, refused: |_, channels| (channels > 2).then_some("channel"), ..LOSSLESS };

pub const AAC: &[Kind] = &[
    Kind {
        name: "aac adts",
        suffix: "aac",
        make: |plain| through(plain, "aac", "-c:a aac -f adts"),
        // ADTS has no length and no word of the encoder's 1,024 samples of priming; the last frame is filled up,
        // and a frame follows that empties the encoder.
        tells: Tells::Frames { before: 1_024, behind: 2 * 1_024 },
        ..ADVANCED
    },
    Kind {
        name: "m4a aac",
        suffix: "m4a",
        make: |plain| through(plain, "m4a", "-c:a aac -movflags +faststart -f ipod"),
        // The edit list's duration counts thousandths of a second.
        tells: Tells::Milliseconds,
        ..ADVANCED
    },
    Kind {
        name: "mp4 video",
        suffix: "mp4",
        make: |plain| {
            let video = "-f lavfi -i testsrc=s=160x120:r=10:d=3.4 -map 1:v -map 0:a -c:v mpeg4";
            through(plain, "mp4", &format!("{video} -c:a aac -f mp4"))
        },
        tells: Tells::Milliseconds,
        ..ADVANCED
    },
    Kind {
        name: "caf aac",
        suffix: "caf",
        make: |plain| plain.through(&[Step::ffmpeg("-c:a aac -f adts"), Step::bytes("caf 2", caf_of_adts)], "caf"),
        ..ADVANCED
    },
];

pub const ALAC: &[Kind] = &[
    Kind {
        name: "m4a alac",
        suffix: "m4a",
        make: |plain| through(plain, "m4a", "-c:a alac -f ipod"),
        tells: Tells::Milliseconds,
        ..LOSSLESS
    },
    Kind { name: "caf alac", suffix: "caf", make: |plain| through(plain, "caf", "-c:a alac -f caf"), ..LOSSLESS },
];

pub const PCM: &[Kind] = &[
    Kind { name: "aiff", suffix: "aiff", make: |plain| through(plain, "aiff", "-c:a pcm_s16be -f aiff"), ..LOSSLESS },
    Kind {
        name: "aifc sowt",
        suffix: "aifc",
        make: |plain| through(plain, "aifc", "-c:a pcm_s16le -f aiff"),
        ..LOSSLESS
    },
    Kind {
        name: "aifc fl32",
        suffix: "aifc",
        rates: CD,
        make: |plain| through(plain, "aifc", "-c:a pcm_f32be -f aiff"),
        ..LOSSLESS
    },
    Kind { name: "caf pcm", suffix: "caf", make: |plain| through(plain, "caf", "-c:a pcm_s16be -f caf"), ..LOSSLESS },
];

const OGG: Kind = Kind { suffix: "ogg", alike: 0.97, ..LOSSLESS };

pub const VORBIS: &[Kind] = &[
    Kind {
        name: "ogg vorbis",
        make: |plain| plain.through(&[Step::run("oggenc", "-Q -q 5 -s 7 -o OUT IN")], "ogg"),
        ..OGG
    },
    Kind {
        name: "ogg vorbis chained",
        make: |plain| chained(plain, "oggenc", |serial| format!("-Q -q 5 -s {serial} -o OUT IN")),
        ..OGG
    },
    Kind {
        name: "webm vorbis",
        suffix: "webm",
        make: |plain| through(plain, "webm", "-c:a libvorbis -f webm"),
        // ffmpeg writes no DiscardPadding with Vorbis, and a Duration that counts its last block whole, of
        // which at most 1,024 samples are behind the sound.
        tells: Tells::Frames { before: 0, behind: 1_024 },
        ..OGG
    },
    Kind {
        name: "mkv vorbis",
        suffix: "mkv",
        make: |plain| through(plain, "mkv", "-c:a libvorbis -f matroska"),
        tells: Tells::Frames { before: 0, behind: 1_024 },
        ..OGG
    },
];

/// At 22.05 kHz Opus chooses a mode that shifts the lower half of the band against the upper: opusdec itself gives
/// 0.968, where ffmpeg gives 0.991.
const OPUS_IN_OGG: Kind = Kind { suffix: "opus", alike: 0.95, ..OGG };

pub const OPUS: &[Kind] = &[
    Kind {
        name: "ogg opus",
        make: |plain| plain.through(&[Step::run("opusenc", "--quiet --serial 7 IN OUT")], "opus"),
        ..OPUS_IN_OGG
    },
    Kind {
        name: "ogg opus chained",
        // Each of the two is rounded to 48 kHz by itself.
        tells: Tells::Milliseconds,
        make: |plain| chained(plain, "opusenc", |serial| format!("--quiet --serial {serial} IN OUT")),
        ..OPUS_IN_OGG
    },
    Kind {
        name: "webm opus",
        suffix: "webm",
        make: |plain| through(plain, "webm", "-ar 48000 -c:a libopus -b:a 192k -f webm"),
        // DiscardPadding tells nanoseconds; ffmpeg's pre-skip counts at 48 kHz.
        tells: Tells::Milliseconds,
        ..OGG
    },
    Kind {
        name: "mkv opus",
        suffix: "mkv",
        make: |plain| through(plain, "mkv", "-ar 48000 -c:a libopus -b:a 192k -f matroska"),
        tells: Tells::Milliseconds,
        ..OGG
    },
];

fn only_stereo(_: u32, channels: u16) -> Option<&'static str> {
    (channels > 2).then_some("ADPCM in WAV has one or two channels")
}

fn not_in_mp3(rate: u32, channels: u16) -> Option<&'static str> {
    if rate > 48_000 {
        Some("MPEG-1 Layer III ends at 48 kHz (ISO/IEC 11172-3 §2.4.2.3)")
    } else {
        (channels > 2).then_some("MPEG-1 Layer III has one or two channels (ISO/IEC 11172-3 §2.4.2.3)")
    }
}

fn wav(plain: &Plain, codec: &str) -> PathBuf {
    through(plain, "wav", &format!("-c:a {codec} -f wav"))
}

fn through(plain: &Plain, suffix: &str, arguments: &str) -> PathBuf {
    plain.through(&[Step::ffmpeg(arguments)], suffix)
}

/// Two Ogg streams, one behind the other (RFC 3533 §4), the first of them a second and a bit.
fn chained(plain: &Plain, program: &'static str, arguments: fn(u32) -> String) -> PathBuf {
    let half = |trim: &str, serial| {
        let cut = Step::run("sox", &format!("-D IN -t wavpcm OUT trim {trim}"));
        plain.through(&[cut, Step::run(program, &arguments(serial))], "ogg")
    };
    let cut = plain.rate + plain.rate / 7;
    let parts = [half(&format!("0 {cut}s"), 7), half(&format!("{cut}s"), 8)];
    let name = format!("chain of {parts:?}");
    let join = move |_: Vec<u8>, _: &Plain| parts.iter().flat_map(|part| std::fs::read(part).unwrap()).collect();
    plain.through(&[Step::Bytes(Box::leak(name.into_boxed_str()), Box::new(join))], "ogg")
}

/// AAC in a CAF as Apple's programs write it, which ffmpeg can't (Core Audio Format 1.0). The packet table tells
/// priming and remainder, to the sample.
///
/// ```text
/// │ "caff" 1 0 │ "desc" │ "kuki" │ "pakt": packets 8, valid frames 8, priming 4, remainder 4, sizes │ "data" │
/// ```
fn caf_of_adts(adts: Vec<u8>, plain: &Plain) -> Vec<u8> {
    let (mut packets, mut rest) = (Vec::new(), adts.as_slice());
    while let [0xff, _, _, third, fourth, fifth, ..] = rest {
        // ISO/IEC 13818-7 §6.2: 13 bits of length, the header's 7 bytes included.
        let length = usize::from(third & 3) << 11 | usize::from(*fourth) << 3 | usize::from(fifth >> 5);
        packets.push(&rest[7..length]);
        rest = &rest[length..];
    }
    let configuration = {
        let (profile, frequency) = (adts[2] >> 6, adts[2] >> 2 & 15);
        let channels = (adts[2] & 1) << 2 | adts[3] >> 6;
        [(profile + 1) << 3 | frequency >> 1, frequency << 7 | channels << 3]
    };
    // ISO/IEC 14496-1 §8.3.3; Apple writes every length in four bytes.
    let tagged = |tag: u8, content: &[u8]| [&[tag, 0x80, 0x80, 0x80, content.len() as u8], content].concat();
    let decoder = [&[0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &tagged(5, &configuration)].concat();
    let cookie = tagged(3, &[&[0, 0, 0][..], &tagged(4, &decoder), &tagged(6, &[2])].concat());

    let mut description = f64::from(plain.rate).to_be_bytes().to_vec();
    description.extend(b"aac ");
    for field in [2, 0, 1_024, u32::from(plain.channels), 0] {
        description.extend(field.to_be_bytes());
    }
    let mut table = (packets.len() as u64).to_be_bytes().to_vec();
    table.extend(plain.samples.to_be_bytes());
    table.extend(1_024u32.to_be_bytes());
    table.extend((packets.len() as u32 * 1_024 - 1_024 - plain.samples as u32).to_be_bytes());
    for packet in &packets {
        // Seven bits a byte, the highest first.
        if packet.len() > 127 {
            table.push(0x80 | (packet.len() >> 7) as u8);
        }
        table.push(packet.len() as u8 & 0x7f);
    }
    let chunk = |name: &[u8; 4], content: &[u8]| [name, &(content.len() as u64).to_be_bytes()[..], content].concat();
    [
        b"caff\0\x01\0\0".to_vec(),
        chunk(b"desc", &description),
        chunk(b"kuki", &cookie),
        chunk(b"pakt", &table),
        chunk(b"data", &[&[0; 4][..], &packets.concat()].concat()),
    ]
    .concat()
}

/// Noise with bytes among it that look like the beginning of a frame.
pub fn junk(length: usize) -> Vec<u8> {
    let mut state = 20_261_122u32;
    let mut noise = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    (0..length)
        .map(|at| match at % 250 {
            0 => 0xff,
            1 => 0xfb,
            _ => noise.next().unwrap(),
        })
        .collect()
}
