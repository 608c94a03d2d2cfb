//! Everything that reads bytes from outside, one function each: run by `tests/fuzz.rs` with a seed, and by
//! libFuzzer (see `tools/fuzz/Cargo.toml`). A target must return, whatever the bytes are.
//!
//! Sessions and nodes take a script of arrivals, each
//!
//! ```text
//! │ lane │ step │ length, u16 │ frame, length bytes │
//! ```
//!
//! `lane`: what the frame is (see [`arrival`] and `node`), and its stream; `step`: how long after the one
//! before, see [`script`].

pub mod node;

use bytes::Bytes;
use loa::audio::{Content, Frames, Gain, Input, Renderer, Source, Step};
use loa::broadcast::timetable::{Entry, Policies, plan};
use loa::broadcast::{Address, Area, Authorities, Book, MOST_MISTAKES, Order, Register};
use loa::control::when;
use loa::io::identity::Root;
use loa::io::store::Store;
use loa::key::{KeyId, SigningKey};
use loa::proto;
use loa::session::child::Wish;
use loa::session::{self, Arrival, Child, Parent, child, frame, parent};
use loa::time::{Civil, Local, MILLISECOND};
use loa::track::{self, Cipher, Header, Info, Packet, Reader, Secret, Sound};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// Takes any bytes and returns.
pub type Target = fn(&[u8]);

/// Name and body of each target.
pub const TARGETS: &[(&str, Target)] = &[
    ("packet", packet),
    ("order", order),
    ("frames_of_a_stream", frames_of_a_stream),
    ("child_session", child_session),
    ("parent_session", parent_session),
    ("relay", relay),
    ("media_file", media_file),
    ("riff", riff),
    ("flac", flac),
    ("mp3", mp3),
    ("adts", adts),
    ("mp4", mp4),
    ("ogg", ogg),
    ("matroska", matroska),
    ("aiff", aiff),
    ("caf", caf),
    ("pcm", pcm),
    ("stored_frames", stored_frames),
    ("opus_records", opus_records),
    ("names", names),
    ("times", times),
    ("config", config),
    ("journal", journal),
    ("track_file", track_file),
    ("request", request),
    ("shown", shown),
    ("certificate", certificate),
    ("sealed_root", sealed_root),
    ("decoder_messages", decoder_messages),
    ("dialled", dialled),
    ("register", register),
    ("timetable", timetable),
    ("bundle", bundle),
];

/// A datagram that claims to be SRTP.
pub fn packet(bytes: &[u8]) {
    if let Some(header) = Header::parse(bytes) {
        let _ = track::extend(header.sequence, u64::from(header.timestamp));
    }
    let secret = secret();
    let _ = Cipher::new(&secret, 7).unprotect(1, bytes);
    if let Some(reader) = Reader::new(&info(&secret), &secret) {
        let _ = reader.read(1, bytes);
        // As if an insider held the key: what is behind the tag is parsed too.
        let inside = Cipher::new(&secret, 7).protect(1, 11_520, 96, &bytes[..bytes.len().min(1_172)]);
        let _ = reader.read(1, &inside);
    }
}

/// A signed order, and its payload as if its signature held.
pub fn order(bytes: &[u8]) {
    if let Ok(signed) = proto::Signed::decode(bytes) {
        let _ = Authorities::new(vec![SigningKey::from_seed(&[1; 32]).public()]).check(&signed, Some(Civil(0)));
    }
    let key = SigningKey::from_seed(&[1; 32]);
    let signature = proto::Signature {
        key: key.id().0.to_vec().into(),
        value: key.sign(loa::key::Domain::Order, bytes).to_vec().into(),
    };
    let signed = proto::Signed { payload: bytes.to_vec().into(), signatures: vec![signature] };
    let mut authorities = Authorities::new(vec![key.public()]);
    if let Ok(order) = authorities.check(&signed, Some(Civil(1_700_000_000_000_000))) {
        authorities.admit(&order, &signed);
        let _ = Book::new().handle(Some(order.issued), &order, &signed);
    }
    if let Ok(order) = Order::decode(bytes) {
        assert_eq!(Order::decode(&order.encode()).as_ref(), Ok(&order), "an order reads back as it was written");
    }
}

