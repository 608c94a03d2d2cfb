//! What a file system has left, and what it lets this process do. Nothing here writes.
use std::ffi::CString;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A file system as this process may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes.
    pub free: u64,
    pub total: u64,
    /// Files and folders that can still be made; `None` where the file system has no such bound.
    pub files: Option<u64>,
    pub read_only: bool,
}

impl Room {
    /// Whether orders and keys can be kept for a while: below this a node says so.
    pub fn is_short(&self) -> bool {
        self.free < ENOUGH.min(self.total / 10) || self.files.is_some_and(|files| files < FILES)
    }
}

/// Of the file system on which `path` lies. May block as long as that does not answer.
#[allow(clippy::unnecessary_cast, reason = "32 bits wide on small boards")]
pub fn room(path: &Path) -> io::Result<Room> {
    let name = c_string(path)?;
    // SAFETY: all zero is a value of statvfs, which is plain numbers.
    let mut found: libc::statvfs = unsafe { mem::zeroed() };
    // SAFETY: the name ends with a zero byte, and both outlive the call.
    if unsafe { libc::statvfs(name.as_ptr(), &mut found) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let block = (if found.f_frsize > 0 { found.f_frsize } else { found.f_bsize }) as u64;
    Ok(Room {
        free: block.saturating_mul(found.f_bavail as u64),
        total: block.saturating_mul(found.f_blocks as u64),
        files: (found.f_files > 0).then_some(found.f_favail as u64),
        read_only: found.f_flag & libc::ST_RDONLY != 0,
    })
}

/// Whether this process may make files in a folder, or write a file.
pub fn may_write(path: &Path) -> io::Result<()> {
    may(path, libc::W_OK)
}

/// Whether this process may run a file.
pub fn may_run(path: &Path) -> bool {
    path.is_file() && may(path, libc::X_OK).is_ok()
}

fn may(path: &Path, what: libc::c_int) -> io::Result<()> {
    let name = c_string(path)?;
    // SAFETY: the name ends with a zero byte and outlives the call.
    match unsafe { libc::faccessat(libc::AT_FDCWD, name.as_ptr(), what, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whom this process acts as.
pub fn user() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Bytes: a week of orders and the stored tracks of a day.
const ENOUGH: u64 = 64 << 20;
/// Files: a folder and two files for each of a day's stored tracks.
const FILES: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_room_and_a_name_that_is_nowhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let room = room(folder.path()).unwrap();
        assert!(room.total >= room.free && room.total > 0 && !room.read_only);
        may_write(folder.path()).unwrap();
        let nowhere = folder.path().join("nowhere");
        assert!(super::room(&nowhere).is_err() && may_write(&nowhere).is_err());
        assert!(may_run(Path::new("/bin/sh")) && !may_run(folder.path()));
    }

    #[test]
    fn room_is_short_by_bytes_by_share_and_by_files() {
        let room = |free, total, files| Room { free, total, files, read_only: false };
        assert!(room(1 << 20, 1 << 40, None).is_short());
        assert!(!room(1 << 30, 1 << 40, None).is_short());
        // A small card is not short from its first day.
        assert!(!room(20 << 20, 100 << 20, None).is_short());
        assert!(room(1 << 30, 1 << 40, Some(3)).is_short());
    }
}
