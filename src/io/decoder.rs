//! Where foreign bytes are decoded: in a process of its own, so that no file can reach the keys or the memory of
//! a node.
//!
//! ```text
//!   this process                            loa decode: limits, no environment, no path
//!   Decoder ◀──────── standard output ────── audio::Source ◀── standard input: the opened file, or a pipe
//!
//!   a message:  kind 1 │ length of the body 4, little-endian │ body
//!   "I"  facts, JSON               once, first
//!   "S"  mono samples at 48 kHz    f32, little-endian, at most 32,768
//!   "F"  found, JSON               when it has grown, and before the end
//!   "X"  error, JSON: code, text   last
//!   "E"  end, nothing              last
//! ```
//! The reader trusts none of it: lengths are bounded, the order is checked, samples are finite, texts are plain.
//! The child is killed and reaped when its [`Input`] is dropped; it also lives no longer than the **thread** that
//! opened it, so open, read and drop on one that lasts.
mod foreign;
mod message;
mod process;
mod remote;
mod serve;
#[cfg(test)]
mod tests;

use crate::audio::{Error, Input, Pcm, Source};
use crossbeam_channel::{Receiver, Sender, bounded};
#[doc(hidden)]
pub use message::read_all;
use process::{Limits, Process};
use remote::Decoder;
pub use serve::serve;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// How far away decoding happens.
#[derive(Clone, Debug, Default)]
pub struct Isolation {
    /// The program that decodes when called as `PROGRAM decode`; `None` decodes in this process, for tests.
    pub program: Option<PathBuf>,
    /// A decoder for what Loa doesn't read itself (HE-AAC, AMR, WMA): `ffmpeg`, or a program called like it.
    pub foreign: Option<PathBuf>,
}

/// What comes down a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any container, told by its first bytes.
    Container,
    Pcm(Pcm),
}

impl Isolation {
    /// In a process of this very program, even if its file was replaced since it started. Only for `loa` itself:
    /// another program would run its own `decode`, whatever that is.
    pub fn own(foreign: Option<PathBuf>) -> Self {
        Self { program: Some(PathBuf::from("/proc/self/exe")), foreign }
    }

    /// Opens a file; `name` is only for messages. Blocking.
    pub fn file(&self, path: &Path, name: &str) -> Result<Box<dyn Input>, Error> {
        let unread = |error: io::Error| Error::read(name, &error);
        // Opening a named pipe would wait for whoever writes into it.
        if !path.metadata().map_err(unread)?.is_file() {
            let what = if path.is_dir() { "it is a folder; name the files in it" } else { "it is no regular file" };
            return Err(unread(io::Error::other(what)));
        }
        self.opened(|| File::open(path), name)
    }

    /// The same of a file that has no path; `open` gives it anew, at its beginning, each time it is called.
    pub fn opened(&self, mut open: impl FnMut() -> io::Result<File>, name: &str) -> Result<Box<dyn Input>, Error> {
        let mut again = || open().map_err(|error| Error::read(name, &error));
        let file = again()?;
        let bytes = file.metadata().map_err(|error| Error::read(name, &error))?.len();
        let own: Result<Box<dyn Input>, Error> = match &self.program {
            None => Source::open(file, name).map(|source| Box::new(source) as Box<dyn Input>),
            Some(program) => {
                let process = spawn(program, name, &[], file.into(), Limits::of_file(bytes))?;
                Decoder::begin(process, name, false).map(|decoder| Box::new(decoder) as Box<dyn Input>)
            }
        };
        match (own, &self.foreign) {
            (Err(error), Some(foreign)) if FOREIGN.contains(&error.code) => {
                foreign::open(self, foreign, again()?, bytes, name, &error)
            }
            (own, _) => own,
        }
    }

    /// Two ends of one decoder: what is written into the first comes out of the second as samples. Each may
    /// block on the other, so they belong to two threads. `begin` is called on the second's thread, and blocks
    /// until the first bytes tell the format.
    pub fn stream(&self, form: Form, name: &str) -> io::Result<(Box<dyn Write + Send>, Begin)> {
        let name = name.to_owned();
        let Some(program) = self.program.clone() else {
            let (sender, receiver) = bounded(BLOCKS);
            let begin = move || {
                let pipe = Pipe { blocks: receiver, block: Vec::new(), used: 0 };
                in_process(form, pipe, &name)
            };
            return Ok((Box::new(Mouth { blocks: sender }), Box::new(begin)));
        };
        let (reader, writer) = io::pipe()?;
        let begin = move || -> Result<Box<dyn Input>, Error> {
            let mut arguments = vec![OsString::from("--stream")];
            if let Form::Pcm(pcm) = form {
                arguments.push(format!("--pcm={pcm}").into());
            }
            let process = spawn(&program, &name, &arguments, reader.into(), Limits::of_stream())?;
            Ok(Box::new(Decoder::begin(process, &name, true)?))
        };
        Ok((Box::new(writer), Box::new(begin)))
    }
}

/// Waits for the beginning of a stream.
pub type Begin = Box<dyn FnOnce() -> Result<Box<dyn Input>, Error> + Send>;

fn in_process<R: Read + Send + Sync + 'static>(form: Form, reader: R, name: &str) -> Result<Box<dyn Input>, Error> {
    Ok(match form {
        Form::Container => Box::new(Source::stream(reader, name)?),
        Form::Pcm(pcm) => Box::new(Source::pcm(reader, name, pcm)?),
    })
}

fn spawn(program: &Path, name: &str, more: &[OsString], input: Stdio, limits: Limits) -> Result<Process, Error> {
    let mut arguments = vec![OsString::from("decode"), format!("--name={name}").into()];
    arguments.extend_from_slice(more);
    Process::spawn(program, &arguments, input, limits).map_err(|error| {
        let program = program.display();
        Error::new(DECODER, format!("{name}: the decoder {program} can't be started: {error}; see that it can be run"))
    })
}

struct Mouth {
    blocks: Sender<Vec<u8>>,
}

impl Write for Mouth {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(BLOCK)];
        self.blocks.send(part.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Pipe {
    blocks: Receiver<Vec<u8>>,
    block: Vec<u8>,
    used: usize,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used >= self.block.len() {
            self.used = 0;
            self.block = self.blocks.recv().unwrap_or_default();
        }
        let count = buffer.len().min(self.block.len() - self.used);
        buffer[..count].copy_from_slice(&self.block[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

/// Bytes in one block of a pipe, and blocks in it: 64 KiB, as Linux's pipes hold.
const BLOCK: usize = 4_096;
const BLOCKS: usize = 16;
/// What another decoder may know. Damage is damage for any.
const FOREIGN: [&str; 3] = ["media.he_aac", "media.unsupported", "media.unknown_format"];
/// The decoder itself failed, whatever it was given.
const DECODER: &str = "media.decoder";
