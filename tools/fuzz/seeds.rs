//! Well-formed inputs to start from, by target: what a peer, a disk or a person would really bring.

use crate::targets::{info, node, secret};
use bytes::Bytes;
use loa::broadcast::{
    Body, Broadcast, Cancel, HourLimit, Hush, Lock, Mute, Order, Prefer, Priority, Purpose, Release, Settings, Stagger,
    Tick, Tone, Volume,
};
use loa::io::store::Store;
use loa::key::SigningKey;
use loa::proto::{self, datagram, to_child, to_parent};
use loa::session::frame;
use loa::time::{MILLISECOND, SECOND};
use loa::track::{Cipher, Packet, Writer};
use prost::Message;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Seeds of a target; those of no target in particular are everybody's.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "child_session" => vec![from_parent()],
        "parent_session" => vec![from_child(0)],
        "relay" => vec![relay(), [joined(), from_child(5)].concat(), [from_child(5), relay()].concat()],
        "frames_of_a_stream" => vec![frames()],
        "order" => orders().iter().map(Order::encode).chain([node::grant().encode_to_vec()]).collect(),
        "packet" => sound().into_iter().map(|packet| packet.bytes.to_vec()).chain(hex_strings("track.json")).collect(),
        "opus_records" | "stored_frames" => vec![stored_sound()],
        "media_file" => media(),
        "riff" => made(&[&["-f", "wav"], &["-f", "wav", "-c:a", "adpcm_ms"], &["-f", "wav", "-rf64", "always"]]),
        "flac" => made(&[&["-f", "flac"]]),
        "mp3" => made(&[&["-f", "mp3"], &["-f", "mp3", "-write_xing", "0"]]),
        "adts" => made(&[&["-f", "adts"]]),
        "mp4" => made(&[
            &["-f", "mp4", "-movflags", "+faststart"],
            &["-f", "mp4", "-movflags", "empty_moov"],
            &["-f", "ipod", "-c:a", "alac"],
        ]),
        "ogg" => made(&[
            &["-f", "ogg", "-c:a", "libopus"],
            &["-f", "ogg", "-c:a", "libvorbis"],
            &["-f", "ogg", "-c:a", "flac"],
        ]),
        "matroska" => made(&[
            &["-f", "webm", "-c:a", "libopus"],
            &["-f", "webm", "-c:a", "libvorbis"],
            &["-f", "matroska", "-c:a", "aac"],
        ]),
        "aiff" => made(&[&["-f", "aiff"], &["-f", "aiff", "-c:a", "pcm_f32be"]]),
        "caf" => made(&[&["-f", "caf"], &["-f", "caf", "-c:a", "alac"]]),
        "pcm" => vec![wav(8_000, 2_000, |at| (at * 37) as i16)],
        "names" => ["vn", "vn/01/00004", "34750f98bd59fcfc946da45aaabe933b"].map(bytes).to_vec(),
        "times" => ["+30s", "+5m", "06:30", "23:59:59", "2027-01-15T06:30:00+07:00"].map(bytes).to_vec(),
        "config" => texts("config", "toml"),
        "journal" => vec![stored("journal/orders")],
        "track_file" => vec![stored(&format!("tracks/{}/packets", Uuid::nil()))],
        "request" => requests(),
        "shown" => vec![media_report(), report().encode_to_vec()],
        "certificate" => certificates(),
        "sealed_root" => vec![SEALED.as_bytes().to_vec()],
        "decoder_messages" => vec![decoded()],
        "dialled" => dialled(),
        "register" => [texts("config", "csv"), vec![bytes(REGISTER)]].concat(),
        "timetable" => [ENTRY, ONCE, POLICIES].map(bytes).to_vec(),
        "bundle" => orders()
            .iter()
            .take(2)
            .map(|order| loa::control::outside::example(&loa::broadcast::sign(order, &node::authority())).into_bytes())
            .collect(),
        _ => panic!("target {target} has no seed"),
    }
}

const REGISTER: &str = r#"[{"code":"vn","name:vi":"Việt Nam","name:en":"Vietnam","kind":"country","zone":"Asia/Ho_Chi_Minh"},
{"code":"vn/02","name:vi":"Hà Giang","until":"2025-07-01","successors":["vn/08"]},
{"code":"vn/08","parent":"vn","name:vi":"Tuyên Quang","name:en":null,"from":"2025-07-01"}]"#;

