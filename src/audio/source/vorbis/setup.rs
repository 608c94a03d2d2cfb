//! The setup header of Vorbis (I, §4.2.4), in the words that the library understands as they are meant.
//!
//! Of what symphonia-codec-vorbis 0.6.1 makes another sound, two can be said otherwise:
//!
//! * Channels may be coded as magnitude and angle of one another. A mapping lists such pairs, and a decoder undoes them
//!   from the last to the first (§4.3.5); the library does so from the first to the last. That matters where a channel
//!   is in several pairs, as in 5.1 of libvorbis: (0, 2) (3, 4) (0, 1) (0, 3). So each list is turned around.
//! * A residue is coded in partitions, and one word tells the classes of several. Where the last word tells more than
//!   there are, the library writes the rest over the next channel's first (residues of type 0 and 1). So the residue
//!   is made to end where its last word does. Encoders give class 0 to what isn't there; only if that has no books, so
//!   that nothing is read for it, is the end moved.
//!
//! ```text
//! "\x05vorbis" │ codebooks │ times │ floors
//! │ residues: type 16 │ begin 24 │ end 24 │ partition − 1, 24 │ classes − 1, 6 │ book 8 │ …
//! │ mappings: submaps, steps − 1, ( magnitude │ angle )*, … │ modes
//! ```
//! Bits from the lowest of each byte. A header that can't be followed stays as it is, for the library to refuse.

/// The setup header for the library.
pub(in crate::audio::source) fn translated(channels: u8, setup: &[u8]) -> Vec<u8> {
    let mut translated = setup.to_vec();
    // Alone, a channel has no pair and no next.
    let changes = if channels > 1 { Changes::read(channels, setup) } else { None };
    if let Some(Changes { ends, pairs }) = changes {
        ends.iter().for_each(|end| end.put(&mut translated));
        pairs.iter().for_each(|pairs| pairs.turn(&mut translated));
    }
    translated
}

struct Changes {
    ends: Vec<End>,
    pairs: Vec<Pairs>,
}

/// Where a residue is to end, and the bit at which its header tells that.
struct End {
    at: usize,
    end: u32,
}

impl End {
    fn put(&self, bytes: &mut [u8]) {
        for place in 0..24 {
            let (byte, shift) = ((self.at + place) / 8, (self.at + place) % 8);
            bytes[byte] = bytes[byte] & !(1 << shift) | ((self.end >> place & 1) as u8) << shift;
        }
    }
}

/// The pairs of one mapping: where they begin, in bits, how many, and the bits of each.
struct Pairs {
    begin: usize,
    count: usize,
    width: usize,
}

impl Pairs {
    fn turn(&self, bytes: &mut [u8]) {
        let bit = |at: usize| (at / 8, 1u8 << (at % 8));
        for pair in 0..self.count / 2 {
            for offset in 0..self.width {
                let (one, other) = (pair * self.width, (self.count - 1 - pair) * self.width);
                let ((a, mask_a), (b, mask_b)) = (bit(self.begin + one + offset), bit(self.begin + other + offset));
                if (bytes[a] & mask_a != 0) != (bytes[b] & mask_b != 0) {
                    bytes[a] ^= mask_a;
                    bytes[b] ^= mask_b;
                }
            }
        }
    }
}

impl Changes {
    fn read(channels: u8, setup: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"\x05vorbis";
        setup.starts_with(NAME).then_some(())?;
        let mut bits = Bits { bytes: setup, at: NAME.len() * 8 };
        let mut dimensions = Vec::new();
        for _ in 0..=bits.take(8)? {
            dimensions.push(codebook(&mut bits)?);
        }
        let times = bits.take(6)? + 1;
        bits.skip(u64::from(times) * 16)?;
        for _ in 0..=bits.take(6)? {
            floor(&mut bits)?;
        }
        let mut ends = Vec::new();
        for _ in 0..=bits.take(6)? {
            ends.extend(residue(&dimensions, &mut bits)?);
        }
        let pairs = (0..=bits.take(6)?).map(|_| mapping(channels, &mut bits)).collect::<Option<_>>()?;
        Some(Self { ends, pairs })
    }
}

