//! What a service manager is told: sd_notify(3), lines of text in one datagram to the socket that it names.
use super::clock;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Ports are open and threads run.
pub fn ready() {
    tell("READY=1");
}

/// The configuration is being read again; `ready` follows.
pub fn reloading() {
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::local().0));
}

pub fn stopping() {
    tell("STOPPING=1");
}

/// Still alive: expected more often than each [`watchdog`].
pub fn alive() {
    tell("WATCHDOG=1");
}

/// What `systemctl status` shows.
pub fn status(text: &str) {
    tell(&format!("STATUS={}", text.replace('\n', " ")));
}

/// How long the service manager waits for [`alive`] before it starts the node anew.
pub fn watchdog() -> Option<Duration> {
    let own = |process: String| process.parse() == Ok(std::process::id());
    if !std::env::var("WATCHDOG_PID").map_or(true, own) {
        return None;
    }
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros))
}

/// Nobody need be listening, and nothing of the node depends on it.
fn tell(text: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, text) {
        tracing::debug!(%error, "the service manager is not told");
    }
}

fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // In the kernel's own name space, not in the file system.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_reaches_a_socket_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("loa-notify-{}", std::process::id());
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, named) in [(by_path, path.into_os_string()), (hidden, format!("@{name}").into())] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            send(&named, "READY=1\nSTATUS=sẵn sàng").unwrap();
            let mut bytes = [0; 64];
            let length = socket.recv(&mut bytes).unwrap();
            assert_eq!(std::str::from_utf8(&bytes[..length]).unwrap(), "READY=1\nSTATUS=sẵn sàng");
        }
        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1").is_err());
    }
}