const ENTRY: &str = r#"{"id":"0199f3c1-0000-7000-8000-000000000001","title":"Bản tin sáng","areas":["vn/01"],
"except":["vn/01/00004"],"priority":"normal","plays":{"live":"studio","limit_us":600000000},
"when":{"start":"2026-09-21T06:30","rrule":"FREQ=MONTHLY;INTERVAL=2;BYDAY=MO,-1FR;BYHOUR=6,17;BYMINUTE=0,30;BYSETPOS=1,-1;UNTIL=20300101T000000Z;WKST=SU",
"except":["2026-09-22"],"extra":["2026-09-22T06:30:00","2026-10-25T02:30"]},
"zone":"Europe/Berlin","from":"2026-09-01","until":"2031-01-01","approver":"An","enabled":true,"created":"2026-08-31T00:00:00Z"}"#;

const ONCE: &str = r#"{"id":"0199f3c1-0000-7000-8000-000000000002","title":"Thông báo","areas":["vn/01","vn/02"],"priority":"priority",
"plays":{"media":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","length_us":90000000},
"when":{"once":"2026-09-21T17:05:30"},"created":"2026-08-31T00:00:00+07:00"}"#;

const POLICIES: &str = r#"[{"area":"vn","quiet":{"from":"22:00","until":"05:00"},"priority_in_quiet":true},
{"area":"vn/01","quotas":[{"days":["mo","fr"],"sessions":2},{"sessions":0,"minutes":30}],"longest_minutes":15,"gap_minutes":5,"approval":false}]"#;

/// What operators and programs ask.
fn requests() -> Vec<Vec<u8>> {
    let order: String = node::grant().encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    [
        "/v1/live?areas=vn/01,vn/02&priority=emergency&title=B%C3%A3o&delay_ms=1000&pcm=s16le:48000:1\n".to_owned(),
        "bulletin.flac\n{\"media\":\"ab\",\"areas\":[\"vn/01\"],\"priority\":\"normal\",\"at\":\"2027-01-15T06:30:00+07:00\",\"title\":\"Bản tin\",\"delay_ms\":1240,\"resume\":true}"
            .to_owned(),
        "/v1/stop\n{\"areas\":[\"vn\"],\"minutes\":10}".to_owned(),
        "/v1/nodes/0/settings\n{\"normal_db\":-6,\"hours\":[{\"from\":\"21:00\",\"until\":\"06:00\",\"most_db\":-12}],\"group\":{\"number\":2,\"of\":3,\"step_ms\":1000}}"
            .to_owned(),
        format!("/v1/authorities\n{{\"order\":\"{order}\"}}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn report() -> proto::Report {
    proto::Report {
        node: id(node::CHILD),
        area: "vn/01".into(),
        name: "Cột 12".into(),
        state: "sounding".into(),
        role: "speaker".into(),
        trouble: "sound.silent disk.full".into(),
        muted: node::NOW.0,
        volume: Some(-60),
        settings: 9,
        peak: Some(-310),
        rms: Some(-1_610),
        at: node::NOW.0,
        ..Default::default()
    }
}

fn media_report() -> Vec<u8> {
    br#"{"id":"ab","name":"a.wav","bytes":7,"bitrate":24000,"bitrates":[24000],"duration":1.5,"loudness":-16.0,"true_peak":-1.5,"gain":0.1}"#
        .to_vec()
}

/// Of a relay, as its file has it and as it goes over the wire.
fn certificates() -> Vec<Vec<u8>> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    use loa::io::certify::{Dates, issue};
    let issued = issue(&[7; 32], loa::node::Role::Relay, Dates::ALWAYS).expect("a certificate");
    let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("one's own certificate");
    vec![der.to_vec(), issued.certificate.into_bytes(), issued.key.into_bytes(), issued.root.into_bytes()]
}

/// As `loa init` writes it; what is sealed in it is not of interest here.
const SEALED: &str = "# A root of Loa, sealed with a passphrase.
format = \"loa root 1\"
name = \"main\"
public = \"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c\"
memory_kib = 65536
passes = 3
salt = \"000102030405060708090a0b0c0d0e0f\"
nonce = \"000102030405060708090a0b\"
sealed = \"00\"
";

/// Facts, some samples and the end, as drawn in `io::decoder`.
fn decoded() -> Vec<u8> {
    let message = |kind: u8, body: &[u8]| [&[kind][..], &(body.len() as u32).to_le_bytes(), body].concat();
    let samples: Vec<u8> = (0..64).flat_map(|at| (at as f32 / 64.0).to_le_bytes()).collect();
    let error = br#"{"code":"audio.damaged","text":"a stretch is missing"}"#;
    [message(b'S', &samples), message(b'S', &samples[..8]), message(b'X', error), message(b'E', b"")].concat()
}

fn dialled() -> Vec<Vec<u8>> {
    let group = loa::io::group::name("232.7.4.60:7470".parse().expect("a group"));
    let address = proto::Address { host: "relay.example:7460".into(), shards: 4 };
    let six = loa::io::group::name("[ff35::1]:7470".parse().expect("a group"));
    let mut seeds = vec![group.encode_to_vec(), six.encode_to_vec(), address.encode_to_vec()];
    seeds.extend(["10.0.0.1:7460", "[2001:db8::1]:7460", "s16le:48000:1"].map(bytes));
    seeds
}

/// Puts every seed into a file, for libFuzzer.
pub fn write(folder: &Path, target: &str) {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder).expect("a folder for the corpus");
    for (number, seed) in of(target).iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a file in it");
    }
}

