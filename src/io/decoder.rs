//! Where foreign bytes are decoded: in a process of its own, so that no file can reach the keys or the memory of
//! a node.
use crate::audio::{Error, Input, Pcm, Source};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

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
    /// Opens a file; `name` is only for messages. Blocking.
    pub fn file(&self, path: &Path, name: &str) -> Result<Box<dyn Input>, Error> {
        let file = File::open(path).map_err(|error| Error::read(name, &error))?;
        Ok(Box::new(Source::open(file, name)?))
    }

    /// Two ends of one decoder: what is written into the first comes out of the second as samples. Each may
    /// block on the other, so they belong to two threads. `begin` is called on the second's thread, and blocks
    /// until the first bytes tell the format.
    pub fn stream(&self, form: Form, name: &str) -> io::Result<(Box<dyn Write + Send>, Begin)> {
        let (sender, receiver) = bounded(BLOCKS);
        let name = name.to_owned();
        let begin = move || -> Result<Box<dyn Input>, Error> {
            let pipe = Pipe { blocks: receiver, block: Vec::new(), used: 0 };
            Ok(match form {
                Form::Container => Box::new(Source::stream(pipe, &name)?),
                Form::Pcm(pcm) => Box::new(Source::pcm(pipe, &name, pcm)?),
            })
        };
        Ok((Box::new(Mouth { blocks: sender }), Box::new(begin)))
    }
}

/// Waits for the beginning of a stream.
pub type Begin = Box<dyn FnOnce() -> Result<Box<dyn Input>, Error> + Send>;

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
