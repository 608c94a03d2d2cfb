//! Decoding in a process of its own, with the real program: the same samples, and nothing that a file or a
//! stranger does reaches this process.
use loa::audio::{Error, Input, Pcm};
use loa::io::decoder::{Form, Isolation};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin.flac");

fn isolated() -> Isolation {
    Isolation { program: Some(env!("CARGO_BIN_EXE_loa").into()), foreign: None }
}

fn through(program: impl Into<PathBuf>) -> Isolation {
    Isolation { program: Some(program.into()), foreign: None }
}

fn ffmpeg(arguments: &[&str]) {
    let output = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("ffmpeg: {error}; apt-get install ffmpeg"));
    assert!(output.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn all(mut input: Box<dyn Input>) -> Result<Vec<f32>, Error> {
    let mut samples = Vec::new();
    while input.read(&mut samples)? {}
    Ok(samples)
}

/// Processes whose parent is this thread's process and whose command line has this word.
fn children(word: &str) -> Vec<u32> {
    let own = std::process::id().to_string();
    let ids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).unwrap_or("");
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        parent == own && String::from_utf8_lossy(&line).contains(word)
    })
    .collect()
}

#[test]
fn a_file_gives_the_same_samples_as_in_this_process_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let wav = folder.path().join("a.wav");
    ffmpeg(&["-i", BULLETIN, "-ar", "22050", "-ac", "2", wav.to_str().unwrap()]);
    for path in [Path::new(BULLETIN), &wav] {
        let (here, there) = (Isolation::default().file(path, "tin").unwrap(), isolated().file(path, "tin").unwrap());
        assert_eq!(here.facts(), there.facts());
        let (here, there) = (all(here).unwrap(), all(there).unwrap());
        assert!(!here.is_empty());
        assert_eq!(here.len(), there.len());
        assert!(here.iter().zip(&there).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", path.display());
    }
}

#[test]
fn what_the_decoder_says_of_a_file_arrives_as_it_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(BULLETIN).unwrap();
    for path in [file("empty.wav", b""), file("text.txt", b"this is no sound"), file("cut.flac", &whole[..5_000])] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let ends = |isolation: Isolation| isolation.file(&path, name).and_then(all).unwrap_err();
        assert_eq!(ends(Isolation::default()), ends(isolated()));
    }
    let nowhere = isolated().file(&folder.path().join("none.wav"), "none.wav").err().unwrap();
    assert_eq!(nowhere.code, "media.read");
    let a_folder = isolated().file(folder.path(), "tin").err().unwrap();
    assert!(a_folder.text.contains("folder"), "{a_folder}");
    let device = isolated().file(Path::new("/dev/zero"), "zero").err().unwrap();
    assert!(device.text.contains("no regular file"), "{device}");
}

