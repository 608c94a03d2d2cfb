//! Of Vorbis, what a container must know: how long a packet sounds.
//!
//! A packet is a block, short or long by its mode; it sounds from the middle of the block before to its own
//! (Vorbis I §1.3.2). Modes stand at the very end of the setup header, behind codebooks of any length, so they
//! are read from its end (§4.2.4), the last bit first:
//! ```text
//! … │ modes − 1, 6 bits │ ( long 1 │ window 16 = 0 │ transform 16 = 0 │ mapping 8 )* │ framing 1 │ zeros to a byte
//! ```
pub(super) use setup::translated;

mod setup;

#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// Short and long.
    sizes: [u64; 2],
    /// Whether each mode is long.
    modes: Vec<bool>,
    before: Option<u64>,
}

/// The identification header, §4.2.2, little-endian:
/// `1 │ "vorbis" │ version 4 │ channels 1 │ rate 4 │ bitrates 12 │ short 4 bits │ long 4 bits │ framing 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identification {
    pub channels: u8,
    pub rate: u32,
    sizes: [u64; 2],
}

impl Identification {
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let body = packet.strip_prefix(b"\x01vorbis")?;
        let rate = u32::from_le_bytes(*body.get(5..9)?.first_chunk()?);
        let sizes = *body.get(21)?;
        let sizes = [1 << (sizes & 15), 1 << (sizes >> 4)];
        (sizes[0] >= 64 && sizes[0] <= sizes[1] && sizes[1] <= 8_192).then_some(Self { channels: body[4], rate, sizes })
    }
}

impl Blocks {
    pub fn new(identification: Identification, setup: &[u8]) -> Option<Self> {
        let setup = setup.strip_prefix(b"\x05vorbis")?;
        let mut bits = Backward { bytes: setup, left: setup.len() * 8 };
        while bits.take(1)? == 0 {}
        let (mut from_last, mut count) = (Vec::new(), 0);
        while from_last.len() < 64 {
            let mode = (|| Some((bits.take(8)? < 64, bits.take(16)?, bits.take(16)?, bits.take(1)?)))();
            let Some((true, 0, 0, long)) = mode else { break };
            from_last.push(long == 1);
            if bits.clone().take(6) == Some(from_last.len() as u32 - 1) {
                count = from_last.len();
            }
        }
        from_last.truncate(count);
        from_last.reverse();
        (count > 0).then_some(Self { sizes: identification.sizes, modes: from_last, before: None })
    }

    /// Samples that the first half of the last block lasts; `None` before the first.
    pub fn half(&self) -> Option<u64> {
        self.before.map(|size| size / 2)
    }

    /// Samples by which a short block beside a long one may differ from what a muxer takes for its place.
    pub fn uneven(&self) -> u64 {
        (self.sizes[1] - self.sizes[0]) / 4
    }

    /// Samples that the next packet adds.
    pub fn samples(&mut self, packet: &[u8]) -> u64 {
        let Some(first) = packet.first().filter(|first| **first & 1 == 0) else { return 0 };
        let width = (self.modes.len() - 1).checked_ilog2().map_or(0, |bits| bits + 1);
        let mode = usize::from(first >> 1) & ((1 << width) - 1);
        let Some(long) = self.modes.get(mode) else { return 0 };
        let size = self.sizes[usize::from(*long)];
        let before = self.before.replace(size);
        before.map_or(0, |before| (before + size) / 4)
    }
}

/// Bits from the last to the first.
#[derive(Clone)]
struct Backward<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl Backward<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            self.left = self.left.checked_sub(1)?;
            value = value << 1 | u32::from(self.bytes[self.left / 8] >> (self.left % 8) & 1);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_found_at_the_end_of_the_setup_and_tell_how_long_packets_sound() {
        let mut head = b"\x01vorbis\0\0\0\0\x02\x44\xac\0\0".to_vec();
        head.extend([0; 12]);
        head.extend([0xb8, 1]);
        let identification = Identification::parse(&head).unwrap();
        assert_eq!((identification.rate, identification.channels, identification.sizes), (44_100, 2, [256, 2_048]));
        // Two modes, short and long, each with mapping 0 or 1, behind some codebook.
        let mut bits: Vec<u8> = [1, 0, 1, 1].into();
        let put =
            |bits: &mut Vec<u8>, value: u32, count: u32| bits.extend((0..count).map(|at| (value >> at & 1) as u8));
        put(&mut bits, 1, 6);
        for (long, mapping) in [(0, 0), (1, 1)] {
            put(&mut bits, long, 1);
            put(&mut bits, 0, 32);
            put(&mut bits, mapping, 8);
        }
        put(&mut bits, 1, 1);
        let mut setup = b"\x05vorbis".to_vec();
        setup.extend(bits.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | bit)));
        let mut blocks = Blocks::new(identification, &setup).unwrap();
        let sound = [[0b00].as_slice(), &[0b10], &[0b10], &[0b00], &[0b1]];
        assert_eq!(sound.map(|packet| blocks.samples(packet)), [0, 576, 1_024, 576, 0]);
        assert!(Blocks::new(identification, &setup[..8]).is_none());
    }
}
