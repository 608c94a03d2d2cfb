//! One track of 24 kb/s in 60 ms frames through a moq-relay to many subscribers, each with a session and a
//! socket of its own: `moq-crowd https://localhost:PORT/ 500`.
//!
//! Says `listening N` when N of them hear it, then every quarter of a second
//! `frames N bytes N delays MS:COUNT MS:COUNT …` of what came since. Delays count from a frame's first sample.
use anyhow::{Context, Result};
use bytes::Bytes;
use moq_tokio::{connect, moq_net};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

const FRAME: Duration = Duration::from_millis(60);
/// 24 kb/s for so long.
const BYTES: usize = 180;
/// Frames in a group, which is a QUIC stream: about a second, since a stream a frame would cost the relay more.
const GROUP: u64 = 16;
const BROADCAST: &str = "speech";
const TRACK: &str = "opus";

#[derive(Default)]
struct Heard {
    listening: usize,
    frames: u64,
    bytes: u64,
    delays: BTreeMap<u64, u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url: url::Url = arguments.next().context("moq-crowd URL LISTENERS")?.parse()?;
    let listeners: usize = arguments.next().context("moq-crowd URL LISTENERS")?.parse()?;
    let began = Instant::now();
    let heard = Rc::new(RefCell::new(Heard::default()));
    let local = tokio::task::LocalSet::new();
    local.spawn_local(fail(publish(url.clone(), began)));
    for _ in 0..listeners {
        local.spawn_local(fail(subscribe(url.clone(), began, heard.clone())));
        local.run_until(tokio::time::sleep(Duration::from_millis(5))).await;
    }
    local.run_until(report(listeners, heard)).await;
    Ok(())
}

async fn fail(work: impl Future<Output = Result<()>>) {
    if let Err(error) = work.await {
        eprintln!("moq-crowd: {error:#}");
    }
}

fn options() -> connect::Config {
    let mut options = connect::Config::default();
    // The relay made its certificate a moment ago.
    options.tls.insecure = Some(true);
    options.bind = Some(([127, 0, 0, 1], 0).into());
    options
}

async fn publish(url: url::Url, began: Instant) -> Result<()> {
    let client = options().init(Default::default())?;
    let origin = moq_tokio::origin::spawn();
    let broadcast = origin.create_broadcast(BROADCAST)?;
    let track = broadcast.create_track(TRACK.to_owned(), None)?;
    broadcast.announce(Default::default())?;
    let session = client.with_publisher(&origin).connect(url);
    tokio::select! {
        result = session.closed() => result.map_err(Into::into),
        result = sound(track, began) => result,
    }
}

async fn sound(track: moq_net::track::Producer, began: Instant) -> Result<()> {
    let mut number = 0;
    for sequence in 0u64.. {
        let mut group = track.create_group(sequence.into())?;
        for _ in 0..GROUP {
            // A frame exists when its last sample does.
            tokio::time::sleep_until((began + FRAME * (number + 1)).into()).await;
            let mut payload = vec![0x5a; BYTES];
            let first = (FRAME * number).as_micros() as u64;
            payload[..8].copy_from_slice(&first.to_be_bytes());
            group.write_frame(moq_net::Timestamp::now(), Bytes::from(payload))?;
            number += 1;
        }
        group.finish()?;
    }
    Ok(())
}

async fn subscribe(url: url::Url, began: Instant, heard: Rc<RefCell<Heard>>) -> Result<()> {
    // An endpoint each, so that every listener is another address to the relay.
    let client = options().init(Default::default())?;
    let origin = moq_tokio::origin::spawn();
    let session = client.with_subscriber(origin.clone()).connect(url);
    let consumer = origin.consume();
    let mut announced = consumer.announced();
    loop {
        tokio::select! {
            result = session.closed() => return result.map_err(Into::into),
            Some(update) = announced.next() => {
                if update.kind.is_active() {
                    let broadcast = consumer.request_broadcast(&update.prefix).await?;
                    let track = broadcast.track(TRACK)?.subscribe(None).await?;
                    return listen(track, began, heard).await;
                }
            }
        }
    }
}

async fn listen(mut track: moq_net::track::Subscriber, began: Instant, heard: Rc<RefCell<Heard>>) -> Result<()> {
    let mut counted = false;
    while let Some(mut group) = track.recv_group().await? {
        while let Some(frame) = group.read_frame().await? {
            let first = frame.payload.first_chunk().context("a frame carries its time")?;
            let delay = began.elapsed().saturating_sub(Duration::from_micros(u64::from_be_bytes(*first)));
            let mut heard = heard.borrow_mut();
            heard.listening += usize::from(!counted);
            counted = true;
            heard.frames += 1;
            heard.bytes += frame.payload.len() as u64;
            *heard.delays.entry(delay.as_millis() as u64).or_default() += 1;
        }
    }
    Ok(())
}

async fn report(listeners: usize, heard: Rc<RefCell<Heard>>) {
    let mut said = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let mut heard = heard.borrow_mut();
        let Heard { listening, frames, bytes, delays } = std::mem::take(&mut *heard);
        heard.listening = listening;
        if listening != said {
            println!("listening {listening} of {listeners}");
            said = listening;
        }
        let delays: Vec<String> = delays.iter().map(|(delay, count)| format!("{delay}:{count}")).collect();
        println!("frames {frames} bytes {bytes} delays {}", delays.join(" "));
    }
}