#[test]
fn a_decoder_that_is_killed_midway_is_an_error_with_the_second_reached() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("long.wav");
    // Ten minutes: more than a pipe and both buffers hold.
    ffmpeg(&["-f", "lavfi", "-i", "sine=frequency=440:duration=600", "-ar", "48000", long.to_str().unwrap()]);
    let mut input = isolated().file(&long, "killed-midway.wav").unwrap();
    let mut samples = Vec::new();
    assert_eq!(input.read(&mut samples), Ok(true));
    let found = children("killed-midway.wav");
    assert_eq!(found.len(), 1);
    assert!(Command::new("kill").args(["-KILL", &found[0].to_string()]).status().unwrap().success());
    let error = loop {
        match input.read(&mut samples) {
            Ok(more) => assert!(more, "a killed decoder has no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, "media.decoder");
    let seconds =
        format!("killed-midway.wav: at {:.3} s: the decoder was ended by signal 9", samples.len() as f64 / 48e3);
    assert!(error.text.starts_with(&seconds), "{error}");
    assert!(samples.len() < 600 * 48_000);
    assert!(children("killed-midway.wav").is_empty(), "a zombie is left");
}

#[test]
fn a_decoder_that_is_dropped_is_gone() {
    let input = isolated().file(Path::new(BULLETIN), "dropped.flac").unwrap();
    assert_eq!(children("dropped.flac").len(), 1);
    drop(input);
    assert!(children("dropped.flac").is_empty());
}

#[test]
fn a_program_that_is_not_there_or_not_loa_is_said_to_be_so() {
    let error = through("/nowhere/loa").file(Path::new(BULLETIN), "a.flac").err().unwrap();
    assert!(error.text.contains("/nowhere/loa can't be started"), "{error}");
    for (program, what) in
        [("/bin/true", "ended with exit code 0"), ("/bin/cat", "exit code 1"), ("/bin/echo", "is not understood")]
    {
        let error = through(program).file(Path::new(BULLETIN), "a.flac").err().unwrap();
        assert_eq!(error.code, "media.decoder", "{program}");
        assert!(error.text.starts_with("a.flac: ") && error.text.contains(what), "{program}: {error}");
    }
}

#[test]
fn a_stream_comes_out_as_it_goes_in_and_ends_with_its_writer() {
    let pcm: Pcm = "s16le:48000:1".parse().unwrap();
    let (mut mouth, begin) = isolated().stream(Form::Pcm(pcm), "studio").unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..20 {
            mouth.write_all(&vec![0u8; 9_600]).unwrap();
        }
    });
    let samples = all(begin().unwrap()).unwrap();
    writer.join().unwrap();
    assert_eq!(samples.len(), 96_000);
}

/// Bits, the lowest of each byte first, as Vorbis packs them (Vorbis I §2.1.4).
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        self.0.extend((0..count).map(|at| value.checked_shr(at).unwrap_or(0) & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    }
}

/// Seven kilobytes that ask for over 4 GiB: 256 codebooks, each as large as the library allows (16 MiB), in a
/// Vorbis setup header.
fn vorbis_bomb() -> Vec<u8> {
    let mut setup = Bits::default();
    setup.put(255, 8);
    for _ in 0..256 {
        setup.put(0x564342, 24);
        setup.put(32, 16);
        setup.put(131_072, 24);
        setup.put(1, 1);
        // All codewords of 17 bits: as many as there are.
        setup.put(16, 5);
        setup.put(131_072, 18);
        setup.put(1, 4);
        setup.put(0, 32 + 32);
        setup.put(0, 4 + 1 + 1);
    }
    setup.put(0, 6 + 41);
    setup.put(1, 1);
    let mut identification = b"\x01vorbis\0\0\0\0\x01\x44\xac\0\0".to_vec();
    identification.extend([0; 12]);
    identification.extend([0xb8, 1]);
    let comment = b"\x03vorbis\0\0\0\0\0\0\0\0\x01".to_vec();
    let mut file = Vec::new();
    let mut writer = ogg::PacketWriter::new(&mut file);
    let page = ogg::PacketWriteEndInfo::EndPage;
    writer.write_packet(identification, 1, page, 0).unwrap();
    writer.write_packet(comment, 1, ogg::PacketWriteEndInfo::NormalPacket, 0).unwrap();
    writer.write_packet([&b"\x05vorbis"[..], &setup.bytes()].concat(), 1, page, 0).unwrap();
    writer.write_packet(vec![0; 100], 1, page, 44_100).unwrap();
    writer.write_packet(vec![0; 100], 1, ogg::PacketWriteEndInfo::EndStream, 88_200).unwrap();
    drop(writer);
    file
}

#[test]
fn a_file_that_asks_for_all_memory_ends_its_decoder_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.ogg");
    fs::write(&path, vorbis_bomb()).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 10_000);
    let error = isolated().file(&path, "bomb.ogg").and_then(all).unwrap_err();
    assert_eq!(error.code, "media.decoder", "{error}");
    assert!(error.text.contains("wanted more memory than the 512 MiB it may take"), "{error}");
}

fn with(foreign: &str) -> Isolation {
    Isolation { foreign: Some(foreign.into()), ..isolated() }
}

