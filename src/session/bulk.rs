//! Bulk streams as a child reads them: a `Bulk` message, then SRTP packets whose indices rise by one.
use super::{MAX_BULK_STREAMS, Violation, wire};
use crate::proto;
use crate::track::{Header, LAST_INDEX};
use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

/// The bulk streams of one link.
#[derive(Debug, Default)]
pub struct Streams {
    open: Vec<(u64, State)>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Reading {
        track: Uuid,
        ssrc: u32,
        next: u64,
    },
    /// Of no use, or beyond the limit; read over until it ends.
    Ignored,
}

/// What a frame of a bulk stream turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Packet {
        track: Uuid,
        index: u64,
        bytes: Bytes,
    },
    Begun,
    /// Counted and dropped.
    Useless,
}

impl Streams {
    /// `ssrc_of`: the SSRC of a track that this child wants.
    pub fn handle_frame(
        &mut self,
        stream: u64,
        frame: Bytes,
        ssrc_of: impl Fn(Uuid) -> Option<u32>,
    ) -> Result<Read, Violation> {
        let reading = self.reading();
        let Some((_, state)) = self.open.iter_mut().find(|(open, _)| *open == stream) else {
            if self.open.len() >= STREAMS_REMEMBERED {
                let text = format!("more than {STREAMS_REMEMBERED} bulk streams at once; finish some first");
                return Err(Violation::new("bulk.too_many", text));
            }
            let state = match begin(frame, ssrc_of) {
                Some(state) if reading < MAX_BULK_STREAMS => state,
                _ => State::Ignored,
            };
            self.open.push((stream, state));
            return Ok(if matches!(state, State::Ignored) { Read::Useless } else { Read::Begun });
        };
        let State::Reading { track, ssrc, next } = state else { return Ok(Read::Useless) };
        let (track, index) = (*track, *next);
        let fits = Header::parse(&frame).is_some_and(|header| header.ssrc == *ssrc && header.sequence == index as u16);
        if !fits || index > LAST_INDEX {
            // The peer and this node no longer agree what the stream holds.
            *state = State::Ignored;
            return Ok(Read::Useless);
        }
        *next += 1;
        Ok(Read::Packet { track, index, bytes: frame })
    }

    /// The stream has ended: the track that it was about.
    pub fn handle_end(&mut self, stream: u64, ended: impl FnOnce(Uuid)) {
        if let Some(at) = self.open.iter().position(|(open, _)| *open == stream)
            && let (_, State::Reading { track, .. }) = self.open.swap_remove(at)
        {
            ended(track);
        }
    }

    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.open.capacity() * size_of::<(u64, State)>()
    }

    fn reading(&self) -> usize {
        self.open.iter().filter(|(_, state)| matches!(state, State::Reading { .. })).count()
    }
}

fn begin(frame: Bytes, ssrc_of: impl Fn(Uuid) -> Option<u32>) -> Option<State> {
    let bulk = proto::Bulk::decode(frame).ok()?;
    let track = wire::read_id(&bulk.track, "Bulk.track").ok()?;
    let first = wire::read_index(bulk.first, "Bulk.first").ok()?;
    Some(State::Reading { track, ssrc: ssrc_of(track)?, next: first })
}

/// Streams known at once, the ignored ones included: a parent that opens so many is broken.
const STREAMS_REMEMBERED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const TRACK: Uuid = Uuid::from_u128(7);

    fn header(index: u64) -> Bytes {
        let mut bytes = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        bytes[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        bytes.into()
    }

    fn bulk(first: u64) -> Bytes {
        proto::Bulk { track: wire::id(TRACK), first }.encode_to_vec().into()
    }

    fn ssrc_of(track: Uuid) -> Option<u32> {
        (track == TRACK).then_some(9)
    }

    #[test]
    fn packets_take_rising_indices_from_the_first_frame() {
        let mut streams = Streams::default();
        assert_eq!(streams.handle_frame(4, bulk(65_535), ssrc_of), Ok(Read::Begun));
        for index in [65_535, 65_536] {
            let read = streams.handle_frame(4, header(index), ssrc_of).unwrap();
            assert_eq!(read, Read::Packet { track: TRACK, index, bytes: header(index) });
        }
        let mut ended = None;
        streams.handle_end(4, |track| ended = Some(track));
        assert_eq!(ended, Some(TRACK));
    }

    #[test]
    fn a_stream_that_skips_an_index_is_read_over_to_its_end() {
        let mut streams = Streams::default();
        streams.handle_frame(4, bulk(5), ssrc_of).unwrap();
        assert_eq!(streams.handle_frame(4, header(6), ssrc_of), Ok(Read::Useless));
        assert_eq!(streams.handle_frame(4, header(5), ssrc_of), Ok(Read::Useless));
    }

    #[test]
    fn of_many_streams_some_are_read_some_ignored_and_too_many_are_a_violation() {
        let mut streams = Streams::default();
        let reads: Vec<_> =
            (0..STREAMS_REMEMBERED as u64).map(|stream| streams.handle_frame(stream, bulk(0), ssrc_of)).collect();
        assert_eq!(reads.iter().filter(|read| **read == Ok(Read::Begun)).count(), MAX_BULK_STREAMS);
        assert_eq!(streams.handle_frame(1_000, bulk(0), ssrc_of).unwrap_err().code, "bulk.too_many");
        streams.handle_end(0, |_| {});
        assert_eq!(streams.handle_frame(1_000, bulk(0), ssrc_of), Ok(Read::Begun));
    }
}
