//! What Loa doesn't read itself, through a decoder that is called like ffmpeg.
//!
//! ```text
//!   file ──▶ ffmpeg ── WAV, a pipe ──▶ loa decode ──▶ here
//! ```
//! Both are bounded. Playlists and network addresses inside a file are never followed: only the formats and
//! the protocols listed below are allowed.
use super::process::{Limits, Process, ending};
use super::remote::Decoder;
use super::{Form, Isolation, in_process, spawn};
use crate::audio::{Damage, Error, Facts, Found, Input};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Opens a file that Loa's own decoder refused with `own`.
pub fn open(
    isolation: &Isolation,
    program: &Path,
    file: File,
    bytes: u64,
    name: &str,
    own: &Error,
) -> Result<Box<dyn Input>, Error> {
    let called = program.display().to_string();
    let unstarted = |why: String| {
        let text =
            format!("{name}: the foreign decoder {called} can't be started: {why}; install it, or mend its name");
        Error::new(FOREIGN, text)
    };
    let found = search(program).ok_or_else(|| unstarted("there is no such program".into()))?;
    let arguments: Vec<OsString> = ARGUMENTS.iter().map(OsString::from).collect();
    let mut process = Process::spawn(&found, &arguments, file.into(), Limits::of_foreign(bytes))
        .map_err(|error| unstarted(error.to_string()))?;
    let sound = process.take_output().ok_or_else(|| unstarted("it has no output".into()))?;
    let inner: Result<Box<dyn Input>, Error> = match &isolation.program {
        None => in_process(Form::Container, sound, name),
        Some(loa) => spawn(loa, name, &["--stream".into()], sound.into(), Limits::of_file(bytes))
            .and_then(|decoder| Decoder::begin(decoder, name, false))
            .map(|decoder| Box::new(decoder) as Box<dyn Input>),
    };
    let mut foreign = Foreign { name: name.to_owned(), called, process: Some(process), found: Found::default() };
    let inner = match inner {
        Ok(inner) => inner,
        // The cause stands before the effect: an empty pipe is what a refusal looks like from behind.
        Err(error) => return Err(foreign.end().map_or_else(|failure| refused(own, &failure), |()| error)),
    };
    let facts = Facts {
        container: format!("read by {}", foreign.called),
        codec: "foreign".into(),
        samples: None,
        ..inner.facts().clone()
    };
    Ok(Box::new(Behind { foreign, inner, facts, end: None }))
}

/// Sound that another program decoded.
struct Behind {
    foreign: Foreign,
    inner: Box<dyn Input>,
    facts: Facts,
    end: Option<Result<(), Error>>,
}

impl Input for Behind {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| false);
        }
        let read = self.inner.read(out);
        self.foreign.listen(self.inner.found());
        if let Ok(true) = read {
            return Ok(true);
        }
        let end = self.foreign.end().and(read.map(|_| ()));
        self.foreign.listen(self.inner.found());
        self.end = Some(end.clone());
        end.map(|()| false)
    }

    fn found(&self) -> &Found {
        &self.foreign.found
    }
}

struct Foreign {
    name: String,
    called: String,
    process: Option<Process>,
    found: Found,
}

impl Foreign {
    fn listen(&mut self, inner: &Found) {
        let said = self.found.damage.iter().position(|damage| damage.what.starts_with(&self.called));
        let said = said.map(|at| self.found.damage.swap_remove(at));
        self.found = inner.clone();
        self.found.damage.extend(said);
        if let Some(process) = &mut self.process {
            process.listen();
        }
    }

    /// Its exit, once; what it complained of without failing is damage that it can't place.
    fn end(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let failed = |how: String| {
            let text = format!("{}: {} {how}; export it as WAV or FLAC", self.name, self.called);
            Error::new(FOREIGN, text)
        };
        let status = process.end().map_err(|error| failed(error.to_string()))?;
        let tail = process.tail();
        if !status.success() {
            return Err(failed(match tail.is_empty() {
                true => ending(status),
                false => format!("{}: {tail}", ending(status)),
            }));
        }
        if !tail.is_empty() {
            self.found.damage.push(Damage { at: 0.0, lasts: 0.0, what: format!("{}: {tail}", self.called) });
        }
        Ok(())
    }
}

fn refused(own: &Error, foreign: &Error) -> Error {
    Error::new(FOREIGN, format!("{} ({})", foreign.text, own.text))
}

/// A bare name is looked for where a shell looks: the child has no environment to look in.
fn search(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 || program.is_absolute() {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The foreign decoder failed, or isn't there.
const FOREIGN: &str = "media.foreign";
/// One thread: each takes address space, and there is one core for each file. `file:` on its own standard input
/// can be sought in, as MP4 needs. 32-bit float, so that nothing clips on the way.
const ARGUMENTS: [&str; 23] = [
    "-nostdin",
    "-v",
    "error",
    "-threads",
    "1",
    "-protocol_whitelist",
    "file,pipe",
    "-format_whitelist",
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,dtshd,flac,flv,gsm,matroska,mov,mp3,mpeg,mpegts,mpc,\
     mpc8,ogg,rm,tak,tta,voc,w64,wav,wv,xwma",
    "-i",
    "file:/proc/self/fd/0",
    "-map",
    "0:a:0",
    "-vn",
    "-sn",
    "-dn",
    "-threads",
    "1",
    "-c:a",
    "pcm_f32le",
    "-f",
    "wav",
    "pipe:1",
];