/// §3.2.1; gives the dimensions, which of words for classes are how many they tell.
fn codebook(bits: &mut Bits) -> Option<u32> {
    (bits.take(24)? == 0x56_4342).then_some(())?;
    let (dimensions, entries) = (bits.take(16)?, bits.take(24)?);
    if bits.take(1)? == 1 {
        bits.skip(5)?;
        let mut listed = 0;
        while listed < entries {
            listed += bits.take((entries - listed).ilog2() + 1)?;
        }
    } else if bits.take(1)? == 1 {
        for _ in 0..entries {
            if bits.take(1)? == 1 {
                bits.skip(5)?;
            }
        }
    } else {
        bits.skip(u64::from(entries) * 5)?;
    }
    let lookup = bits.take(4)?;
    if lookup == 0 {
        return Some(dimensions);
    }
    bits.skip(64)?;
    let width = u64::from(bits.take(4)? + 1);
    bits.skip(1)?;
    if lookup != 1 {
        return bits.skip(u64::from(entries) * u64::from(dimensions) * width).map(|()| dimensions);
    }
    // As many values as give no more than `entries` when chosen for every dimension (§9.2.3).
    let within = |values: u64| values.checked_pow(dimensions).is_some_and(|power| power <= entries.into());
    let mut values = 0;
    while dimensions > 0 && within(values + 1) {
        values += 1;
        bits.skip(width)?;
    }
    Some(dimensions)
}

/// §6.2.1 and §7.2.2
fn floor(bits: &mut Bits) -> Option<()> {
    if bits.take(16)? == 0 {
        bits.skip(8 + 16 + 16 + 6 + 8)?;
        let books = bits.take(4)? + 1;
        return bits.skip(u64::from(books) * 8);
    }
    let mut partitions = Vec::new();
    for _ in 0..bits.take(5)? {
        partitions.push(bits.take(4)? as usize);
    }
    let mut dimensions = Vec::new();
    for _ in 0..partitions.iter().max().map_or(0, |most| most + 1) {
        dimensions.push(u64::from(bits.take(3)? + 1));
        let subclasses = bits.take(2)?;
        let master = if subclasses > 0 { 8 } else { 0 };
        bits.skip(master + (8 << subclasses))?;
    }
    bits.skip(2)?;
    let width = u64::from(bits.take(4)?);
    bits.skip(partitions.iter().map(|class| dimensions[*class] * width).sum())
}

/// §8.6.1
fn residue(dimensions: &[u32], bits: &mut Bits) -> Option<Option<End>> {
    let (kind, begin, at) = (bits.take(16)?, bits.take(24)?, bits.at);
    let (end, partition, classes) = (bits.take(24)?, bits.take(24)? + 1, bits.take(6)? + 1);
    let word = *dimensions.get(bits.take(8)? as usize)?;
    let mut books = Vec::new();
    for _ in 0..classes {
        let low = bits.take(3)?.count_ones();
        let high = if bits.take(1)? == 1 { bits.take(5)?.count_ones() } else { 0 };
        books.push(low + high);
    }
    bits.skip(u64::from(books.iter().sum::<u32>()) * 8)?;
    let partitions = end.checked_sub(begin)? / partition;
    let told = partitions.checked_next_multiple_of(word)?;
    let moved = told.checked_mul(partition).and_then(|length| begin.checked_add(length));
    let moved = moved.filter(|moved| kind < 2 && told > partitions && books[0] == 0 && *moved < 1 << 24);
    Some(moved.map(|end| End { at, end }))
}

/// §4.2.4
fn mapping(channels: u8, bits: &mut Bits) -> Option<Pairs> {
    (bits.take(16)? == 0).then_some(())?;
    let submaps = if bits.take(1)? == 1 { bits.take(4)? + 1 } else { 1 };
    let count = if bits.take(1)? == 1 { bits.take(8)? as usize + 1 } else { 0 };
    let width = 2 * (channels.checked_sub(1)?.checked_ilog2()? as usize + 1);
    let begin = bits.at;
    bits.skip((count * width) as u64)?;
    let multiplex = if submaps > 1 { 4 * u64::from(channels) } else { 0 };
    bits.skip(2 + multiplex + u64::from(submaps) * 24)?;
    Some(Pairs { begin, count, width })
}

