//! The messages between a decoder and whoever reads it, as drawn in the parent.
use crate::audio::{Error, Facts, Found};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// One message, checked.
#[derive(Debug, PartialEq)]
pub enum Message {
    Facts(Facts),
    /// Appended to the samples that [`Reader::next`] was given.
    Samples,
    Found(Found),
    Error(Error),
    End,
}

/// What a body holds is not what its kind says; the text is for the reader of an error.
#[derive(Debug, PartialEq)]
pub struct Wrong(pub &'static str);

/// Cuts bytes as they come into messages. Memory: one message of the largest size.
pub struct Reader {
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Reader {
    pub fn new() -> Self {
        Self { buffer: vec![0; HEADER + LONGEST], begin: 0, end: 0 }
    }

    /// Where the next bytes belong; never empty after [`Reader::next`] gave `None`.
    pub fn room(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        &mut self.buffer[self.end..]
    }

    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// Whether the bytes so far end between two messages.
    pub fn between(&self) -> bool {
        self.begin == self.end
    }

    /// The next whole message; samples go to `out`.
    pub fn next(&mut self, out: &mut Vec<f32>) -> Result<Option<Message>, Wrong> {
        let bytes = &self.buffer[self.begin..self.end];
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > LONGEST || !KINDS.contains(&header[0]) {
            return Err(Wrong("it says what no decoder of Loa says"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = match header[0] {
            b'S' => take_samples(body, out)?,
            b'I' => Message::Facts(plain_facts(parse(body)?)),
            b'F' => Message::Found(plain_found(parse(body)?)),
            b'X' => Message::Error(parse::<Said>(body)?.into_error()),
            _ if length == 0 => Message::End,
            _ => return Err(Wrong("its end has a body")),
        };
        self.begin += HEADER + length;
        Ok(Some(message))
    }
}

/// All that a decoder has said, in pieces of this size: how many messages and samples, up to the first that is
/// wrong. For fuzzing.
pub fn read_all(said: &[u8], piece: usize) -> (usize, usize) {
    let (mut reader, mut samples, mut messages) = (Reader::new(), Vec::new(), 0);
    for piece in said.chunks(piece.max(1)) {
        let mut rest = piece;
        while !rest.is_empty() {
            let room = reader.room();
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            reader.filled(count);
            rest = &rest[count..];
            loop {
                match reader.next(&mut samples) {
                    Ok(Some(_)) => messages += 1,
                    Ok(None) => break,
                    Err(_) => return (messages, samples.len()),
                }
            }
        }
    }
    (messages, samples.len())
}

fn take_samples(body: &[u8], out: &mut Vec<f32>) -> Result<Message, Wrong> {
    if body.is_empty() || !body.len().is_multiple_of(4) {
        return Err(Wrong("its samples are not whole"));
    }
    let before = out.len();
    out.extend(body.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])));
    match out[before..].iter().all(|sample| sample.is_finite()) {
        true => Ok(Message::Samples),
        false => {
            out.truncate(before);
            Err(Wrong("a sample is not a number"))
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Wrong> {
    serde_json::from_slice(body).map_err(|_| Wrong("what it says of the file can't be read"))
}

/// Writes messages; each call is one write where the pipe has room.
pub struct Messenger<W> {
    to: W,
    bytes: Vec<u8>,
}

impl<W: Write> Messenger<W> {
    pub fn new(to: W) -> Self {
        Self { to, bytes: Vec::new() }
    }

    pub fn facts(&mut self, facts: &Facts) -> io::Result<()> {
        self.json(b'I', facts)
    }

    pub fn samples(&mut self, samples: &[f32]) -> io::Result<()> {
        for part in samples.chunks(MOST_SAMPLES) {
            self.begin(b'S', part.len() * 4);
            self.bytes.resize(HEADER + part.len() * 4, 0);
            for (four, sample) in self.bytes[HEADER..].chunks_exact_mut(4).zip(part) {
                four.copy_from_slice(&sample.to_le_bytes());
            }
            self.to.write_all(&self.bytes)?;
        }
        Ok(())
    }

    pub fn found(&mut self, found: &Found) -> io::Result<()> {
        self.json(b'F', found)
    }

    pub fn error(&mut self, error: &Error) -> io::Result<()> {
        self.json(b'X', &Said { code: error.code.to_owned(), text: shorten(&error.text) })
    }

    pub fn end(&mut self) -> io::Result<()> {
        self.begin(b'E', 0);
        self.to.write_all(&self.bytes)
    }

    fn json(&mut self, kind: u8, value: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(value)?;
        self.begin(kind, body.len());
        self.bytes.extend_from_slice(&body);
        self.to.write_all(&self.bytes)
    }

    fn begin(&mut self, kind: u8, length: usize) {
        self.bytes.clear();
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
    }
}

#[derive(Serialize, Deserialize)]
struct Said {
    code: String,
    text: String,
}

impl Said {
    fn into_error(self) -> Error {
        let code = CODES.into_iter().find(|code| *code == self.code).unwrap_or(super::DECODER);
        Error::new(code, plain(&self.text))
    }
}

fn plain_facts(mut facts: Facts) -> Facts {
    (facts.container, facts.codec) = (plain(&facts.container), plain(&facts.codec));
    facts
}

fn plain_found(mut found: Found) -> Found {
    found.damage.truncate(MOST_DAMAGE);
    for damage in &mut found.damage {
        damage.what = plain(&damage.what);
    }
    found
}

/// Nothing that could speak to a terminal instead of a reader.
pub fn plain(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shorten(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

const HEADER: usize = 5;
const KINDS: [u8; 5] = *b"ISFXE";
/// 0.7 s: large enough that a message costs nothing beside what it carries.
const MOST_SAMPLES: usize = 32_768;
/// Bytes of a body: as many samples; and a hundred stretches of damage with a line of text each.
const LONGEST: usize = 4 * MOST_SAMPLES;
/// As `audio::Found` keeps.
const MOST_DAMAGE: usize = 100;
/// Characters.
const LONGEST_TEXT: usize = 1_000;
/// What `audio` says of a file (`audio::Error`).
const CODES: [&str; 13] = [
    "media.empty",
    "media.unknown_format",
    "media.unsupported",
    "media.he_aac",
    "media.no_sound",
    "media.truncated",
    "media.damaged",
    "media.too_long",
    "media.changed",
    "media.read",
    "media.options",
    "media.encoder",
    "media.pcm",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Damage;
    use proptest::prelude::*;

    fn read(bytes: &[u8], step: usize) -> Result<(Vec<Message>, Vec<f32>), Wrong> {
        let (mut reader, mut all, mut samples) = (Reader::new(), Vec::new(), Vec::new());
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = reader.room().len().min(step).min(rest.len());
            reader.room()[..count].copy_from_slice(&rest[..count]);
            reader.filled(count);
            rest = &rest[count..];
            while let Some(message) = reader.next(&mut samples)? {
                all.push(message);
            }
        }
        Ok((all, samples))
    }

    #[test]
    fn what_is_written_is_read_again_however_it_is_cut() {
        let facts = Facts { container: "WAV".into(), rate: 44_100, samples: Some(7), ..Facts::default() };
        let damage = Damage { at: 1.5, lasts: 0.1, what: "gone".into() };
        let found = Found { damage: vec![damage], lost: 0.1, ..Found::default() };
        let error = Error::new("media.damaged", "a.wav: at 1.5 s: gone".into());
        let sound: Vec<f32> = (0..70_000).map(|n| (n as f32 / 1e5).sin()).collect();
        let mut bytes = Vec::new();
        let mut to = Messenger::new(&mut bytes);
        to.facts(&facts).unwrap();
        to.samples(&sound).unwrap();
        to.found(&found).unwrap();
        to.error(&error).unwrap();
        to.end().unwrap();
        for step in [1, 999, 131_000] {
            let (all, samples) = read(&bytes, step).unwrap();
            assert_eq!(samples, sound);
            let others: Vec<Message> = all.into_iter().filter(|message| *message != Message::Samples).collect();
            let expected = [
                Message::Facts(facts.clone()),
                Message::Found(found.clone()),
                Message::Error(error.clone()),
                Message::End,
            ];
            assert_eq!(others, expected);
        }
    }

    #[test]
    fn a_length_beyond_all_is_refused_before_anything_is_kept() {
        assert!(read(b"S\xff\xff\xff\x7f", 5).is_err());
        assert!(read(b"hello, I am another program", 5).is_err());
        assert!(read(b"E\x01\0\0\0x", 6).is_err());
        assert!(read(b"S\x03\0\0\0abc", 8).is_err());
        assert!(read(&[&b"S\x04\0\0\0"[..], &f32::NAN.to_le_bytes()].concat(), 9).is_err());
    }

    #[test]
    fn a_text_can_not_speak_to_the_terminal() {
        let mut bytes = Vec::new();
        Messenger::new(&mut bytes).error(&Error::new("no.such", "a\x1b[2J\nb".into())).unwrap();
        let (all, _) = read(&bytes, 10_000).unwrap();
        assert_eq!(all, [Message::Error(Error::new("media.decoder", "a [2J b".into()))]);
    }

    proptest! {
        #[test]
        fn random_bytes_make_no_panic(kind in prop::sample::select(KINDS.to_vec()), body in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&[kind][..], &(body.len() as u32).to_le_bytes(), &body].concat();
            let _ = read(&bytes, 64);
        }
    }
}
