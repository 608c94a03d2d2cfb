//! Icecast 2.4 with Ogg Opus, fed by HTTP PUT at the pace of sound.
//!
//! Its best settings: no directory, no burst on connect, so that listeners stand at the live edge from the
//! start; its sending needs no other. The access log, a line for each listener that leaves, goes to standard
//! error with the rest. Pages of 60 ms are three packets of 20 ms, those of 1 s fifty, which is what opusenc and
//! ffmpeg write by default.
use super::crowd::{Crowd, Format, connect, stream};
use super::feed::Feed;
use super::process::Server;
use super::{Place, Running};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub fn start(place: &Place, page: Duration) -> Result<Running, String> {
    let port = free_port()?;
    let file = place.file("icecast.xml");
    let configuration = configuration(port, place.listeners, &place.folder);
    std::fs::write(&file, configuration).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = Command::new("icecast2");
    command.arg("-c").arg(&file);
    let mut server = Server::start(command, &place.file("icecast.log"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut source = server.until("open port", || TcpStream::connect(address).ok())?;
    let failed = |error: std::io::Error| format!("icecast's source connection: {error}");
    source.write_all(PUT.as_bytes()).map_err(failed)?;
    let mut answer = [0; 512];
    let count = source.read(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer[..count]);
    if !answer.starts_with("HTTP/1.1 100") && !answer.contains(" 200 ") {
        return Err(format!("icecast refused the source: {}", answer.lines().next().unwrap_or_default()));
    }
    let packet = Duration::from_millis(20);
    let (feed, began) = Feed::pages(source, packet, (page.as_millis() / packet.as_millis()) as usize);
    // Listeners of a stream whose headers have not come yet are turned away.
    server.until("stream", || answers(address).ok().filter(|found| *found))?;
    let listen = || {
        let mut socket = connect(address)?;
        socket.write_all(GET.as_bytes())?;
        stream(socket, Format::Ogg { began, page })
    };
    let listeners: std::io::Result<Vec<_>> = (0..place.listeners).map(|_| listen()).collect();
    let crowd = Crowd::start(listeners.map_err(|error| format!("icecast's listeners: {error}"))?);
    Ok(Running { server, heard: crowd.heard.clone(), held: vec![Box::new(feed), Box::new(crowd)] })
}

/// Whether somebody who asks for the stream gets it.
fn answers(address: SocketAddr) -> std::io::Result<bool> {
    let mut socket = connect(address)?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.write_all(GET.as_bytes())?;
    let (mut head, mut part) = (Vec::new(), [0; 1_024]);
    // Behind a 200 alone: who is turned away gets a page of words, and the end.
    while !head.windows(4).any(|four| four == b"OggS") {
        match socket.read(&mut part)? {
            0 => return Ok(false),
            count => head.extend_from_slice(&part[..count]),
        }
    }
    Ok(true)
}

/// A port that nobody had a moment ago.
pub fn free_port() -> Result<u16, String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("a free port: {error}"))
}

fn configuration(port: u16, listeners: usize, folder: &Path) -> String {
    let folder = folder.display();
    // SAFETY: geteuid takes nothing and can't fail.
    let owner = if unsafe { libc::geteuid() } == 0 {
        // As root it refuses to run.
        "<changeowner><user>nobody</user><group>nogroup</group></changeowner>"
    } else {
        ""
    };
    format!(
        "<icecast>
  <limits><clients>{clients}</clients><sources>4</sources><queue-size>524288</queue-size>
    <client-timeout>30</client-timeout><header-timeout>15</header-timeout><source-timeout>10</source-timeout>
    <burst-on-connect>0</burst-on-connect><burst-size>0</burst-size></limits>
  <authentication><source-password>speech</source-password><admin-user>admin</admin-user>
    <admin-password>speech</admin-password></authentication>
  <hostname>localhost</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <fileserve>0</fileserve>
  <paths><basedir>/usr/share/icecast2</basedir><logdir>{folder}</logdir>
    <webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>
  <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>1</loglevel></logging>
  <security><chroot>0</chroot>{owner}</security>
</icecast>
",
        clients = listeners + 16
    )
}

const PUT: &str = "PUT /speech HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic c291cmNlOnNwZWVjaA==\r\n\
    Content-Type: audio/ogg\r\nIce-Public: 0\r\nExpect: 100-continue\r\n\r\n";
/// Longer than the longest page, with which the headers come; then it's asked again.
const ANSWER: Duration = Duration::from_secs(3);
const GET: &str = "GET /speech HTTP/1.0\r\nHost: localhost\r\nUser-Agent: crowd\r\n\r\n";
