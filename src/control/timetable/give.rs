//! Gives the order of one part of an airing: seals its tracks out of the file that was encoded once, keeps them, and
//! has the trunk sign.
use super::desk::Setup;
use crate::audio;
use crate::broadcast::Purpose;
use crate::broadcast::timetable::Plays;
use crate::broadcast::timetable::airing::Part;
use crate::control::text::Failure;
use crate::control::{blocking, packets};
use crate::io::Handle;
use crate::node::trunk::{self, Reply, Request};
use crate::time::{SECOND, micros};
use std::time::Duration;
use uuid::Uuid;

/// Given when this is `Ok(true)`; not yet, as uploads are being encoded, when it is `Ok(false)`.
pub async fn give(setup: &Setup, id: Uuid, part: &Part) -> Result<bool, Failure> {
    let Plays::Media { sha256, length } = &part.item.plays else {
        return Err(Failure::new("live.start", [&"a live source is opened, not given ahead"]));
    };
    let (length, priority) = (*length, part.item.priority);
    let now = setup.handle.snapshot().civil.ok_or_else(|| Failure::new("time.unknown", []))?;
    let (library, store, sha256) = (setup.library.clone(), setup.handle.store(), sha256.clone());
    // A minute of sound takes 25 ms; who encodes an upload takes the turn for longer, and days are left.
    // Cancels and live sources do not wait behind it.
    let turn = match tokio::time::timeout(TURN, setup.encoders.acquire()).await {
        Ok(turn) => turn,
        Err(_) => return Ok(false),
    };
    let _turn = turn.map_err(|_| Failure::new("node.stopping", []))?;
    let mut tracks = blocking(move || {
        let media = library.get(&sha256)?.ok_or_else(|| Failure::new("media.unknown", [&format!("{sha256:?}")]))?;
        let lasts = (media.duration * 1e6).round() as i64;
        if lasts > length + MOST_CUT {
            let seconds = |micros: i64| format!("{:.3}", micros as f64 / SECOND as f64);
            return Err(Failure::new("timetable.media_long", [&seconds(lasts), &seconds(length)]));
        }
        let mut renditions = library.renditions(&media)?;
        let samples = packets::alike(&media.bitrates, priority, None);
        let most = length / micros(u64::from(samples)).max(1);
        let frames = usize::try_from(most).unwrap_or(0) * (samples as usize / audio::FRAME);
        renditions.iter_mut().for_each(|rendition| rendition.frames.truncate(frames));
        let made = packets::make_all(&renditions, priority, None, now)?;
        let mut tracks = Vec::with_capacity(made.len());
        for track in made {
            for piece in track.packets.chunks(KEPT_AT_ONCE) {
                let kept = store.keep(track.info.id, piece);
                kept.map_err(|error| Failure::from_room("store.failed", error.to_string()))?;
            }
            // The order is on disk before it is given; without its sound it would be silence.
            store.settle(track.info.id).map_err(|error| Failure::from_room("store.failed", error.to_string()))?;
            tracks.push((track.info, track.secret));
        }
        Ok(tracks)
    })
    .await?;
    let ids: Vec<Uuid> = tracks.iter().map(|(info, _)| info.id).collect();
    let others = tracks.split_off(1.min(tracks.len()));
    let (track, secret) = tracks.pop().ok_or_else(|| Failure::new("media.packets", [&"no rendition is kept"]))?;
    let air = trunk::Air {
        id: Some(id),
        title: part.item.title.clone(),
        areas: part.areas.clone(),
        priority,
        purpose: Purpose::Real,
        at: Some(part.item.start),
        delay: None,
        track,
        secret,
        others,
        live: false,
        resume: false,
        second: false,
        prepared: None,
    };
    match request(&setup.handle, Request::Air(Box::new(air))).await {
        Ok(_) => Ok(true),
        Err(failure) => {
            // It may yet be on its way to disk if nobody answered in time; else nobody will ever play them.
            if failure.code != "node.silent" {
                let store = setup.handle.store();
                let _ = blocking(move || {
                    ids.into_iter().for_each(|id| drop(store.forget(id)));
                    Ok(())
                })
                .await;
            }
            // The very same broadcast.
            if failure.code == "broadcast.known" { Ok(true) } else { Err(failure) }
        }
    }
}

pub async fn request(handle: &Handle, request: Request) -> Result<Reply, Failure> {
    match tokio::time::timeout(SILENT, handle.request(request)).await {
        Err(_) => Err(Failure::new("node.silent", [&SILENT.as_secs()])),
        Ok(None) => Err(Failure::new("node.stopping", [])),
        Ok(Some(Reply::Refused { code, text })) => Err(Failure::from_room(code, text)),
        Ok(Some(reply)) => Ok(reply),
    }
}

/// µs that a file may be longer than its slot: the end of its last packet is cut off, as the plan has it.
const MOST_CUT: i64 = SECOND / 4;
/// The trunk answers within a tick; an order waits for the disk.
const SILENT: Duration = Duration::from_secs(10);
/// Packets in one write to the store.
const KEPT_AT_ONCE: usize = 1_024;
/// For one that encodes an upload to be done.
const TURN: Duration = Duration::from_secs(1);
