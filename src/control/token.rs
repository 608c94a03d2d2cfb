//! The bearer token of a node's API: `api.token` in its data folder.
use super::text::Failure;
use crate::io::identity;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// 32 random bytes in hex.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads the token of a data folder, or makes one at the first start. Refuses a file that others may
    /// read.
    pub fn open(data: &Path) -> Result<Self, Failure> {
        let file = path(data);
        let refuse = |why: &dyn std::fmt::Display| Failure::new("config.token", [&file.display(), why]);
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
            Ok(mut new) => {
                let text: String = identity::random::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
                let written = writeln!(new, "{text}").and_then(|()| new.sync_all());
                written.map(|()| Self(text)).map_err(|error| refuse(&error))
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let mode = fs::metadata(&file).map_err(|error| refuse(&error))?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(refuse(&format!("may be read by others (mode {:03o}): chmod 600 it", mode & 0o777)));
                }
                Self::read(data).map_err(|error| refuse(&error))
            }
            Err(error) => Err(refuse(&error)),
        }
    }

    /// Reads the token of a data folder, as a client does.
    pub fn read(data: &Path) -> std::io::Result<Self> {
        let text = fs::read_to_string(path(data))?;
        let text = text.trim();
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let wrong = format!("holds no token of {DIGITS} hex digits");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, wrong));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes as long wherever the first difference is.
    pub fn is(&self, given: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), given.as_bytes()).is_ok()
    }
}

pub fn path(data: &Path) -> PathBuf {
    data.join("api.token")
}

const DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let made = Token::open(folder.path()).unwrap();
        let mode = fs::metadata(path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Token::open(folder.path()).unwrap().is(made.as_str()));
        assert!(Token::read(folder.path()).unwrap().is(made.as_str()));
    }

    #[test]
    fn only_the_whole_token_passes() {
        let token = Token("ab".repeat(32));
        assert!(token.is(&"ab".repeat(32)));
        for wrong in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &("aa".to_owned() + &"ab".repeat(31))] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_others_may_read_or_that_is_no_token_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        Token::open(folder.path()).unwrap();
        let file = path(folder.path());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Token::open(folder.path()).err().unwrap();
        assert_eq!(refused.code, "config.token");
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "hello").unwrap();
        assert!(Token::open(folder.path()).err().unwrap().to_string().contains("api.token"));
    }
}
