//! Loa's side: the media path of a branch (`io::fanout` on a shard's socket), alone in a process as the rivals
//! are. What keep-alive and clock exchange cost beside it, `cargo bench --bench fanout` and `loa-load` show.
use super::crowd::{Crowd, Listener, Stamp, sockets};
use super::heard::clock;
use super::process::Server;
use super::{Place, Running};
use bytes::Bytes;
use loa::io::fanout::Fanout;
use loa::io::socket::Socket;
use loa::io::wake::{Interest, wait};
use loa::track::{OVERHEAD, Writer};
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The argument that makes a process of this benchmark the server.
pub const SERVE: &str = "serve-loa";

pub fn start(place: &Place, packet: Duration, together: u32) -> Result<Running, String> {
    let (listeners, addresses) = sockets(place.listeners, together > 1)?;
    let length = length(packet);
    let listener = |socket| Listener::Datagrams { socket, length, stamp: Stamp::Clock };
    let crowd = Crowd::start(listeners.into_iter().map(listener).collect());
    let myself = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let mut command = Command::new(myself);
    command.args([SERVE, &packet.as_millis().to_string(), &together.to_string()]);
    let mut server = Server::start(command, &place.file("loa.log"))?;
    let mut input = server.input().ok_or("no pipe to the server")?;
    let mut list: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    list.push('\n');
    input.write_all(list.as_bytes()).map_err(|error| format!("the list of listeners: {error}"))?;
    Ok(Running { server, heard: crowd.heard.clone(), held: vec![Box::new(crowd), Box::new(input)] })
}

/// Runs as the server until it is killed: `serve-loa MILLISECONDS TOGETHER`, addresses on standard input.
pub fn serve(arguments: &[String]) {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).expect("serve-loa MS TOGETHER");
    let (packet, together) = (Duration::from_millis(number(0)), number(1) as u32);
    let lines = std::io::stdin().lock().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let addresses: Vec<SocketAddr> = lines.map(|line| line.parse().expect("an address and a port")).collect();
    let socket = Arc::new(Socket::bind(([127, 0, 0, 1], 0).into(), 8 << 20).expect("a loopback port"));
    let track = Uuid::from_u128(1);
    let mut fanout = Fanout::new(socket.clone());
    let now = Instant::now();
    fanout.carry(now, track, packet.as_micros() as i64, together);
    for (link, address) in addresses.iter().enumerate() {
        fanout.listen(now, link as u64, track, *address);
    }
    let (began, spoken) = (Instant::now(), clock());
    for number in 1u32.. {
        let due = began + packet * number;
        drive(&mut fanout, &socket, due);
        // Stamped as the rivals' feed is, by the pace: this process' own lateness is part of the delay.
        fanout.air(Instant::now(), track, u64::from(number), bytes(packet, spoken + packet * (number - 1)));
    }
}

/// As a shard does: waits for the socket or the pace until a packet is due.
fn drive(fanout: &mut Fanout, socket: &Socket, due: Instant) {
    loop {
        let now = Instant::now();
        if fanout.wants_write() || fanout.poll_timeout().is_some_and(|at| at <= now) {
            fanout.handle_timeout(now);
        }
        if now >= due {
            return;
        }
        let until = fanout.poll_timeout().map_or(due, |at| at.min(due));
        let interest = Interest { descriptor: socket.descriptor(), write: fanout.wants_write() };
        wait([interest], until.saturating_duration_since(Instant::now()));
    }
}

/// As long as a real one, with the time of its first sample behind the RTP header.
fn bytes(packet: Duration, first: Duration) -> Bytes {
    let mut bytes = vec![0x5a; length(packet)];
    bytes[0] = 0x80;
    bytes[12..20].copy_from_slice(&(first.as_nanos() as u64).to_be_bytes());
    bytes.into()
}

fn length(packet: Duration) -> usize {
    Writer::room(super::feed::BITRATE as u32, packet.as_millis() as u32 * 48) + OVERHEAD
}
