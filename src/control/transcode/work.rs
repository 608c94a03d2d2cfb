//! One file to Ogg Opus, on the calling thread.
use super::partial::{Partial, Stop, Stoppable};
use super::plan::{Source, Task};
use crate::audio::{self, Error, Input, LOOKAHEAD, OggOpus, Options, Part, Report};
use crate::control::report::rounded;
use crate::control::text::Failure;
use crate::io::decoder::Isolation;
use crate::io::{clock, identity};
use crate::time::RATE;
use bytes::Bytes;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;

/// What is the same for all files.
pub struct Work {
    pub isolation: Isolation,
    pub options: Options,
    pub force: bool,
    /// Jingles.
    pub before: Option<PathBuf>,
    pub after: Option<PathBuf>,
}

/// A file that is done; one line of `--report`.
#[derive(Debug, Serialize)]
pub struct Done {
    pub file: String,
    pub outputs: Vec<Made>,
    #[serde(flatten)]
    pub report: Report,
}

#[derive(Debug, Serialize)]
pub struct Made {
    pub file: PathBuf,
    /// b/s.
    pub bitrate: u32,
    pub bytes: u64,
}

struct Output<'a> {
    partial: Partial<'a>,
    stream: OggOpus<BufWriter<File>>,
    path: PathBuf,
}

impl Work {
    /// Either all outputs of `task` stand at the end, or none. `progress` hears of the part done, 0 to 1.
    pub fn run(&self, task: &Task, stop: &Arc<Stop>, progress: impl FnMut(f64)) -> Result<Done, Failure> {
        for path in &task.outputs {
            self.vacant(path)?;
        }
        let open = opener(&task.source, &task.name)?;
        // Opened once before anything is written, so that what can't be read makes no file even for a moment.
        drop(self.open(&open, &task.name)?);
        let mut outputs =
            task.outputs.iter().map(|path| Output::create(path, &task.title, stop)).collect::<Result<Vec<_>, _>>()?;
        let mut emit = |rendition: usize, frame: Bytes| {
            let output = &mut outputs[rendition];
            output.stream.frame(frame).map_err(|error| unwritten(&output.path, &error))
        };
        let mut bulletin = || self.stoppable(&open, &task.name, stop);
        let jingle = |path: &Option<PathBuf>| path.clone().map(|path| (path.display().to_string(), Opener::Path(path)));
        let (before, after) = (jingle(&self.before), jingle(&self.after));
        let mut open_before = || before.as_ref().map_or_else(nothing, |(name, path)| self.stoppable(path, name, stop));
        let mut open_after = || after.as_ref().map_or_else(nothing, |(name, path)| self.stoppable(path, name, stop));
        let mut parts = Vec::with_capacity(3);
        if let Some((name, _)) = &before {
            parts.push(Part { name, open: &mut open_before, speech: false });
        }
        let own = parts.len();
        parts.push(Part { name: &task.name, open: &mut bulletin, speech: true });
        if let Some((name, _)) = &after {
            parts.push(Part { name, open: &mut open_after, speech: false });
        }
        let sequence = audio::sequence(&mut parts, &self.options, &mut emit, progress)
            .map_err(|error| Failure::from_room(error.code, error.text))?;
        let mut report = sequence.reports.into_iter().nth(own).unwrap_or_default();
        report.duration = sequence.samples as f64 / f64::from(RATE);
        let made = self.finish(outputs, sequence.samples)?;
        Ok(Done { file: task.name.clone(), outputs: made, report: rounded(report) })
    }

    fn stoppable(&self, open: &Opener, name: &str, stop: &Arc<Stop>) -> Result<Box<dyn Input>, Error> {
        Ok(Box::new(Stoppable { inner: self.open_audio(open, name)?, stop: stop.clone() }))
    }

    fn open(&self, open: &Opener, name: &str) -> Result<Box<dyn Input>, Failure> {
        self.open_audio(open, name).map_err(|error| Failure::from_room(error.code, error.text))
    }

