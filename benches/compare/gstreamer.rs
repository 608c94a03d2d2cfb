//! GStreamer's `multiudpsink`: RTP to a list of addresses, the nearest to what Loa's fan-out does.
//!
//! Its best settings: nothing is encoded in its process, the pipe sets the pace (`sync=false`), one packet per
//! RTP packet, and the longest that Opus knows, 120 ms, beside 60.
use super::crowd::{Crowd, Listener, Stamp, sockets};
use super::feed::Feed;
use super::process::Server;
use super::{Place, Running};
use std::process::Command;
use std::time::Duration;

pub fn start(place: &Place, packet: Duration) -> Result<Running, String> {
    let (listeners, addresses) = sockets(place.listeners, false)?;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    // 5,000 addresses are 80 KB; Linux takes 128 KiB an argument.
    let clients = format!("clients={}", addresses.join(","));
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", "fdsrc", "fd=0", "!", "oggdemux", "!"]);
    command.args(["rtpopuspay", "timestamp-offset=0", "!", "multiudpsink", "sync=false", "async=false"]);
    command.args(["buffer-size=8388608", &clients]);
    let mut server = Server::start(command, &place.file("gstreamer.log"))?;
    let input = server.input().ok_or("no pipe to gst-launch-1.0")?;
    let (feed, began) = Feed::pages(input, packet, 1);
    let listener = |socket| Listener::Datagrams { socket, length: 0, stamp: Stamp::Rtp(began) };
    let crowd = Crowd::start(listeners.into_iter().map(listener).collect());
    Ok(Running { server, heard: crowd.heard.clone(), held: vec![Box::new(feed), Box::new(crowd)] })
}