/// Bits from the first to the last.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for place in 0..count {
            value |= u32::from(self.bytes.get(self.at / 8)? >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        let left = (self.bytes.len() * 8 - self.at) as u64;
        self.at += usize::try_from(count).ok().filter(|_| count <= left)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one codebook of each kind, one floor of each kind, and a residue in front.
    fn setup(kind: u32, end: u32, first: u32, pairs: &[(u32, u32)]) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        let mut put = |fields: &[(u32, u32)]| {
            for (value, count) in fields {
                bits.extend((0..*count).map(|at| value >> at & 1 == 1));
            }
        };
        put(&[(2, 8)]);
        // Ordered: 2 words of one length and 1 of the next; no lookup.
        put(&[(0x56_4342, 24), (1, 16), (3, 24), (1, 1), (0, 5), (2, 2), (1, 1), (0, 4)]);
        // Sparse, two of four; lookup 1: two values of 3 bits for two dimensions.
        put(&[(0x56_4342, 24), (2, 16), (4, 24), (0, 1), (1, 1), (1, 1), (0, 5), (0, 1), (0, 1), (1, 1), (0, 5)]);
        put(&[(1, 4), (0, 32), (0, 32), (2, 4), (0, 1), (5, 3), (6, 3)]);
        // Dense; lookup 2: a value for every entry and dimension.
        put(&[(0x56_4342, 24), (3, 16), (2, 24), (0, 1), (0, 1), (0, 5), (0, 5)]);
        put(&[(2, 4), (0, 32), (0, 32), (0, 4), (0, 1), (0b10_1101, 6)]);
        put(&[(0, 6), (0, 16)]);
        put(&[(1, 6), (0, 16), (1, 8), (1, 16), (1, 16), (1, 6), (1, 8), (1, 4), (0, 8), (0, 8)]);
        // Two partitions of class 1; class 0 of one dimension, class 1 of two with two subclasses.
        put(&[(1, 16), (2, 5), (1, 4), (1, 4), (0, 3), (0, 2), (1, 8), (1, 3), (1, 2), (0, 8), (1, 8), (1, 8)]);
        put(&[(1, 2), (5, 4), (1, 5), (2, 5), (3, 5), (4, 5)]);
        // Partitions of 16; words of codebook 1 tell two; two classes.
        put(&[
            (0, 6),
            (kind, 16),
            (0, 24),
            (end, 24),
            (15, 24),
            (1, 6),
            (1, 8),
            (first, 3),
            (0, 1),
            (1, 3),
            (1, 1),
            (1, 5),
        ]);
        put(&vec![(1, 8); first.count_ones() as usize + 2]);
        put(&[(0, 6), (0, 16), (1, 1), (1, 4), (1, 1), (pairs.len() as u32 - 1, 8)]);
        for (magnitude, angle) in pairs {
            put(&[(*magnitude, 3), (*angle, 3)]);
        }
        put(&[(0, 2), (0, 20), (1, 4), (0, 24), (0, 24), (0, 6), (0, 32), (0, 9), (1, 1)]);
        let bytes = bits.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
        b"\x05vorbis".iter().copied().chain(bytes).collect()
    }

    #[test]
    fn pairs_of_channels_are_turned_around_and_nothing_else() {
        let (there, back) = ([(0, 2), (3, 4), (0, 1), (0, 3)], [(0, 3), (0, 1), (3, 4), (0, 2)]);
        let setup = |pairs| setup(2, 48, 5, pairs);
        assert_eq!(translated(6, &setup(&there)), setup(&back));
        assert_eq!(translated(6, &setup(&there[..3])), setup(&back[1..]));
        assert_eq!(translated(6, &setup(&there[..1])), setup(&there[..1]));
    }

    #[test]
    fn a_residue_ends_where_its_last_word_does_if_nothing_is_read_for_what_that_adds() {
        let pairs = [(0, 2)];
        assert_eq!(translated(6, &setup(1, 48, 0, &pairs)), setup(1, 64, 0, &pairs));
        for (kind, end, first) in [(1, 64, 0), (1, 48, 5), (2, 48, 0)] {
            let same = setup(kind, end, first, &pairs);
            assert_eq!(translated(6, &same), same, "{kind} {end} {first}");
        }
    }

    #[test]
    fn a_header_that_ends_early_stays_as_it_is() {
        let whole = setup(1, 48, 0, &[(0, 2), (3, 4)]);
        // Behind the mapping, more than five bytes.
        for length in 0..whole.len() - 6 {
            assert_eq!(translated(6, &whole[..length]), &whole[..length], "{length}");
        }
    }
}
