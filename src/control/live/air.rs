//! The track of one live source: its keys, which exist in this process alone, and its packets.
use crate::audio::{self, live::Made};
use crate::broadcast::Priority;
use crate::control::packets;
use crate::control::text::Failure;
use crate::io::{Handle, identity};
use crate::key::SigningKey;
use crate::time::Civil;
use crate::track::{Info, Packet, Secret, Writer};

pub struct Track {
    pub info: Info,
    pub secret: Secret,
    writer: Writer,
}

impl Track {
    pub fn new(bitrate: u32, priority: Priority, delay: Option<i64>, handle: &Handle) -> Result<Self, Failure> {
        let now = handle.snapshot().civil.ok_or_else(|| Failure::new("time.unknown", []))?;
        let duration = packets::duration(bitrate, priority, delay);
        let secret = Secret { key: identity::random(), salt: identity::random() };
        let key = SigningKey::from_seed(&identity::random());
        let info = Info {
            id: identity::new_id(now),
            sign: key.public(),
            ssrc: u32::from_be_bytes(identity::random()),
            duration,
            // The trunk says it when it airs the track; the packets don't depend on it.
            anchor: now,
            key_hash: secret.hash(),
            bitrate,
            packets: None,
        };
        let writer = Writer::new(info.clone(), &secret, key, Writer::room(bitrate, duration));
        Ok(Self { info, secret, writer })
    }

    /// Samples.
    pub fn packet(&self) -> u32 {
        self.info.duration
    }

    /// The packet of these frames' first rendition.
    pub fn seal(&mut self, made: &Made, now: Civil) -> Result<Packet, Failure> {
        self.writer.skip_to(made.index);
        let frames = made.frames.first().map_or(&[][..], Vec::as_slice);
        self.writer.write(&audio::join(frames), now).map_err(|error| Failure::new("media.packets", [&error]))
    }
}
