//! A sound card through ALSA, which must take 16 bits at 48 kHz, mono or stereo.
use super::super::clock;
use super::hardware::{Fault, Lost, Port, State};
use crate::time::{Local, RATE, SECOND};
use ::alsa::pcm::{Access, Format, Frames, HwParams, PCM, State as Now, TstampType};
use ::alsa::{Direction, Error, Output, ValueOr};
use std::ffi::CString;

/// Opens the card that ALSA knows by this name, and never waits for it to be free.
pub fn open(name: &str) -> Result<Box<dyn Port>, Lost> {
    // What the library prints beyond its errors stays here: it would come again with every try.
    let _kept = Output::local_error_handler();
    let name = CString::new(name).map_err(|_| Lost { why: "its name holds a zero byte".into(), mend: NAME })?;
    let pcm = PCM::open(&name, Direction::Playback, true).map_err(|error| Lost {
        why: format!("cannot be opened ({error})"),
        mend: if error.errno() == libc::EBUSY { "end the program that holds it" } else { NAME },
    })?;
    let (channels, buffer) = configure(&pcm).map_err(|error| Lost {
        why: format!("does not take 16 bits at 48 kHz, mono or stereo ({error})"),
        mend: "name it with plughw: instead of hw:, which converts",
    })?;
    Ok(Box::new(Alsa { pcm, channels, buffer, interleaved: Vec::new() }))
}

struct Alsa {
    pcm: PCM,
    channels: usize,
    buffer: usize,
    interleaved: Vec<i16>,
}

impl Port for Alsa {
    fn now(&self) -> Local {
        clock::local()
    }

    fn buffer(&self) -> usize {
        self.buffer
    }

    fn state(&mut self) -> Result<State, Fault> {
        // Brings what the status says up to date, and says what is wrong.
        let room = self.pcm.avail().map_err(|error| self.fault(error))?;
        let status = self.pcm.status().map_err(|error| self.fault(error))?;
        let stamp = status.get_htstamp();
        let (read, stamp) = (clock::local(), Local(stamp.tv_sec.saturating_mul(SECOND) + stamp.tv_nsec / 1_000));
        let fresh = (read - FRESH..=read).contains(&stamp);
        Ok(State {
            at: if fresh { stamp } else { read },
            room: usize::try_from(room).unwrap_or(0),
            delay: usize::try_from(status.get_delay()).unwrap_or(0),
            running: self.pcm.state_raw() == Now::Running as i32,
        })
    }

    fn write(&mut self, samples: &[i16]) -> Result<usize, Fault> {
        self.interleaved.clear();
        let channels = self.channels;
        self.interleaved.extend(samples.iter().flat_map(|sample| std::iter::repeat_n(*sample, channels)));
        let written = self.pcm.io_i16().and_then(|io| io.writei(&self.interleaved));
        match written {
            Ok(frames) => Ok(frames),
            Err(error) if matches!(error.errno(), libc::EAGAIN | libc::EINTR) => Ok(0),
            Err(error) => Err(self.fault(error)),
        }
    }
}

impl Alsa {
    /// An underrun, and a machine that slept, are mended at once.
    fn fault(&self, error: Error) -> Fault {
        let mended = match error.errno() {
            libc::EPIPE | libc::ESTRPIPE => self.pcm.try_recover(error, true),
            _ => Err(error),
        };
        match mended {
            Ok(()) => Fault::Empty,
            Err(error) => {
                Fault::Lost(Lost { why: format!("takes no sound any more ({error})"), mend: "plug it in again" })
            }
        }
    }
}

/// 48 kHz, 16 bits; mono, or stereo where mono is refused. Channels, and frames of buffer.
fn configure(pcm: &PCM) -> Result<(usize, usize), Error> {
    let hardware = HwParams::any(pcm)?;
    hardware.set_access(Access::RWInterleaved)?;
    hardware.set_format(Format::s16())?;
    hardware.set_rate(RATE, ValueOr::Nearest)?;
    let channels = if hardware.test_channels(1).is_ok() { 1 } else { 2 };
    hardware.set_channels(channels)?;
    hardware.set_period_time_near(PERIOD, ValueOr::Nearest)?;
    hardware.set_buffer_time_near(BUFFER, ValueOr::Nearest)?;
    pcm.hw_params(&hardware)?;
    let buffer = hardware.get_buffer_size()?;
    let software = pcm.sw_params_current()?;
    software.set_start_threshold(STARTS.min(buffer / 2).max(1))?;
    software.set_tstamp_mode(true)?;
    // The clock of `clock::local`. What a plugin stamps otherwise is not believed.
    let _ = software.set_tstamp_type(TstampType::Monotonic);
    pcm.sw_params(&software)?;
    Ok((channels as usize, usize::try_from(buffer).unwrap_or(0)))
}

const NAME: &str = "plug it in, or name one that `aplay -L` lists as playout.device";
/// µs: the thread looks every 10 ms.
const PERIOD: u32 = 10_000;
/// µs: what the player plans ahead fills it.
const BUFFER: u32 = 100_000;
/// Frames (10 ms) at which the card starts to play: it is given more at once.
const STARTS: Frames = RATE as Frames / 100;
/// µs: a time stamp may be that of the last period.
const FRESH: i64 = 50_000;

#[cfg(test)]
#[path = "alsa/tests.rs"]
mod tests;