#[test]
fn what_loa_does_not_read_goes_through_a_foreign_decoder_only_if_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [("a.ac3", "ac3"), ("a.wma", "wmav2"), ("a.eac3", "eac3")] {
        let path = folder.path().join(name);
        ffmpeg(&["-t", "3", "-i", BULLETIN, "-ar", "44100", "-c:a", codec, "-b:a", "128k", path.to_str().unwrap()]);
        let refused = isolated().file(&path, name).err().unwrap();
        assert!(refused.code == "media.unknown_format" || refused.code == "media.unsupported", "{refused}");
        let input = with("ffmpeg").file(&path, name).unwrap();
        assert!(input.facts().container.contains("ffmpeg"), "{:?}", input.facts());
        assert_eq!(input.facts().rate, 44_100);
        let samples = all(input).unwrap();
        let seconds = samples.len() as f64 / 48e3;
        assert!((2.95..3.2).contains(&seconds), "{name}: {seconds} s");
        let loudest = samples.iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
        assert!((0.05..1.5).contains(&loudest), "{name}: {loudest}");
    }
    assert!(children("ffmpeg").is_empty() && children("a.wma").is_empty(), "somebody is left");
}

#[test]
fn a_foreign_decoder_that_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.mp4");
    fs::write(&text, "this is no sound at all, whatever its name says").unwrap();
    let error = with("ffmpeg").file(&text, "text.mp4").and_then(all).unwrap_err();
    assert_eq!(error.code, "media.foreign");
    assert!(error.text.contains("Invalid data") && error.text.contains("text"), "{error}");
    let error = with("no-such-decoder").file(&text, "text.mp4").err().unwrap();
    assert!(error.text.contains("no-such-decoder can't be started"), "{error}");
    let error = with("/bin/false").file(&text, "text.mp4").and_then(all).unwrap_err();
    assert!(error.code == "media.foreign" && error.text.contains("exit code 1"), "{error}");
    // A playlist inside a file is not followed.
    let list = folder.path().join("list.m3u8");
    fs::write(&list, format!("#EXTM3U\n#EXTINF:10,\n{BULLETIN}\n")).unwrap();
    assert_eq!(with("ffmpeg").file(&list, "list.m3u8").and_then(all).unwrap_err().code, "media.foreign");
}

/// Seconds of computing of this process and of its children that have gone, from /proc/self/stat.
fn computed() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime, stime, cutime, cstime in ticks of 10 ms.
    fields[11..15].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

#[test]
#[ignore = "measures: cargo test --release --test decoder -- --ignored --nocapture --test-threads 1"]
fn the_price_of_a_process_of_its_own_on_ten_minutes_of_mp3() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ten.mp3");
    let long = ["-stream_loop", "-1", "-i", BULLETIN, "-t", "600", "-ar", "44100", "-ac", "2", "-b:a", "128k"];
    ffmpeg(&[&long[..], &[path.to_str().unwrap()]].concat());
    let timed = |work: &dyn Fn()| {
        let before = computed();
        work();
        computed() - before
    };
    let decode = |isolation: &Isolation| {
        let mut input = isolation.file(&path, "ten.mp3").unwrap();
        let mut block = Vec::new();
        while input.read(&mut block).unwrap() {
            block.clear();
        }
    };
    let transcode = |isolation: &Isolation| {
        let open = || isolation.file(&path, "ten.mp3");
        loa::audio::transcode(open, "ten.mp3", &Default::default(), &mut |_, _| Ok(()), |_| ()).unwrap();
    };
    let (here, there) = (Isolation::default(), isolated());
    let (mut decoding, mut whole) = ([0.0; 2], [0.0; 2]);
    for _ in 0..3 {
        for (at, isolation) in [&here, &there].into_iter().enumerate() {
            decoding[at] += timed(&|| decode(isolation)) / 3.0;
            whole[at] += timed(&|| transcode(isolation)) / 3.0;
        }
    }
    println!("decoding: here {:.2} s, there {:.2} s of CPU", decoding[0], decoding[1]);
    println!(
        "transcoding: here {:.2} s, there {:.2} s: {:+.1} %",
        whole[0],
        whole[1],
        (whole[1] / whole[0] - 1.0) * 100.0
    );
}