/// A parent that welcomes, pushes orders, sends sound live and in bulk, and echoes.
fn joined() -> Vec<u8> {
    let (info, secret) = (info(&secret()), secret());
    let track = id(info.id);
    let mut script = Script::new(0);
    script.control(to_child::Body::Welcome(proto::Welcome {
        version: 1,
        features: 0,
        node: id(node::PARENT),
        placement: Some(node::placement(node::PARENT, "vn")),
        grants: vec![node::grant()],
        logs: vec![log()],
        group: None,
        parents: Vec::new(),
    }));
    script.datagram(datagram::Body::Echo(echo(0)));
    // All but the hush, the cancel and the settings.
    let orders = orders().into_iter().take(4).map(|order| loa::broadcast::sign(&order, &node::authority()));
    script.control(to_child::Body::Push(proto::Push { orders: orders.collect(), last: true }));
    script.control(to_child::Body::Key(proto::Key { track: track.clone(), secret: Some(secret.to_proto()) }));
    script.control(to_child::Body::Listening(proto::Listening { track: track.clone(), next: 2, together: 1 }));
    script.step(1, 1, &proto::Bulk { track: track.clone(), first: 0 }.encode_to_vec());
    let sound = sound();
    for packet in &sound[..2] {
        script.step(1, 1, &packet.bytes);
    }
    script.step(2, 1, &[]);
    for packet in sound.iter().skip(2).filter(|packet| packet.index != 4) {
        script.step(4, 23, &packet.bytes);
    }
    let ranges = vec![proto::Range { first: 4, count: 1 }, proto::Range { first: 9, count: 40 }];
    script.datagram(datagram::Body::Missing(proto::Missing { track: track.clone(), ranges }));
    script.datagram(datagram::Body::Echo(echo(1)));
    script.datagram(datagram::Body::Path(proto::PathNonce { nonce: 5 }));
    script.bytes
}

/// The same, and then it takes everything back and leaves.
fn from_parent() -> Vec<u8> {
    let track = id(info(&secret()).id);
    let mut script = Script { by: 0, bytes: joined() };
    script.control(to_child::Body::Unavailable(proto::Unavailable { track, reason: "gone".into() }));
    script.control(to_child::Body::Log(proto::Log { ended: true, ..log() }));
    script.control(to_child::Body::Goodbye(proto::Goodbye { code: "node.stopping".into(), text: "bye".into() }));
    script.bytes
}

fn log() -> proto::Log {
    proto::Log {
        track: id(node::LOG),
        ssrc: node::LOG_SSRC,
        secret: Some(node::log_secret().to_proto()),
        next: 0,
        ended: false,
    }
}

/// A child that joins, listens, fetches, asks for what it lacks, reports and leaves.
fn from_child(by: u8) -> Vec<u8> {
    let track = id(info(&secret()).id);
    let mut script = Script::new(by);
    let report = proto::Report {
        node: id(node::CHILD),
        area: "vn/01".into(),
        name: "speaker".into(),
        state: "sounding".into(),
        role: "speaker".into(),
        received: 7,
        buffer: 900_000,
        at: node::NOW.0,
        ..Default::default()
    };
    script.up(to_parent::Body::Hello(proto::Hello {
        version: 1,
        features: 0,
        node: id(node::CHILD),
        placement: Some(node::placement(node::CHILD, "vn/01")),
        grants: vec![node::grant()],
    }));
    script.datagram(datagram::Body::Beat(proto::Beat { sent: 7, report: Some(report.clone()), loss: 12 }));
    script.up(to_parent::Body::Listen(proto::Listen { track: track.clone(), from: 3 }));
    script.up(to_parent::Body::Fetch(proto::Fetch { track: track.clone(), from: 0, until: 6 }));
    let ranges = vec![proto::Range { first: 1, count: 3 }, proto::Range { first: 7, count: 60 }];
    let nack = proto::Nack { track: track.clone(), ranges, round: 1 };
    script.datagram(datagram::Body::Nack(nack.clone()));
    script.datagram(datagram::Body::Nack(nack));
    script.up(to_parent::Body::Health(proto::Health { reports: vec![report.clone(), report] }));
    script.up(to_parent::Body::Unlisten(proto::Unlisten { track }));
    script.up(to_parent::Body::Nonce(proto::NonceUp { nonce: vec![1; 16].into() }));
    script.datagram(datagram::Body::PathEcho(proto::PathNonce { nonce: 5 }));
    script.up(to_parent::Body::Goodbye(proto::Goodbye { code: "node.stopping".into(), text: String::new() }));
    script.bytes
}