pub fn frames_of_a_stream(bytes: &[u8]) {
    let mut decoder = frame::Decoder::new();
    for piece in bytes.chunks(7) {
        if decoder.handle_bytes(piece).is_err() {
            return;
        }
        while decoder.poll_frame().is_some() {}
    }
}

/// A parent that says anything, in any order, to a child that listens to one track.
pub fn child_session(bytes: &[u8]) {
    let me = child::Me { node: Uuid::nil(), placement: None, grants: Vec::new() };
    let mut child = Child::new(Local(0), child::Options::default(), me);
    let info = info(&secret());
    child.listen(Local(0), wish(&info));
    child.fetch(Local(0), info.id, info.ssrc, 0, 64);
    let mut now = Local(0);
    for Scripted { lane, wait, frame } in script(bytes) {
        now += wait;
        for turn in 0.. {
            if child.poll_timeout().is_none_or(|(at, _)| at > now) {
                break;
            }
            assert!(turn < TURNS, "timeouts that never move on: {:?}", child.poll_timeout());
            child.handle_timeout(now);
        }
        if child.handle_arrival(now, arrival(lane, frame)).is_err() {
            return;
        }
        while let Some(event) = child.poll_event() {
            if let child::Event::Packet { track, index, via, .. } = event {
                // Every third is what nobody sealed.
                match index % 3 {
                    2 => child.handle_rejected(now, track, index),
                    _ => child.handle_accepted(now, track, index, via),
                }
            } else if let child::Event::Log { track, next, .. } = event {
                child.handle_head(now, track, next.saturating_add(3));
            }
        }
        while child.poll_departure().is_some() {}
    }
}

/// A child that says anything, in any order, to a parent that answers.
pub fn parent_session(bytes: &[u8]) {
    let mut parent = Parent::new(Local(0), parent::Options::default());
    let mut now = Local(0);
    for Scripted { lane, wait, frame } in script(bytes) {
        now += wait;
        for turn in 0.. {
            if parent.poll_timeout().is_none_or(|(at, _)| at > now) {
                break;
            }
            assert!(turn < TURNS, "timeouts that never move on: {:?}", parent.poll_timeout());
            parent.handle_timeout(now);
        }
        let told = session::Told { civil: Civil(now.0), ..Default::default() };
        if parent.handle_arrival(now, Some(told), arrival(lane, frame)).is_err() {
            return;
        }
        while let Some(event) = parent.poll_event() {
            match event {
                parent::Event::Hello { .. } => {
                    parent.welcome(proto::Welcome::default());
                    parent.push(Vec::new());
                }
                parent::Event::Listen { track, from } => {
                    let backlog = [0, 1, 3].map(|after| media(from.saturating_add(after).min(track::LAST_INDEX)));
                    parent.listening(now, track, from, 3_000, 1, backlog.to_vec());
                }
                parent::Event::Fetch { track, from, until } => {
                    let packets: Vec<_> = (from..until).take(8).map(media).collect();
                    parent.bulk(track, &packets, until % 2 == 0);
                }
                // What is divisible by three is missing here, too.
                parent::Event::Nack { track, index } => {
                    let bytes = (index % 3 != 0).then(|| media(index).bytes);
                    parent.answer(now, track, index, bytes);
                }
                parent::Event::Unlisten { track } => parent.unlistened(now, track),
                _ => {}
            }
        }
        while parent.poll_departure().is_some() {}
    }
}

/// A whole relay between a parent and a child that say anything.
pub fn relay(bytes: &[u8]) {
    let _ = node::Relay::play(bytes);
}

pub fn media_file(bytes: &[u8]) {
    play(Source::open(Cursor::new(bytes.to_vec()), "fuzz"));
}

/// One container, whatever its first bytes became: as a file or, by its last bit, as a pipe.
fn container(bytes: &[u8], at: usize, magic: &[u8]) {
    let mut bytes = bytes.to_vec();
    if bytes.len() < at + magic.len() {
        return;
    }
    bytes[at..at + magic.len()].copy_from_slice(magic);
    match bytes.last().is_some_and(|last| last % 2 == 1) {
        true => play(Source::stream(Cursor::new(bytes), "fuzz")),
        false => play(Source::open(Cursor::new(bytes), "fuzz")),
    }
}

