//! Tracks and logs as a whole worker knows them: what its speakers share because it is the same bytes for each.
use loa::broadcast::{Authorities, Body, Kind, Order, Priority};
use loa::io::clock;
use loa::key::PublicKey;
use loa::proto;
use loa::time::Civil;
use loa::track::{Cipher, Info, MAX_PACKET, MOST_TOGETHER, Reader, Secret, last_of_bunch};
use prost::Message;
use std::collections::BTreeMap;
use std::rc::Rc;
use uuid::Uuid;

/// A track of sound. A speaker that does not unprotect by itself compares what it gets with what was verified.
pub struct Track {
    pub info: Info,
    pub broadcast: Uuid,
    /// Of the broadcast, µs.
    pub delay: i64,
    /// Every parent sends it by itself.
    pub emergency: bool,
    /// Not listened to from here on.
    pub over: Civil,
    cancelled: bool,
    /// µs Unix UTC at which its origin is to send packet 0.
    base: i64,
    /// So many packets leave in one send, once the last of them is there.
    together: u32,
    reader: Option<Reader>,
    recent: Recent<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same bytes as a packet that was checked.
    Compared,
    /// Tag and seal hold.
    Checked,
    Forged,
    /// Older than what is remembered: to check it by itself would make whoever is late later still.
    Stale,
    /// The key has not come.
    Unknown,
}

impl Track {
    pub fn new(info: Info, order: Uuid, broadcast: &loa::broadcast::Broadcast) -> Self {
        // A packet that was made before is sent when its time begins; a live one exists when its time ends. Only of
        // sound that was made before is it known how many packets there are.
        let base = info.instant(u64::from(info.packets.is_none())).0;
        Self {
            broadcast: order,
            delay: broadcast.delay,
            emergency: broadcast.priority == Priority::Emergency,
            over: broadcast.until + broadcast.delay,
            cancelled: false,
            base,
            together: 1,
            reader: None,
            recent: Recent::new(),
            info,
        }
    }

    /// When a newer revision lets it end, unless it is cancelled.
    pub fn revise(&mut self, until: Civil, packets: Option<u64>) {
        self.info.packets = packets.or(self.info.packets);
        if !self.cancelled {
            self.over = until;
        }
    }

    pub fn cancel(&mut self, at: Civil) {
        self.cancelled = true;
        self.over = self.over.min(at);
    }

    pub fn key(&mut self, secret: &Secret) {
        if self.reader.is_none() {
            self.reader = Reader::new(&self.info, secret);
        }
    }

    /// What the parent says of how many packets leave at once.
    pub fn bunch(&mut self, together: u32) {
        self.together = together.clamp(1, MOST_TOGETHER);
    }

    pub fn together(&self) -> u32 {
        self.together
    }

    /// µs: two packets may lack before a listener of the track has ceased to stream.
    pub fn longest_pause(&self) -> i64 {
        self.info.packet_micros() * i64::from(2 + self.together)
    }

    /// µs Unix UTC at which a packet is to leave the origin: the instant of the last that it leaves together with.
    pub fn due(&self, index: u64) -> i64 {
        let last = last_of_bunch(index, self.together);
        self.instant(last.min(self.info.packets.map_or(u64::MAX, |packets| packets.saturating_sub(1))))
    }

    /// µs Unix UTC at which a packet's own time is there.
    fn instant(&self, index: u64) -> i64 {
        // 48 kHz: 125/6 µs a sample.
        self.base + (index.min(1 << 40) as i64) * i64::from(self.info.duration) * 125 / 6
    }

    /// When its first packet is to leave its origin.
    pub fn begins(&self) -> Civil {
        Civil(self.base)
    }

    /// The first index due at or after an instant; never beyond the track's end.
    pub fn index_from(&self, at: i64) -> u64 {
        let duration = i64::from(self.info.duration) * 125;
        let index = ((at - self.base).max(0) as u64 * 6).div_ceil(duration.max(1) as u64);
        // Of its bunch, all are due with the last.
        let together = u64::from(self.together);
        let index = index / together * together;
        index.min(self.info.packets.unwrap_or(u64::MAX))
    }

