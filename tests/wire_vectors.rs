//! The wire format against `vectors/track.json`, which another implementation made: our bytes must
//! be its bytes, and what it says of each packet must be what we read.
use loa::key::{Domain, SigningKey};
use loa::time::Civil;
use loa::track::{Cipher, Header, Info, OVERHEAD, Reader, Reject, Secret, Writer};
use serde_json::Value;
use uuid::Uuid;

/// Text of the vectors, and readers that name what is missing.
struct Vectors(Value);

impl Vectors {
    fn new() -> Self {
        Self(serde_json::from_str(include_str!("vectors/track.json")).expect("vectors/track.json is JSON"))
    }

    fn list(&self, name: &str) -> &[Value] {
        let list = self.0[name].as_array().unwrap_or_else(|| panic!("{name}: a list"));
        assert!(!list.is_empty(), "{name}: at least one vector");
        list
    }

    fn secret(&self) -> Secret {
        let secret = &self.0["secret"];
        Secret { key: array(&secret["key"]), salt: array(&secret["salt"]) }
    }

    fn key(&self) -> SigningKey {
        SigningKey::from_seed(&array(&self.0["signing"]["seed"]))
    }

    fn ssrc(&self, name: &str) -> u32 {
        number(&self.0["track"][name]) as u32
    }

    fn room(&self) -> usize {
        number(&self.0["track"]["room"]) as usize
    }

    fn info(&self) -> Info {
        let track = &self.0["track"];
        Info {
            id: Uuid::from_bytes(array(&track["id"])),
            sign: self.key().public(),
            ssrc: self.ssrc("ssrc"),
            duration: number(&track["duration"]) as u32,
            anchor: Civil(number(&track["anchor"]) as i64),
            key_hash: array(&self.0["secret"]["hash"]),
            bitrate: number(&track["bitrate"]) as u32,
            packets: None,
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}: a number"))
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value}: hexadecimal text"));
    assert!(text.is_ascii() && text.len().is_multiple_of(2), "{text}: an even number of digits");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap_or_else(|bytes: Vec<u8>| panic!("{} bytes, not {N}", bytes.len()))
}

fn records(vector: &Value) -> Vec<Vec<u8>> {
    vector["records"].as_array().expect("records").iter().map(bytes).collect()
}

fn time(vector: &Value) -> Civil {
    Civil(number(&vector["time"]) as i64)
}

#[test]
fn the_keys_of_the_vectors_are_ours() {
    let vectors = Vectors::new();
    assert_eq!(vectors.secret().hash(), array(&vectors.0["secret"]["hash"]));
    assert_eq!(vectors.key().public().0, array(&vectors.0["signing"]["public"]));
    assert_eq!(Info::from_proto(&vectors.info().to_proto()), Ok(vectors.info()));
}

#[test]
fn each_packet_of_sound_is_written_as_in_the_vectors() {
    let vectors = Vectors::new();
    let mut writer = Writer::new(vectors.info(), &vectors.secret(), vectors.key(), vectors.room());
    for vector in vectors.list("sound") {
        writer.skip_to(number(&vector["index"]));
        let packet = writer.write(&records(vector), time(vector)).unwrap();
        assert_eq!(packet.index, number(&vector["index"]));
        assert_eq!(packet.bytes, bytes(&vector["packet"]), "packet {}", packet.index);
        assert_eq!(packet.bytes.len(), vectors.room() + OVERHEAD);
    }
}

#[test]
fn each_packet_of_sound_reads_as_in_the_vectors() {
    let vectors = Vectors::new();
    let reader = Reader::new(&vectors.info(), &vectors.secret()).unwrap();
    for vector in vectors.list("sound") {
        let sound = reader.read(number(&vector["index"]), &bytes(&vector["packet"])).unwrap();
        assert_eq!(sound.index, number(&vector["index"]));
        assert_eq!(sound.records, records(vector));
        assert_eq!(sound.time, time(vector));
    }
}

/// So that someone else's step that goes wrong can be found.
#[test]
fn the_steps_between_are_those_of_the_vectors() {
    let vectors = Vectors::new();
    let cipher = Cipher::new(&vectors.secret(), vectors.ssrc("ssrc"));
    for vector in vectors.list("sound") {
        let (index, packet) = (number(&vector["index"]), bytes(&vector["packet"]));
        let (signed, seal): (Vec<u8>, [u8; 64]) = (bytes(&vector["signed"]), array(&vector["seal"]));
        let message = signed.strip_prefix(Domain::Seal.prefix()).expect("the domain string comes first");
        assert_eq!(vectors.key().sign(Domain::Seal, message), seal);
        assert_eq!(message[..16], *vectors.info().id.as_bytes());
        assert_eq!(message[16..24], index.to_be_bytes());
        let payload = bytes(&vector["payload"]);
        assert_eq!(payload, [&message[24..], &seal].concat());
        assert_eq!(cipher.unprotect(index, &packet).unwrap(), payload);
        assert_eq!(packet[..Header::LEN], bytes(&vector["aad"]));
        let header = Header::parse(&packet).unwrap();
        assert_eq!(u64::from(header.timestamp), number(&vector["timestamp"]));
        let nonce: [u8; 12] = array(&vector["nonce"]);
        assert_eq!(nonce, nonce_of(&vectors, index));
    }
}

/// RFC 7714 §8.1 by hand.
fn nonce_of(vectors: &Vectors, index: u64) -> [u8; 12] {
    let salt: [u8; 12] = array(&vectors.0["session"]["salt"]);
    let number = u128::from(vectors.ssrc("ssrc")) << 48 | u128::from(index);
    std::array::from_fn(|at| salt[at] ^ number.to_be_bytes()[4 + at])
}

#[test]
fn each_packet_of_a_log_is_that_of_the_vectors() {
    let vectors = Vectors::new();
    let cipher = Cipher::new(&vectors.secret(), vectors.ssrc("log_ssrc"));
    for vector in vectors.list("log") {
        let (index, payload) = (number(&vector["index"]), bytes(&vector["payload"]));
        let packet = cipher.protect(index, index as u32, Header::LOG, &payload);
        assert_eq!(packet, bytes(&vector["packet"]), "packet {index}");
        assert_eq!(cipher.unprotect(index, &packet).unwrap(), payload);
    }
}

#[test]
fn each_packet_to_be_refused_is_refused_for_its_reason() {
    let vectors = Vectors::new();
    let reader = Reader::new(&vectors.info(), &vectors.secret()).unwrap();
    for vector in vectors.list("refused") {
        let reason = reader.read(number(&vector["index"]), &bytes(&vector["packet"])).err();
        let expected = vector["reason"].as_str().expect("reason");
        assert_eq!(reason.as_ref().map(Reject::to_string).as_deref(), Some(expected), "{}", vector["why"]);
    }
}