fn play(source: Result<Source, loa::audio::Error>) {
    let Ok(mut source) = source else { return };
    let mut out = Vec::new();
    let mut played = 0;
    while let Ok(true) = source.read(&mut out) {
        assert!(out.iter().all(|sample| sample.is_finite()), "an encoder gets numbers only");
        played += out.len();
        out.clear();
        // What a small file claims of silence is endless: more than a second of it shows nothing new.
        if played > 48_000 {
            return;
        }
    }
    assert!(source.found().damage.len() <= 100);
}

pub fn riff(bytes: &[u8]) {
    let kind = [b"RIFF", b"RF64", b"BW64"][bytes.len() % 3];
    container(bytes, 8, b"WAVE");
    container(bytes, 0, kind);
}

pub fn flac(bytes: &[u8]) {
    container(bytes, 0, b"fLaC");
}

pub fn mp3(bytes: &[u8]) {
    container(bytes, 0, &[0xff, 0xfb]);
}

pub fn adts(bytes: &[u8]) {
    container(bytes, 0, &[0xff, 0xf1]);
}

pub fn mp4(bytes: &[u8]) {
    container(bytes, 4, b"ftyp");
}

pub fn ogg(bytes: &[u8]) {
    container(bytes, 0, b"OggS");
}

pub fn matroska(bytes: &[u8]) {
    container(bytes, 0, &[0x1a, 0x45, 0xdf, 0xa3]);
}

pub fn aiff(bytes: &[u8]) {
    container(bytes, 8, if bytes.len().is_multiple_of(2) { b"AIFF" } else { b"AIFC" });
}

pub fn caf(bytes: &[u8]) {
    container(bytes, 0, b"caff");
}

pub fn pcm(bytes: &[u8]) {
    let forms = ["u8:8000:1", "s16le:44100:2", "s16be:48000:3", "s24le:96000:1", "s32le:48000:8", "f32le:22050:2"];
    let form = forms[bytes.len() % forms.len()].parse().expect("a form of PCM");
    play(Source::pcm(Cursor::new(bytes.to_vec()), "fuzz", form));
}

pub fn stored_frames(bytes: &[u8]) {
    let _ = Frames::from_bytes(bytes);
}

/// Records that carry a good seal and are not Opus.
pub fn opus_records(bytes: &[u8]) {
    // One for all: to make it takes longer than to use it, and a loudspeaker goes on with its own whatever it was sent.
    thread_local!(static RENDERER: std::cell::RefCell<Renderer> = std::cell::RefCell::new(Renderer::new()));
    RENDERER.with_borrow_mut(|renderer| renders(bytes, renderer));
}

fn renders(bytes: &[u8], renderer: &mut Renderer) {
    let mut out = Vec::new();
    let records = bytes.chunks(100).take(4).map(|piece| piece.to_vec().into()).collect();
    let sound = Arc::new(Sound { index: 0, time: Civil(0), records });
    for number in 0..24 {
        let content = Content::Sound { track: Uuid::nil(), sound: sound.clone(), from: number as u32 * 480 };
        let gain = Gain { from: 1.0, to: 1.0 };
        renderer.render(&Step { number, content, count: 480, ratio: 1.0, gain, at: number as f64 * 480.0 }, &mut out);
    }
    assert!(out.iter().all(|sample| sample.is_finite()), "a speaker gets numbers only");
}

pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(area) = text.parse::<Area>() {
        assert_eq!(area.to_string(), text, "an area reads back as it was written");
    }
    let _ = text.parse::<KeyId>();
}

/// Times as people type them, in a country whose clocks leap and in one whose clocks do not.
pub fn times(bytes: &[u8]) {
    let number = bytes.first_chunk::<8>().map_or(0, |first| i64::from_be_bytes(*first));
    for zone in [chrono_tz::Asia::Ho_Chi_Minh, chrono_tz::Europe::Berlin] {
        let _ = when::show_short(Civil(number), zone);
        let shown = when::show(Civil(number), zone);
        // Before 1970 some offsets have seconds, which RFC 3339 cannot say.
        if let Some(read) = when::rfc3339(&shown).filter(|_| number >= 0) {
            assert_eq!(read, Civil(number), "{shown} reads back as it was written");
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = when::rfc3339(text);
            let _ = when::spoken(text, Civil(number), zone);
        }
    }
}