    /// Whether these bytes are packet `index`. `itself`: by unprotecting and checking the seal whatever is known.
    pub fn verify(&mut self, index: u64, bytes: &[u8], itself: bool) -> Verdict {
        if !itself && self.recent.get(index, bytes).is_some() {
            return Verdict::Compared;
        }
        if !itself && self.recent.is_older(index) {
            return Verdict::Stale;
        }
        let Some(reader) = &self.reader else { return Verdict::Unknown };
        match reader.read(index, bytes) {
            Ok(_) => {
                self.recent.put(index, bytes, ());
                Verdict::Checked
            }
            Err(_) => Verdict::Forged,
        }
    }
}

/// The newest verified packets, by index.
struct Recent<T> {
    places: Vec<Option<Known<T>>>,
}

struct Known<T> {
    index: u64,
    length: usize,
    bytes: [u8; MAX_PACKET],
    read: T,
}

impl<T> Recent<T> {
    fn new() -> Self {
        Self { places: Vec::new() }
    }

    /// What was read from exactly these bytes.
    fn get(&self, index: u64, bytes: &[u8]) -> Option<&T> {
        let known = self.places.get(index as usize % RECENT)?.as_ref()?;
        (known.index == index && known.bytes.get(..known.length) == Some(bytes)).then_some(&known.read)
    }

    /// Whether something newer stands in its place.
    fn is_older(&self, index: u64) -> bool {
        let known = self.places.get(index as usize % RECENT);
        known.and_then(Option::as_ref).is_some_and(|known| known.index > index)
    }

    fn put(&mut self, index: u64, bytes: &[u8], read: T) {
        if bytes.len() > MAX_PACKET {
            return;
        }
        if self.places.is_empty() {
            self.places.resize_with(RECENT, || None);
        }
        let mut known = Known { index, length: bytes.len(), bytes: [0; MAX_PACKET], read };
        known.bytes[..bytes.len()].copy_from_slice(bytes);
        self.places[index as usize % RECENT] = Some(known);
    }
}

/// What came with an order, once per worker.
pub struct Heard {
    pub order: Order,
    /// That rode with it.
    pub keys: Vec<(Uuid, Secret)>,
}

/// All that the worker's speakers have heard of orders.
pub struct Orders {
    authorities: Authorities,
    logs: BTreeMap<Uuid, Log>,
    /// By the bytes of the order.
    pushed: BTreeMap<Vec<u8>, Rc<Heard>>,
    /// Orders that no authority stands for, whoever brought them.
    pub refused: u64,
}

struct Log {
    cipher: Cipher,
    recent: Recent<Rc<Heard>>,
}

impl Orders {
    pub fn new(root: PublicKey) -> Self {
        Self { authorities: Authorities::new(vec![root]), logs: BTreeMap::new(), pushed: BTreeMap::new(), refused: 0 }
    }

    pub fn log(&mut self, track: Uuid, ssrc: u32, secret: &Secret) {
        if self.logs.len() >= LOGS {
            self.logs.pop_first();
        }
        self.logs.entry(track).or_insert_with(|| Log { cipher: Cipher::new(secret, ssrc), recent: Recent::new() });
    }

    /// An order that came as packet of a log. `None` if it is none, or nobody may give it.
    pub fn read_packet(&mut self, log: Uuid, index: u64, bytes: &[u8]) -> Option<Rc<Heard>> {
        let known = self.logs.get(&log)?;
        if let Some(heard) = known.recent.get(index, bytes) {
            return Some(heard.clone());
        }
        let payload = known.cipher.unprotect(index, bytes).ok()?;
        let logged = proto::Logged::decode(payload).ok()?;
        let keys = logged.keys.iter().filter_map(Secret::of_track).collect();
        let signed = proto::Signed { payload: logged.payload, signatures: logged.signatures };
        let heard = self.vouch(&signed, keys)?;
        self.logs.get_mut(&log)?.recent.put(index, bytes, heard.clone());
        Some(heard)
    }

