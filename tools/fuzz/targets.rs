//! Everything that reads bytes from outside, one function each: run by `tests/fuzz.rs` with a seed, and by
//! libFuzzer (see `tools/fuzz/Cargo.toml`). A target must return, whatever the bytes are.

use loa::audio::{Content, Frames, Gain, Renderer, Source, Step};
use loa::broadcast::{Area, Authorities, Book, Order};
use loa::key::{KeyId, SigningKey};
use loa::proto;
use loa::session::{self, Arrival, Child, Parent, child, frame, parent};
use loa::time::{Civil, Local};
use loa::track::{self, Cipher, Header, Info, Reader, Secret, Sound};
use prost::Message;
use std::io::Cursor;
use std::sync::Arc;
use uuid::Uuid;

/// Name and body of each target.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("packet", packet),
    ("order", order),
    ("frames_of_a_stream", frames_of_a_stream),
    ("child_session", child_session),
    ("parent_session", parent_session),
    ("media_file", media_file),
    ("stored_frames", stored_frames),
    ("opus_records", opus_records),
    ("names", names),
    ("config", config),
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

/// A parent that says anything, in any order.
pub fn child_session(bytes: &[u8]) {
    let me = child::Me { node: Uuid::nil(), placement: None, grants: Vec::new() };
    let mut child = Child::new(Local(0), child::Options::default(), me);
    let mut now = Local(0);
    for arrival in arrivals(bytes) {
        now += 1_000;
        if child.handle_arrival(now, arrival).is_err() {
            return;
        }
        while child.poll_event().is_some() {}
        while child.poll_departure().is_some() {}
        child.handle_timeout(now);
    }
}

/// A child that says anything, in any order.
pub fn parent_session(bytes: &[u8]) {
    let mut parent = Parent::new(Local(0), parent::Options::default());
    let mut now = Local(0);
    for arrival in arrivals(bytes) {
        now += 1_000;
        if parent
            .handle_arrival(now, Some(session::Told { civil: Civil(now.0), ..Default::default() }), arrival)
            .is_err()
        {
            return;
        }
        while parent.poll_event().is_some() {}
        while parent.poll_departure().is_some() {}
        parent.handle_timeout(now);
    }
}

pub fn media_file(bytes: &[u8]) {
    let Ok(mut source) = Source::open(Cursor::new(bytes.to_vec()), "fuzz") else { return };
    let mut out = Vec::new();
    while let Ok(true) = source.read(&mut out) {
        if out.len() > 5_000_000 {
            return;
        }
    }
}

pub fn stored_frames(bytes: &[u8]) {
    let _ = Frames::from_bytes(bytes);
}

/// Records that carry a good seal and are not Opus.
pub fn opus_records(bytes: &[u8]) {
    let mut renderer = Renderer::new();
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

pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = loa::config::Config::parse(text, std::path::Path::new("loa.toml"));
    }
}

/// Cuts bytes into arrivals: one byte for the lane, one for the length.
fn arrivals(bytes: &[u8]) -> Vec<Arrival> {
    let mut rest = bytes;
    let mut arrivals = Vec::new();
    while let [lane, length, tail @ ..] = rest {
        let (frame, tail) = tail.split_at((*length as usize).min(tail.len()));
        let frame = bytes::Bytes::copy_from_slice(frame);
        arrivals.push(match lane % 5 {
            0 => Arrival::Control(frame),
            1 => Arrival::Bulk { stream: u64::from(lane / 5), frame },
            2 => Arrival::BulkEnd { stream: u64::from(lane / 5) },
            3 => Arrival::Datagram(frame),
            _ => Arrival::Media(frame),
        });
        rest = tail;
    }
    arrivals
}

fn secret() -> Secret {
    Secret { key: [3; 16], salt: [4; 12] }
}

fn info(secret: &Secret) -> Info {
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
