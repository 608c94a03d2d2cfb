//! The data folder and its disk.
use super::Report;
use crate::config::Config;
use crate::io::{disk, store};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Whether there is a folder to look further into.
pub fn look(config: &Config, report: &mut Report, running: bool) -> bool {
    let data = &config.node.data;
    let shown = data.display();
    let found = match fs::metadata(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.mistake("data.missing", [&shown]);
            return false;
        }
        Err(error) => {
            report.mistake("data.unreadable", [&shown, &error]);
            return false;
        }
        Ok(found) if !found.is_dir() => {
            report.mistake("data.no_folder", [&shown]);
            return false;
        }
        Ok(found) => found,
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        report.mistake("data.mode", [&shown, &format!("{mode:03o}")]);
    }
    let user = disk::user();
    if user != 0 && user != found.uid() {
        report.mistake("data.owner", [&shown, &found.uid(), &user]);
        return false;
    }
    if let Err(error) = fs::read_dir(data) {
        report.mistake("data.unreadable", [&shown, &error]);
        return false;
    }
    room(data, report);
    version(data, report);
    // A board that has no certificate yet runs and does not hold it.
    if let Some(process) = store::holder(data).filter(|_| running) {
        report.ok("data.in_use", [&shown, &process]);
    }
    true
}

fn room(data: &Path, report: &mut Report) {
    let shown = data.display();
    match disk::room(data) {
        Err(error) => report.mistake("disk.gone", [&shown, &error]),
        Ok(room) if room.read_only => report.mistake("disk.read_only", [&shown]),
        Ok(room) if room.is_short() => {
            let files = room.files.map_or("-".to_owned(), |files| files.to_string());
            report.mistake("disk.full", [&shown, &(room.free >> 20), &files]);
        }
        Ok(room) => match disk::may_write(data) {
            Err(error) => report.mistake("data.unwritable", [&shown, &error]),
            Ok(()) => report.ok("data.fine", [&shown, &(room.free >> 20)]),
        },
    }
}

fn version(data: &Path, report: &mut Report) {
    let file = data.join("VERSION");
    match fs::read_to_string(&file) {
        // Written at the first start.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => report.mistake("data.unreadable", [&file.display(), &error]),
        Ok(text) if text.trim().is_empty() || text.trim() == store::VERSION => {}
        Ok(text) => {
            let found: String = text.trim().chars().take(20).collect();
            report.mistake("data.version", [&data.display(), &found, &store::VERSION]);
        }
    }
}