/// The same with what only an insider makes: orders as payloads, and sound as what is behind the tag.
fn relay() -> Vec<u8> {
    let mut script = Script { by: 0, bytes: joined() };
    for order in orders() {
        script.step(10, 3, &order.encode());
        script.step(11, 3, &order.encode());
    }
    let cipher = Cipher::new(&secret(), info(&secret()).ssrc);
    for packet in sound() {
        if let Ok(inside) = cipher.unprotect(packet.index, &packet.bytes) {
            script.step(12, 23, &inside);
        }
    }
    script.step(13, 30, &[0]);
    script.bytes.extend(from_parent());
    script.step(13, 30, &[]);
    script.bytes
}

struct Script {
    by: u8,
    bytes: Vec<u8>,
}

impl Script {
    fn new(by: u8) -> Self {
        Self { by, bytes: Vec::new() }
    }

    /// `step`: its cube, times 20 µs.
    fn step(&mut self, lane: u8, step: u8, frame: &[u8]) {
        let length = u16::try_from(frame.len()).expect("a short frame").to_be_bytes();
        self.bytes.extend([lane + self.by, step, length[0], length[1]]);
        self.bytes.extend(frame);
    }

    fn control(&mut self, body: to_child::Body) {
        self.step(0, 2, &proto::ToChild { body: Some(body) }.encode_to_vec());
    }

    fn up(&mut self, body: to_parent::Body) {
        self.step(0, 2, &proto::ToParent { body: Some(body) }.encode_to_vec());
    }

    fn datagram(&mut self, body: datagram::Body) {
        self.step(3, 10, &proto::Datagram { body: Some(body) }.encode_to_vec());
    }
}

fn echo(origin: u64) -> proto::Echo {
    let now = node::NOW.0;
    proto::Echo {
        origin,
        received: now,
        sent: now + 10,
        uncertainty: 900,
        synced: true,
        offset: now,
        skew: 1e-6,
        every: 0,
    }
}

/// One of each kind that a node acts on.
fn orders() -> Vec<Order> {
    let order = |number: u64, body: Body| {
        let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_2000 + u128::from(number));
        Order::new(id, node::authority().id(), number, node::NOW, vec![node::area("vn/01")], body)
    };
    let mut info = info(&secret());
    info.anchor = node::NOW + SECOND;
    let broadcast = Broadcast {
        priority: Priority::Normal,
        from: info.anchor,
        until: info.anchor + 60 * SECOND,
        delay: SECOND,
        renditions: vec![info.clone()],
        tone: None,
        title: "bulletin".into(),
        revision: 0,
        supersedes: None,
        stored: false,
        resume: false,
        prepared: false,
        purpose: Purpose::Real,
    };
    let urgent = Broadcast {
        priority: Priority::Emergency,
        tone: Some(Tone { at: node::NOW + 500 * MILLISECOND, which: 1, duration: SECOND }),
        ..broadcast.clone()
    };
    let tick = Tick { time: node::NOW, log: node::LOG, head: 4, epoch: 0 };
    let hush = Hush { until: node::NOW + SECOND, up_to: Priority::Priority, exempt: vec![node::area("vn/01/00004")] };
    let settings = Settings {
        emergency: Some(Volume::QUIETEST),
        hours: Some(vec![HourLimit { from: 1_260, until: 360, most: Volume::FLOOR }]),
        zone: "Asia/Ho_Chi_Minh".parse().ok(),
        delay: 120 * MILLISECOND,
        stagger: Some(Stagger { group: 2, groups: 2, step: 10 * SECOND }),
        mute: Some(Mute::Until(node::NOW + Settings::MUTE)),
        ..Settings::open(node::CHILD)
    };
    let normal = order(1, Body::Broadcast(broadcast));
    let cancel = Cancel { broadcast: normal.id, at: node::NOW };
    vec![
        order(5, Body::Tick(tick)),
        normal.clone(),
        normal.revise(6, vec![info]),
        order(2, Body::Broadcast(urgent)),
        order(7, Body::Hush(hush)),
        order(8, Body::Cancel(cancel)),
        order(9, Body::Settings(settings)),
        order(10, Body::Prefer(Prefer { broadcasts: vec![normal.id] })),
        order(11, Body::Lock(Lock { key: SigningKey::from_seed(&[9; 32]).id() })),
        order(12, Body::Release(Release { lock: normal.id })),
    ]
}

