//! snapserver with raw clients that say hello and read.
//!
//! Its best settings: chunks of 60 ms instead of 20, Opus at 24 kb/s and the least complexity, since it must
//! encode itself (it takes stereo alone); its listeners ask for no time, which real ones do every second.
use super::crowd::{Crowd, Format, connect, stream};
use super::feed::Feed;
use super::icecast::free_port;
use super::process::Server;
use super::{Place, Running};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

pub fn start(place: &Place) -> Result<Running, String> {
    let (port, control, web) = (free_port()?, free_port()?, free_port()?);
    let pipe = place.file("snapcast.pipe");
    let file = place.file("snapserver.conf");
    let configuration = format!(
        "[server]\ndatadir = {folder}\n[http]\nenabled = false\nport = {web}\n[tcp]\nenabled = false\nport = {control}\n\
         [stream]\nbind_to_address = 127.0.0.1\nport = {port}\nchunk_ms = 60\n\
         source = pipe://{pipe}?name=speech&sampleformat=48000:16:2&codec=opus:BITRATE:24000,COMPLEXITY:1\n",
        folder = place.folder.display(),
        pipe = pipe.display()
    );
    std::fs::write(&file, configuration).map_err(|error| format!("{}: {error}", file.display()))?;
    let _ = std::fs::remove_file(&pipe);
    let mut command = Command::new("snapserver");
    command.arg("-c").arg(&file).env("HOME", &place.folder);
    let mut server = Server::start(command, &place.file("snapserver.log"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    server.until("open port", || TcpStream::connect(address).ok())?;
    let out = server.until("pipe", || OpenOptions::new().write(true).open(&pipe).ok())?;
    let feed = Feed::samples(out);
    let listen = |number| {
        let mut socket = connect(address)?;
        socket.write_all(&hello(number))?;
        stream(socket, Format::Snapcast)
    };
    let listeners: std::io::Result<Vec<_>> = (0..place.listeners).map(listen).collect();
    let crowd = Crowd::start(listeners.map_err(|error| format!("snapserver's listeners: {error}"))?);
    Ok(Running { server, heard: crowd.heard.clone(), held: vec![Box::new(feed), Box::new(crowd)] })
}

/// Snapcast's binary protocol, version 2: type, id, what it answers, two times, size; then JSON with its length.
fn hello(number: usize) -> Vec<u8> {
    let json = format!(
        r#"{{"Arch":"x86_64","ClientName":"crowd","HostName":"crowd-{number}","ID":"crowd-{number}","Instance":1,"MAC":"02:00:00:00:{:02x}:{:02x}","OS":"Linux","SnapStreamProtocolVersion":2,"Version":"0.26.0"}}"#,
        number / 256 % 256,
        number % 256
    );
    let mut bytes = HELLO.to_le_bytes().to_vec();
    bytes.extend(1u16.to_le_bytes());
    bytes.extend([0; 18]);
    bytes.extend((json.len() as u32 + 4).to_le_bytes());
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend(json.as_bytes());
    bytes
}

const HELLO: u16 = 5;
