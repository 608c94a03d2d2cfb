//! Who uses a data folder, found out without touching its lock: whoever tried that would be in the way of a node
//! that starts at the same instant.
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// The process that runs on this data folder, if one does; as far as this process may see.
pub fn holder(data: &Path) -> Option<u32> {
    let lock = data.join("LOCK");
    let found = fs::metadata(&lock).ok()?;
    let written = fs::read_to_string(&lock).ok().and_then(|text| text.trim().parse().ok());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    find(&locks, found.st_ino(), found.st_dev(), written)
}

/// proc_locks(5): `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`. The device is that of the file system's
/// superblock, which some don't show in stat: there the process must be the one that wrote its number into the file.
fn find(locks: &str, inode: u64, device: u64, written: Option<u32>) -> Option<u32> {
    let here = format!("{:02x}:{:02x}", libc::major(device), libc::minor(device));
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        if (words.next()?, words.next()?, words.next()?) != ("FLOCK", "ADVISORY", "WRITE") {
            return None;
        }
        let process: u32 = words.next()?.parse().ok()?;
        let (place, number) = words.next()?.rsplit_once(':')?;
        let same = number.parse() == Ok(inode) && (place == here || written == Some(process));
        same.then_some(process)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    #[test]
    fn a_folder_is_held_while_its_store_is_open_and_looking_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holder(folder.path()), None);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(holder(folder.path()), Some(std::process::id()));
        drop(store);
        assert_eq!(holder(folder.path()), None);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn a_lock_is_recognized_by_its_device_or_by_the_number_in_the_file() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 00:2a:11 0 EOF\n2: FLOCK  ADVISORY  WRITE 900 00:2a:11 0 EOF\n2: -> FLOCK\nx\n";
        let device = libc::makedev(0, 0x2a);
        assert_eq!(find(locks, 11, device, None), Some(900));
        assert_eq!(find(locks, 12, device, Some(900)), None);
        assert_eq!(find(locks, 11, libc::makedev(8, 1), None), None);
        assert_eq!(find(locks, 11, libc::makedev(8, 1), Some(900)), Some(900));
    }
}
