//! The tracks of one live source, one for each rendition: their keys, which exist in this process alone, and
//! their packets, which are cut alike.
use crate::audio::{self, live::Made};
use crate::broadcast::Priority;
use crate::control::packets;
use crate::control::text::Failure;
use crate::io::{Handle, identity};
use crate::key::SigningKey;
use crate::time::Civil;
use crate::track::{Info, Packet, Secret, Writer};
use uuid::Uuid;

/// In the order in which the source lists them. Never empty.
pub struct Tracks(Vec<Track>);

struct Track {
    info: Info,
    secret: Secret,
    writer: Writer,
}

impl Tracks {
    pub fn new(bitrates: &[u32], priority: Priority, delay: Option<i64>, handle: &Handle) -> Result<Self, Failure> {
        let now = handle.snapshot().civil.ok_or_else(|| Failure::new("time.unknown", []))?;
        let samples = packets::alike(bitrates, priority, delay);
        let tracks: Vec<Track> = bitrates.iter().map(|bitrate| Track::new(*bitrate, samples, now)).collect();
        match tracks.is_empty() {
            true => Err(Failure::new("media.packets", [&"no rendition is asked for"])),
            false => Ok(Self(tracks)),
        }
    }

    /// Of each packet, in samples.
    pub fn packet(&self) -> u32 {
        self.0.first().map_or(0, |track| track.info.duration)
    }

    /// µs.
    pub fn packet_micros(&self) -> i64 {
        self.0.first().map_or(0, |track| track.info.packet_micros())
    }

    /// What an order lists.
    pub fn listed(&self) -> impl Iterator<Item = (Info, Secret)> {
        self.0.iter().map(|track| (track.info.clone(), track.secret.clone()))
    }

    /// A packet of every rendition.
    pub fn seal(&mut self, made: &Made, now: Civil) -> Result<Vec<(Uuid, Packet)>, Failure> {
        let each = self.0.iter_mut().zip(&made.frames);
        each.map(|(track, frames)| {
            track.writer.skip_to(made.index);
            let packet = track.writer.write(&audio::join(frames), now);
            Ok((track.info.id, packet.map_err(|error| Failure::new("media.packets", [&error]))?))
        })
        .collect()
    }
}

impl Track {
    fn new(bitrate: u32, samples: u32, now: Civil) -> Self {
        let secret = Secret { key: identity::random(), salt: identity::random() };
        let key = SigningKey::from_seed(&identity::random());
        let info = Info {
            id: identity::new_id(now),
            sign: key.public(),
            ssrc: u32::from_be_bytes(identity::random()),
            duration: samples,
            // The trunk says it when it airs the track; the packets don't depend on it.
            anchor: now,
            key_hash: secret.hash(),
            bitrate,
            packets: None,
        };
        let writer = Writer::new(info.clone(), &secret, key, Writer::room(bitrate, samples));
        Self { info, secret, writer }
    }
}
