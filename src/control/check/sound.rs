//! Whether sound could leave here, and come in.
use super::Report;
use crate::config::{Config, Playout};
use crate::io::sound::trial::{self, Obstacle};
use crate::io::switch;

pub fn look(config: &Config, report: &mut Report, running: bool) {
    // That this build has no sound cards has been told, with its place in the file.
    let untold = |playout: &&Playout| cfg!(feature = "sound") || !playout.device.starts_with("alsa:");
    if let Some(playout) = config.playout.as_ref().filter(untold) {
        match trial::run(playout) {
            // The node that runs holds the card, and says itself how it goes.
            Err(Obstacle::Card { .. }) if running => report.ok("sound.own", [&playout.device]),
            Err(Obstacle::Card { why, mend }) => report.mistake("sound.card", [&playout.device, &why, &mend]),
            Err(Obstacle::File { file, why }) => report.mistake("sound.unwritable", [&file.display(), &why]),
            Err(Obstacle::Program(name)) => report.mistake("sound.program", [&playout.device, &name]),
            Ok(()) => report.ok("sound.fine", [&playout.device]),
        }
    }
    let switch = config.playout.as_ref().and_then(|playout| playout.mute_switch.as_ref());
    if switch.is_some_and(|file| switch::read(file).is_err()) {
        report.mistake("mute.switch", []);
    }
    if let Some(decoder) = config.sources.as_ref().and_then(|sources| sources.decoder.as_ref())
        && !trial::is_there(&decoder.to_string_lossy(), std::path::Path::new("."))
    {
        report.mistake("sources.decoder", [&decoder.display()]);
    }
}
