//! Live sources that the timetable opens by itself: over HTTP, or from a command's standard output.
use super::desk::Desk;
use crate::broadcast::Purpose;
use crate::broadcast::timetable::Plays;
use crate::broadcast::timetable::airing::Part;
use crate::control::live::{Begun, Wish};
use crate::control::text::Failure;
use crate::io::decoder::Form;
use crate::io::source::Source;
use crate::io::{clock, identity};
use bytes::Bytes;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// One source until its slot is over; `Ok` then, and why not before.
pub async fn speak(desk: &Desk, record: Uuid, part: Part) -> Result<(), Failure> {
    let Plays::Live { name, .. } = &part.item.plays else { return Ok(()) };
    let config = &desk.setup.config;
    let from = config.streams.get(name).ok_or_else(|| Failure::new("timetable.stream", [name]))?;
    let pieces = match from.strip_prefix("pipe:") {
        Some(command) => command_of(name, command.to_owned(), config.folder.clone())?,
        None => http(name, from).await?,
    };
    let wish = Wish {
        id: identity::new_id(clock::wall()),
        title: part.item.title.clone(),
        areas: part.areas.clone(),
        priority: part.item.priority,
        purpose: Purpose::Real,
        delay: None,
        form: Form::Container,
        at: Some(part.item.start),
        until: Some(part.item.end),
    };
    let source = wish.id;
    let begun = desk.setup.live.begin(wish)?;
    desk.opened(record, source);
    let why = feed(desk, record, begun, pieces, name).await;
    match why.code.as_str() {
        "live.slot" => Ok(()),
        _ => Err(why),
    }
}

/// Hands on what comes, until the source is over; why it is.
async fn feed(
    desk: &Desk,
    record: Uuid,
    begun: Begun,
    mut pieces: mpsc::Receiver<Result<Bytes, String>>,
    name: &str,
) -> Failure {
    let Begun { feed, source, mut ended } = begun;
    let mut look = tokio::time::interval(LOOK);
    let mut spoke = false;
    let mut feed = Some(feed);
    while feed.is_some() {
        let piece = tokio::select! {
            _ = &mut ended => return source.why(),
            _ = look.tick() => {
                if !spoke && source.is_on_air() {
                    spoke = true;
                    desk.on_air(record);
                }
                continue;
            }
            piece = tokio::time::timeout(STALLED, pieces.recv()) => piece,
        };
        match piece {
            Err(_) => {
                source.break_off(Failure::new("live.stalled", [&STALLED.as_secs()]));
                feed = None;
            }
            Ok(None) => feed = None,
            Ok(Some(Err(error))) => {
                source.break_off(Failure::new("timetable.stream_cut", [&name, &error]));
                feed = None;
            }
            Ok(Some(Ok(piece))) => {
                source.received(piece.len());
                let Some(mouth) = &feed else { break };
                tokio::select! {
                    _ = &mut ended => return source.why(),
                    sent = mouth.send(piece) => if sent.is_err() { feed = None },
                }
            }
        }
    }
    let _ = ended.await;
    source.why()
}

async fn http(name: &str, from: &str) -> Result<mpsc::Receiver<Result<Bytes, String>>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new("timetable.stream_closed", [&name, &from, error]);
    let client = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).build();
    let client = client.map_err(|error| failed(&error))?;
    let answer = tokio::time::timeout(CONNECT, client.get(from).send()).await;
    let answer = answer.map_err(|_| failed(&"it does not answer"))?.map_err(|error| failed(&error))?;
    if !answer.status().is_success() {
        return Err(failed(&answer.status()));
    }
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut answer = answer;
        loop {
            let piece = match answer.chunk().await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(error) => Err(error.to_string()),
            };
            let is_last = piece.is_err();
            // Nobody takes it any more.
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok(pieces)
}

fn command_of(name: &str, command: String, folder: PathBuf) -> Result<mpsc::Receiver<Result<Bytes, String>>, Failure> {
    let failed = |error: std::io::Error| Failure::new("timetable.stream_closed", [&name, &command, &error]);
    let (running, mut output) = Source::start(&command, &folder).map_err(failed)?;
    let (sender, pieces) = mpsc::channel(PIECES);
    // The command is ended once nobody takes what it says.
    let watched = sender.clone();
    tokio::spawn(async move {
        watched.closed().await;
        let _ = tokio::task::spawn_blocking(move || drop(running)).await;
    });
    let read = move || {
        let mut block = vec![0; BLOCK];
        loop {
            let piece = match output.read(&mut block) {
                Ok(0) => Err("its output has ended".to_owned()),
                Ok(count) => Ok(Bytes::copy_from_slice(&block[..count])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error.to_string()),
            };
            let is_last = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new().name("live-command".into()).spawn(read).map_err(failed)?;
    Ok(pieces)
}

const CONNECT: Duration = Duration::from_secs(5);
/// A source that sends nothing for so long has gone: it is opened again.
const STALLED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(500);
/// Pieces on their way, and bytes of one.
const PIECES: usize = 4;
const BLOCK: usize = 4_096;