/// Packets of a track as an origin seals them.
fn sound() -> Vec<Packet> {
    let (info, secret) = (info(&secret()), secret());
    let room = Writer::room(info.bitrate, info.duration);
    let mut writer = Writer::new(info, &secret, SigningKey::from_seed(&[5; 32]), room);
    let record = vec![0xfb; 300];
    (0..8).filter_map(|_| writer.write(&[&record, &record], node::NOW).ok()).collect()
}

fn frames() -> Vec<u8> {
    [&b""[..], &[7; 130], &[8; 20_000]].iter().flat_map(|bytes| frame::encode(bytes)).collect()
}

/// Half a second of a real encoder's frames, as `media/` keeps them.
fn stored_sound() -> Vec<u8> {
    let sine = |at: u32| (f64::from(at) * 0.05).sin() * 9_000.0;
    let wav = wav(48_000, 24_000, |at| sine(at) as i16);
    let open = || Ok(std::io::Cursor::new(wav.clone()));
    let encoded = loa::audio::frames_of(open, "sine.wav", &loa::audio::Options::default(), |_| ());
    encoded.expect("a sine can be encoded").0[0].to_bytes()
}

fn media() -> Vec<Vec<u8>> {
    let mut seeds = vec![wav(8_000, 2_000, |at| (at * 37) as i16), wav(44_100, 2_000, |at| (at * 900) as i16)];
    for entry in std::fs::read_dir(root("config/demo")).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|end| end == "flac") {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            seeds.push(bytes[..bytes.len().min(12_000)].to_vec());
        }
    }
    assert_eq!(seeds.len(), 4, "both demonstration bulletins are there");
    seeds
}

/// A fifth of a second by ffmpeg, in each of these forms; without ffmpeg, a WAV file.
fn made(forms: &[&[&str]]) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made");
    let source = ["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "sine=d=0.2:r=48000"];
    let mut seeds = Vec::new();
    for form in forms {
        // Into a file, since most containers go back to write their lengths.
        let ended = std::process::Command::new("ffmpeg").args(source).args(*form).arg(&path).status();
        if ended.is_ok_and(|status| status.success()) {
            seeds.extend(std::fs::read(&path));
        }
    }
    if seeds.is_empty() { vec![wav(8_000, 2_000, |at| (at * 37) as i16)] } else { seeds }
}

fn wav(rate: u32, samples: u32, sample: impl Fn(u32) -> i16) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let format =
        hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::new(&mut bytes, format).expect("a WAV header");
    (0..samples).for_each(|at| writer.write_sample(sample(at)).expect("memory holds it"));
    writer.finalize().expect("memory holds it");
    bytes.into_inner()
}

/// A file of a data folder as the store itself writes it.
fn stored(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a new store");
    let order = proto::Record { body: Some(proto::record::Body::Order(node::grant())) };
    let time = proto::Record { body: Some(proto::record::Body::Time(node::NOW.0)) };
    let key = proto::StoredKey { track: id(Uuid::nil()), secret: Some(secret().to_proto()) };
    let key = proto::Record { body: Some(proto::record::Body::Key(key)) };
    let hands = proto::Hands { normal: Some(-60), priority: None, muted_until: node::NOW.0, switched: true };
    let hands = proto::Record { body: Some(proto::record::Body::Hands(hands)) };
    store.append(&[order, time, key, hands]).expect("room for three records");
    store.keep(Uuid::nil(), &sound()).expect("room for some packets");
    drop(store);
    std::fs::read(folder.path().join(name)).expect("the store has written it")
}

/// Every string of hex digits in a file of vectors, as bytes.
fn hex_strings(file: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(root("tests/vectors").join(file)).expect("the vectors are there");
    let strings = text.split('"').filter(|part| part.len() >= 32 && part.len() % 2 == 0);
    let strings = strings.filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("00"), 16).unwrap_or(0);
    strings.map(|part| part.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn texts(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(root(folder)).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == extension));
    let texts: Vec<_> = files.filter_map(|path| std::fs::read(path).ok()).collect();
    assert!(!texts.is_empty(), "{folder} holds *.{extension}");
    texts
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn id(uuid: Uuid) -> Bytes {
    Bytes::copy_from_slice(uuid.as_bytes())
}