    fn open_audio(&self, open: &Opener, name: &str) -> Result<Box<dyn Input>, Error> {
        match open {
            Opener::Path(path) => self.isolation.file(path, name),
            Opener::Held(file) => {
                // Anew and from its beginning, though it has no name any more.
                let anew = || File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
                self.isolation.opened(anew, name)
            }
        }
    }

    fn vacant(&self, path: &std::path::Path) -> Result<(), Failure> {
        match path.metadata() {
            // A device or a folder is never replaced, force or not.
            Ok(there) if !there.is_file() => Err(Failure::new("transcode.no_file", [&path.display()])),
            Ok(_) if !self.force => Err(Failure::new("transcode.exists", [&path.display()])),
            _ => Ok(()),
        }
    }

    fn finish(&self, outputs: Vec<Output<'_>>, samples: u64) -> Result<Vec<Made>, Failure> {
        let mut written = Vec::with_capacity(outputs.len());
        for Output { partial, stream, path } in outputs {
            let file = stream.finish(samples).and_then(|buffer| buffer.into_inner().map_err(io::Error::from));
            let file = file.map_err(|error| Failure::new("transcode.write", [&path.display(), &error]))?;
            written.push((partial, file, path));
        }
        let mut made = Vec::with_capacity(written.len());
        for ((partial, file, path), bitrate) in written.into_iter().zip(&self.options.bitrates) {
            partial.place(&file, self.force).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::new("transcode.exists", [&path.display()]),
                _ => Failure::new("transcode.write", [&path.display(), &error]),
            })?;
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            made.push(Made { file: path, bitrate: *bitrate, bytes });
        }
        Ok(made)
    }
}

impl<'a> Output<'a> {
    fn create(path: &std::path::Path, title: &str, stop: &'a Stop) -> Result<Self, Failure> {
        let made = Partial::create(path, stop).and_then(|(partial, file)| {
            // Bytes of a comment are bounded; a file's name is at most 255 of them.
            let serial = u32::from_le_bytes(identity::random());
            let stream = OggOpus::new(BufWriter::new(file), &[("TITLE", title)], serial, LOOKAHEAD as u16)?;
            Ok(Self { partial, stream, path: path.to_owned() })
        });
        made.map_err(|error| Failure::new("transcode.write", [&path.display(), &error]))
    }
}

fn nothing() -> Result<Box<dyn Input>, Error> {
    Err(Error::new("media.read", "no file is named".into()))
}

/// A file that can be opened as often as it must be read.
enum Opener {
    Path(PathBuf),
    Held(File),
}

/// Standard input is a file, or becomes one: what is measured first must be read twice.
fn opener(source: &Source, name: &str) -> Result<Opener, Failure> {
    let path = match source {
        Source::File(path) => return Ok(Opener::Path(path.clone())),
        Source::Standard => std::env::temp_dir().join(format!("loa-{}", identity::new_id(clock::wall()))),
    };
    let unkept = |error: &io::Error| Failure::new("transcode.spool", [&path.display(), error]);
    let input = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(|error| unkept(&error))?);
    if input.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(Opener::Held(input));
    }
    let held = File::options().read(true).write(true).create_new(true).open(&path).map_err(|error| unkept(&error))?;
    fs::remove_file(&path).map_err(|error| unkept(&error))?;
    let mut writer = &held;
    let copied = io::copy(&mut input.take(LARGEST + 1), &mut writer).map_err(|error| unkept(&error))?;
    writer.flush().map_err(|error| unkept(&error))?;
    match copied > LARGEST {
        true => Err(Failure::new("media.too_large", [&name, &LARGEST])),
        false => Ok(Opener::Held(held)),
    }
}

fn unwritten(path: &std::path::Path, error: &io::Error) -> Error {
    let text = format!("{}: can't be written: {error}; see that the disk has room", path.display());
    Error::new("transcode.write", text)
}

/// Bytes taken from standard input: as of an upload.
const LARGEST: u64 = 2 << 30;
