//! What only metrics ask of the machine and of a node's files.
use super::identity::Identity;
use crate::time::Civil;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Bytes of the file system of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub size: u64,
    /// What this process may still write; the rest of what is free is root's.
    pub free: u64,
}

pub fn disk(folder: &Path) -> io::Result<Disk> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero, and the result is read only after the kernel has filled it.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init()
    };
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Disk { size: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

/// When the certificate that a node shows expires; `None` if it cannot be read.
pub fn expires(identity: &Identity) -> Option<Civil> {
    let (_, certificate) = X509Certificate::from_der(identity.chain.first()?).ok()?;
    Some(Civil(certificate.validity.not_after.timestamp().saturating_mul(crate::time::SECOND)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Role;

    #[test]
    fn a_disk_has_a_size_and_a_folder_that_is_not_there_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(folder.path()).unwrap();
        assert!(disk.size > 0 && disk.free <= disk.size, "{disk:?}");
        assert!(super::disk(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_certificate_says_when_it_expires() {
        let identity = crate::io::tls::tests::identity(&[1; 32], Role::Relay);
        assert!(expires(&identity).unwrap() > crate::io::clock::wall());
    }
}