/// A journal that somebody, or a dying disk, has written: opened, read and added to.
pub fn journal(bytes: &[u8]) {
    in_folder("journal/orders", bytes, |folder| {
        let Ok(store) = Store::open(folder) else { return };
        let Ok(mut records) = store.journal() else { return };
        let record = proto::Record { body: Some(proto::record::Body::Time(7)) };
        store.append(std::slice::from_ref(&record)).expect("there is room for one more");
        records.push(record);
        drop(store);
        let again = Store::open(folder).expect("what was opened once opens again");
        assert_eq!(again.journal().ok(), Some(records), "what was appended stands behind what was there");
    });
}

/// The same for the file of a stored track.
pub fn track_file(bytes: &[u8]) {
    in_folder(&format!("tracks/{}/packets", Uuid::nil()), bytes, |folder| {
        let Ok(store) = Store::open(folder) else { return };
        let Ok(before) = store.fetch(Uuid::nil(), 0, u64::MAX) else { return };
        let free = (0..).find(|index| before.iter().all(|packet| packet.index != *index)).unwrap_or(0);
        store.keep(Uuid::nil(), &[media(free)]).expect("there is room for one more");
        drop(store);
        let again = Store::open(folder).expect("what was opened once opens again");
        let kept = again.fetch(Uuid::nil(), free, free + 1).expect("what was kept is there");
        assert_eq!(kept, [media(free)]);
    });
}

/// Runs `work` on a data folder in which this file holds these bytes.
fn in_folder(name: &str, bytes: &[u8], work: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join(name);
    std::fs::create_dir_all(file.parent().unwrap_or(folder.path())).expect("a folder in it");
    std::fs::write(file, bytes).expect("a file in it");
    work(folder.path());
}

pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = loa::config::Config::parse(text, std::path::Path::new("loa.toml"));
    }
}

/// A request of the API: path and query, line feed, body.
pub fn request(bytes: &[u8]) {
    loa::control::outside::request(bytes);
}

/// What is shown to people: an upload's report file, a report of a node below.
pub fn shown(bytes: &[u8]) {
    loa::control::outside::shown(bytes);
    if let Ok(report) = proto::Report::decode(bytes) {
        let _ = session::is_sane_report(&report);
    }
}

/// A report of what became of orders, as somebody hands it in.
pub fn bundle(bytes: &[u8]) {
    loa::control::outside::bundle(bytes);
}

/// A certificate as a peer shows it, and as a file holds it.
pub fn certificate(bytes: &[u8]) {
    let mut read = vec![CertificateDer::from(bytes.to_vec())];
    read.extend(CertificateDer::pem_slice_iter(bytes).flatten());
    for certificate in read {
        if let Ok(peer) = loa::io::tls::peer(&certificate) {
            assert!(certificate.len() > 64, "{peer:?} out of nothing");
        }
    }
    let _ = PrivateKeyDer::from_pem_slice(bytes);
}

pub fn sealed_root(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Root::name_of_sealed(text);
    }
}

/// What a decoder's process says, should what it decodes have taken it over.
pub fn decoder_messages(bytes: &[u8]) {
    let piece = bytes.first().map_or(1, |first| usize::from(*first));
    let whole = loa::io::decoder::read_all(bytes, usize::MAX);
    assert_eq!(loa::io::decoder::read_all(bytes, piece), whole, "however it is cut");
}

/// Where a parent says that others can be reached: an address to dial, a group to join.
pub fn dialled(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(address) = Address::new(text, 1)
    {
        assert_eq!(Address::from_proto(&address.to_proto()).as_ref(), Ok(&address), "as it was written");
    }
    if let Ok(address) = proto::Address::decode(bytes) {
        let _ = Address::from_proto(&address);
    }
    if let Ok(group) = proto::Group::decode(bytes)
        && let Some(read) = loa::io::group::read(&group)
    {
        assert!(read.ip().is_multicast(), "{read} is no group");
        assert_eq!(loa::io::group::read(&loa::io::group::name(read)), Some(read));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<loa::audio::Pcm>();
    }
}

