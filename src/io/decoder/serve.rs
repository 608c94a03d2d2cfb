//! The child's side: decodes its standard input, and says what it finds on its standard output.
use super::message::Messenger;
use super::{Form, in_process};
use crate::audio::{Error, Found, Input, Source};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

/// What `loa decode` does. `stream` reads a pipe and says each piece at once; without it standard input is a file.
/// `name` is only for messages.
pub fn serve(stream: Option<Form>, name: &str) -> ExitCode {
    let ends = io::stdin().as_fd().try_clone_to_owned();
    let ends = ends.and_then(|input| Ok((File::from(input), File::from(io::stdout().as_fd().try_clone_to_owned()?))));
    let Ok((input, output)) = ends else { return ExitCode::FAILURE };
    let gather = if stream.is_some() { 0 } else { GATHER };
    let source = match stream {
        None => Source::open(input, name).map(|source| Box::new(source) as Box<dyn Input>),
        Some(form) => in_process(form, input, name),
    };
    match say(source, &mut Messenger::new(output), gather) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever wanted it has gone.
        Err(_) => ExitCode::FAILURE,
    }
}

fn say<W: Write>(source: Result<Box<dyn Input>, Error>, to: &mut Messenger<W>, gather: usize) -> io::Result<()> {
    let mut source = match source {
        Ok(source) => source,
        Err(error) => return to.error(&error),
    };
    to.facts(source.facts())?;
    let mut samples = Vec::new();
    let mut told = Told { found: Found::default(), samples: 0 };
    loop {
        let read = source.read(&mut samples);
        let more = matches!(read, Ok(true));
        if samples.len() > gather || !more {
            to.samples(&samples)?;
            told.samples += samples.len();
            samples.clear();
        }
        // What was noticed is said before the end, so that the end is the last word.
        if !more || told.due(source.found()) {
            told = Told { found: source.found().clone(), samples: 0 };
            to.found(&told.found)?;
        }
        match read {
            Ok(true) => {}
            Ok(false) => return to.end(),
            Err(error) => return to.error(&error),
        }
    }
}

/// What was last said of the things noticed.
struct Told {
    found: Found,
    /// Since then.
    samples: usize,
}

impl Told {
    /// Damage at once, the rest from time to time.
    fn due(&self, found: &Found) -> bool {
        found.damage.len() != self.found.damage.len() || (self.samples > OFTEN && *found != self.found)
    }
}

/// Samples of a file said at once: 64 KiB, so that a second of sound costs three writes.
const GATHER: usize = 16_384;
/// Samples between two words on what was noticed: a second.
const OFTEN: usize = 48_000;
