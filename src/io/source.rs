//! A command whose standard output is sound, such as a receiver's or ffmpeg's.
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Runs until it is dropped, in a process group that ends as a whole.
pub struct Source(Child);

impl Source {
    /// In `folder`, by the shell; what it prints besides goes into the node's log.
    pub fn start(command: &str, folder: &Path) -> io::Result<(Self, ChildStdout)> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).current_dir(folder).process_group(0);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = shell.spawn()?;
        let output = child.stdout.take();
        let source = Self(child);
        Ok((source, output.ok_or_else(|| io::Error::other("the command has no standard output"))?))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Ok(id) = libc::pid_t::try_from(self.0.id()) {
            // SAFETY: no memory is passed. The group is our child's own, and lasts until it is waited for, below.
            unsafe { libc::kill(-id, libc::SIGKILL) };
        }
        // Killed, it does not keep anybody waiting.
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_command_speaks_until_it_is_dropped_with_all_that_it_started() {
        let (source, mut output) = Source::start("sleep 600 & echo $!; wait", Path::new("/")).unwrap();
        let mut first = [0; 1];
        let mut id = String::new();
        while output.read(&mut first).unwrap() == 1 && first[0] != b'\n' {
            id.push(char::from(first[0]));
        }
        drop(source);
        // Its end of the pipe is closed only once both are gone.
        assert_eq!(output.read(&mut first).unwrap(), 0);
        assert!(id.parse::<u32>().is_ok());
    }
}