/// Areas as a table and as JSON: what is read is written and read as the same.
pub fn register(bytes: &[u8]) {
    for read in [Register::from_csv(bytes), Register::from_json(bytes)] {
        match read {
            Ok(register) => {
                assert_eq!(Register::from_csv(register.to_csv().as_bytes()).as_ref(), Ok(&register));
                assert_eq!(Register::from_json(register.to_json().as_bytes()).as_ref(), Ok(&register));
            }
            Err(mistakes) => assert!((1..=MOST_MISTAKES).contains(&mistakes.len())),
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Register::default().find(text, 10);
    }
}

/// An entry, or policies, that somebody has sent: read, written, planned.
pub fn timetable(bytes: &[u8]) {
    let policies = match Policies::read(bytes) {
        Ok(policies) => {
            let again = Policies::read(policies.to_json().to_string().as_bytes());
            assert_eq!(again.as_ref(), Ok(&policies), "policies read back as they were written");
            policies
        }
        Err(mistakes) => {
            assert!((1..=MOST_MISTAKES).contains(&mistakes.len()));
            Policies::default()
        }
    };
    match Entry::read(bytes) {
        Ok(entry) => {
            let again = Entry::read(entry.to_json().to_string().as_bytes());
            assert_eq!(again.as_ref(), Ok(&entry), "an entry reads back as it was written");
            let from = Civil(1_790_000_000_000_000);
            let (areas, register) = (entry.areas.clone(), Register::default());
            let plan = plan(&[entry], &policies, &register, &areas, from, from + 86_400_000_000);
            let plan = plan.expect("a day of one entry is no large plan");
            let _ = (plan.to_json(), plan.rows(), plan.airings(), plan.to_icalendar(&register, "vi", from));
        }
        Err(mistakes) => assert!((1..=MOST_MISTAKES).contains(&mistakes.len())),
    }
}

/// One line of a script.
pub struct Scripted {
    pub lane: u8,
    /// µs.
    pub wait: i64,
    pub frame: Bytes,
}

pub fn script(bytes: &[u8]) -> Vec<Scripted> {
    let mut rest = bytes;
    let mut script = Vec::new();
    while let [lane, step, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (frame, tail) = tail.split_at(length.min(tail.len()));
        // Milliseconds at first, seconds further up: up to five minutes, beyond every patience.
        let wait = i64::from(*step).pow(3) * 20;
        script.push(Scripted { lane: *lane, wait, frame: Bytes::copy_from_slice(frame) });
        rest = tail;
    }
    script
}

/// What a frame is, by its lane.
fn arrival(lane: u8, frame: Bytes) -> Arrival {
    match lane % 5 {
        0 => Arrival::Control(frame),
        1 => Arrival::Bulk { stream: u64::from(lane / 5), frame },
        2 => Arrival::BulkEnd { stream: u64::from(lane / 5) },
        3 => Arrival::Datagram(frame),
        _ => Arrival::Media(frame),
    }
}

fn media(index: u64) -> Packet {
    Packet { index, bytes: Bytes::from(vec![0x80; 40]) }
}

fn wish(info: &Info) -> Wish {
    Wish {
        track: info.id,
        ssrc: info.ssrc,
        duration: info.packet_micros(),
        from: 0,
        useful: 700 * MILLISECOND,
        packets: info.packets,
        counted: false,
    }
}

pub fn secret() -> Secret {
    Secret { key: [3; 16], salt: [4; 12] }
}

pub fn info(secret: &Secret) -> Info {
    Info {
        id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        sign: SigningKey::from_seed(&[5; 32]).public(),
        ssrc: 7,
        duration: 11_520,
        anchor: Civil(1_700_000_000_000_000),
        key_hash: secret.hash(),
        bitrate: 24_000,
        packets: None,
    }
}

/// Turns of timeouts at one instant: what needs more never comes to rest.
const TURNS: u32 = 1_000;
