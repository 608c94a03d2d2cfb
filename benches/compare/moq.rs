//! moq-relay as crates.io has it, with subscribers from `tools/moq`: a QUIC session and a socket each.
//!
//! Its best settings: groups of a second, so that a stream serves sixteen frames; one worker for its one core.
//! Bytes on the wire are loopback's own count for the time of a window: acknowledgements are in it.
use super::heard::{Heard, Tally};
use super::icecast::free_port;
use super::process::{Server, end_with_parent};
use super::{Place, Running};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

pub fn start(place: &Place) -> Result<Running, String> {
    let built = PathBuf::from(std::env::var_os("LOA_COMPARE_MOQ").ok_or("not built: tools/compare builds it")?);
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(built.join("moq-relay"));
    command.args(["--listen", &address, "--auth-public", "**"]);
    // Workers make no certificates themselves.
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| error.to_string())?;
    for (option, name, text) in [
        ("--listen-tls-cert", "moq.crt", made.cert.pem()),
        ("--listen-tls-key", "moq.key", made.signing_key.serialize_pem()),
    ] {
        let file = place.file(name);
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        command.arg(option).arg(file);
    }
    command.args(["--runtime-workers", "1", "--runtime-pin=false"]);
    command.env("MOQ_LOG_LEVEL", "warn");
    let mut server = Server::start(command, &place.file("moq-relay.log"))?;
    // QUIC shows no open port from outside: the subscribers dial until it answers.
    server.cpu()?;
    let mut command = Command::new(built.join("moq-crowd"));
    command.args([format!("https://localhost:{port}/"), place.listeners.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    end_with_parent(&mut command);
    let mut child = command.spawn().map_err(|error| format!("moq-crowd: {error}"))?;
    let out = child.stdout.take().ok_or("no pipe from moq-crowd")?;
    let heard = Arc::new(Heard::default());
    let tally = heard.clone();
    thread::spawn(move || {
        let mut listening = 0;
        let mut wire = loopback();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Some(count) = line.strip_prefix("listening ") {
                listening = count.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
            } else if let Some(mut report) = parse(&line) {
                let now = loopback();
                report.bytes = now - wire;
                wire = now;
                // They share a thread that waits for nobody: who has begun to listen is listening.
                report.listeners = listening - tally.listeners().min(listening);
                tally.add(&report);
            }
        }
    });
    Ok(Running { server, heard, held: vec![Box::new(Listening(child))] })
}

struct Listening(Child);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `frames N bytes N delays MS:COUNT …`
fn parse(line: &str) -> Option<Tally> {
    let mut words = line.strip_prefix("frames ")?.split(' ');
    let mut tally = Tally { packets: words.next()?.parse().ok()?, ..Tally::default() };
    for (delay, count) in words.skip(3).filter_map(|pair| pair.split_once(':')) {
        tally.delays.add(delay.parse().ok()?, count.parse().ok()?);
    }
    Some(tally)
}

/// Bytes that loopback has carried, headers of IP included.
fn loopback() -> u64 {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let line = table.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|count| count.parse().ok()).unwrap_or(0)
}