    /// An order that came on the control stream.
    pub fn read_pushed(&mut self, signed: &proto::Signed) -> Option<Rc<Heard>> {
        if let Some(heard) = self.pushed.get(&signed.payload[..]) {
            return Some(heard.clone());
        }
        let heard = self.vouch(signed, Vec::new())?;
        if self.pushed.len() >= PUSHED {
            self.pushed.clear();
        }
        self.pushed.insert(signed.payload.to_vec(), heard.clone());
        Some(heard)
    }

    fn vouch(&mut self, signed: &proto::Signed, keys: Vec<(Uuid, Secret)>) -> Option<Rc<Heard>> {
        match self.authorities.check(signed, Some(clock::wall())) {
            Ok(vouched) => {
                if matches!(vouched.kind(), Kind::Grant | Kind::Revoke) {
                    self.authorities.admit(&vouched, signed);
                }
                Some(Rc::new(Heard { order: vouched.into_order(), keys }))
            }
            Err(_) => {
                self.refused += 1;
                None
            }
        }
    }
}

/// Whether an order is one whose spread is measured: an emergency or a hush that silences.
pub fn measured(order: &Order) -> Option<bool> {
    match &order.body {
        Body::Broadcast(broadcast) if broadcast.priority == Priority::Emergency => Some(false),
        Body::Hush(hush) if hush.until > order.issued => Some(true),
        _ => None,
    }
}

/// Packets remembered for comparison: a minute at 240 ms, so that whoever is late, or repairs, finds theirs.
const RECENT: usize = 256;
/// As many as a session carries.
const LOGS: usize = 64;
/// Orders in force at once: those of a large tree.
const PUSHED: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use loa::broadcast::Broadcast;
    use loa::time::SECOND;

    fn track(packets: Option<u64>) -> Track {
        let info = Info {
            id: Uuid::from_u128(1),
            sign: loa::key::SigningKey::from_seed(&[7; 32]).public(),
            ssrc: 1,
            duration: 11_520,
            anchor: Civil(1_000 * SECOND),
            key_hash: [0; 32],
            bitrate: 24_000,
            packets,
        };
        let broadcast = Broadcast {
            priority: Priority::Normal,
            from: info.anchor,
            until: info.anchor + 60 * SECOND,
            delay: 2 * SECOND,
            renditions: vec![info.clone()],
            tone: None,
            title: String::new(),
            revision: 0,
            supersedes: None,
            stored: false,
            resume: false,
            prepared: false,
            purpose: loa::broadcast::Purpose::Real,
        };
        Track::new(info, Uuid::from_u128(2), &broadcast)
    }

    #[test]
    fn made_sound_is_due_when_its_time_begins_and_live_sound_when_it_ends() {
        assert_eq!(track(Some(100)).due(3), 1_000 * SECOND + 720_000);
        assert_eq!(track(None).due(3), 1_000 * SECOND + 960_000);
    }

    #[test]
    fn packets_that_leave_together_are_due_with_their_last_and_counted_as_such() {
        let mut track = track(Some(10));
        track.bunch(4);
        let due: Vec<i64> = (0..10).map(|index| (track.due(index) - 1_000 * SECOND) / 240_000).collect();
        assert_eq!(due, [3, 3, 3, 3, 7, 7, 7, 7, 9, 9]);
        for at in 0..3_000 {
            let at = 1_000 * SECOND + at * 1_000;
            let first = (0..10).find(|index| track.due(*index) >= at).unwrap_or(10);
            // Beyond the last packet there is none, whatever its bunch.
            assert!(track.index_from(at) == first || at > track.due(9), "{at}");
        }
    }
}
