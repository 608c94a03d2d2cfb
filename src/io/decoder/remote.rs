//! Sound from a decoder in another process.
use super::DECODER;
use super::message::{Message, Reader, Wrong};
use super::process::{Got, Process, ending};
use crate::audio::{Error, Facts, Found, Input};
use crate::time::RATE;
use std::time::Duration;

/// Reads what `loa decode` says. Memory: one message, whatever the child does.
pub struct Decoder {
    name: String,
    /// Gone after the last word.
    process: Option<Process>,
    reader: Reader,
    facts: Facts,
    found: Found,
    /// So far, for saying where it stopped.
    samples: u64,
    watch: Watch,
    end: Option<Result<(), Error>>,
}

/// How long a child may say nothing.
struct Watch {
    /// It may wait for its own input, but not compute without a word.
    live: bool,
    patience: Duration,
    /// Its seconds of computing when it last spoke.
    seconds: f64,
}

impl Decoder {
    /// Waits for the first word. `live`: its input may pause as long as it likes.
    pub fn begin(process: Process, name: &str, live: bool) -> Result<Self, Error> {
        Self::patient(process, name, live, PATIENCE)
    }

    pub(super) fn patient(process: Process, name: &str, live: bool, patience: Duration) -> Result<Self, Error> {
        let mut decoder = Self {
            name: name.to_owned(),
            process: Some(process),
            reader: Reader::new(),
            facts: Facts::default(),
            found: Found::default(),
            samples: 0,
            watch: Watch { live, patience, seconds: 0.0 },
            end: None,
        };
        let mut none = Vec::new();
        match decoder.next(&mut none)? {
            Message::Facts(facts) => decoder.facts = facts,
            Message::Error(error) => return Err(error),
            _ => return Err(decoder.misspoken(&Wrong("it doesn't begin with the file's facts"))),
        }
        Ok(decoder)
    }

    /// The next message, samples into `out`.
    fn next(&mut self, out: &mut Vec<f32>) -> Result<Message, Error> {
        loop {
            match self.reader.next(out) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(wrong) => return Err(self.misspoken(&wrong)),
            }
            let Some(process) = &mut self.process else { return Err(self.failed("has gone", MEND)) };
            match process.read(self.reader.room(), self.watch.patience) {
                Ok(Got::Bytes(count)) => {
                    self.reader.filled(count);
                    self.watch.seconds = if self.watch.live { process.seconds() } else { 0.0 };
                }
                Ok(Got::Silence) => self.be_patient()?,
                Ok(Got::End) => return Err(self.broken_off()),
                Err(error) => return Err(self.failed(&format!("can't be heard: {error}"), MEND)),
            }
        }
    }

    fn be_patient(&mut self) -> Result<(), Error> {
        let spent = self.process.as_ref().map_or(0.0, Process::seconds) - self.watch.seconds;
        if self.watch.live && spent < self.watch.patience.as_secs_f64() / 2.0 {
            return Ok(());
        }
        Err(self.failed(&format!("said nothing for {:.1} s", self.watch.patience.as_secs_f64()), MEND))
    }

    /// It ended without its last word.
    fn broken_off(&mut self) -> Error {
        let Some(mut process) = self.process.take() else { return self.failed("has gone", MEND) };
        let how = match process.end() {
            Ok(status) => ending(status),
            Err(error) => format!("ended, nobody knows how: {error}"),
        };
        let last = process.tail();
        // How Rust's allocator takes its leave.
        if last.contains("memory allocation") {
            let most = super::process::MEMORY >> 20;
            return self.failed(&format!("wanted more memory than the {most} MiB it may take"), MEND);
        }
        self.failed(&how, MEND)
    }

    fn misspoken(&mut self, wrong: &Wrong) -> Error {
        self.failed(&format!("is not understood: {}", wrong.0), "see that the program is Loa, of this version")
    }

    fn failed(&mut self, how: &str, mend: &str) -> Error {
        self.process = None;
        let seconds = self.samples as f64 / f64::from(RATE);
        Error::new(DECODER, format!("{}: at {seconds:.3} s: the decoder {how}; {mend}", self.name))
    }

    fn advance(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        loop {
            let before = out.len();
            match self.next(out)? {
                Message::Samples => {
                    self.samples += (out.len() - before) as u64;
                    return Ok(true);
                }
                Message::Found(found) => self.found = found,
                Message::Error(error) => return Err(error),
                Message::End if self.reader.between() => return Ok(false),
                Message::End | Message::Facts(_) => return Err(self.misspoken(&Wrong("it says more than the end"))),
            }
        }
    }
}

impl Input for Decoder {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| false);
        }
        let read = self.advance(out);
        if !matches!(read, Ok(true)) {
            self.process = None;
            self.end = Some(read.clone().map(|_| ()));
        }
        read
    }

    fn found(&self) -> &Found {
        &self.found
    }
}

const MEND: &str = "the file may be damaged, export it again as WAV or FLAC";
/// For the next piece of a file, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
