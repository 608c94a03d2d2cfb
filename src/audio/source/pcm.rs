//! Samples as numbers: what WAV, AIFF, CAF and a bare pipe hold.
use crate::audio::{Pcm, PcmSample};

/// How one number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Unsigned, in WAV alone.
    U8,
    /// Signed, of so many bytes (1–4).
    Little(u8),
    Big(u8),
    F32Little,
    F32Big,
    F64Little,
    F64Big,
    /// ITU-T G.711.
    ALaw,
    MuLaw,
}

impl Number {
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::ALaw | Self::MuLaw => 1,
            Self::Little(bytes) | Self::Big(bytes) => bytes.into(),
            Self::F32Little | Self::F32Big => 4,
            Self::F64Little | Self::F64Big => 8,
        }
    }

    /// The highest value that can be written; 1.0 for float.
    pub fn full_scale(self) -> f32 {
        match self {
            Self::U8 => 127.0 / 128.0,
            Self::Little(bytes) | Self::Big(bytes) => 1.0 - 1.0 / (1u64 << (8 * u32::from(bytes) - 1)) as f32,
            Self::F32Little | Self::F32Big | Self::F64Little | Self::F64Big => 1.0,
            Self::ALaw => 32_256.0 / 32_768.0,
            Self::MuLaw => 32_124.0 / 32_768.0,
        }
    }

    /// For people.
    pub fn name(self) -> String {
        match self {
            Self::U8 => "PCM, 8 bit".into(),
            Self::Little(bytes) | Self::Big(bytes) => format!("PCM, {} bit", 8 * bytes),
            Self::F32Little | Self::F32Big => "PCM, float 32".into(),
            Self::F64Little | Self::F64Big => "PCM, float 64".into(),
            Self::ALaw => "G.711 A-law".into(),
            Self::MuLaw => "G.711 µ-law".into(),
        }
    }

    /// Takes interleaved bytes apart, appending to one plane a channel; a sample that is not whole is left out.
    pub fn decode(self, bytes: &[u8], planes: &mut [Vec<f32>]) {
        let (width, channels) = (self.bytes(), planes.len());
        for (channel, plane) in planes.iter_mut().enumerate() {
            let whole = bytes.chunks_exact(width * channels).map(|sample| &sample[channel * width..][..width]);
            match self {
                Self::U8 => plane.extend(whole.map(|x| (f32::from(x[0]) - 128.0) / 128.0)),
                Self::Little(1) | Self::Big(1) => plane.extend(whole.map(|x| f32::from(x[0] as i8) / 128.0)),
                Self::Little(2) => plane.extend(whole.map(|x| f32::from(i16::from_le_bytes([x[0], x[1]])) / 32_768.0)),
                Self::Big(2) => plane.extend(whole.map(|x| f32::from(i16::from_be_bytes([x[0], x[1]])) / 32_768.0)),
                Self::Little(3) => plane.extend(whole.map(|x| long([0, x[0], x[1], x[2]]))),
                Self::Big(3) => plane.extend(whole.map(|x| long([0, x[2], x[1], x[0]]))),
                Self::Little(_) => plane.extend(whole.map(|x| long([x[0], x[1], x[2], x[3]]))),
                Self::Big(_) => plane.extend(whole.map(|x| long([x[3], x[2], x[1], x[0]]))),
                Self::F32Little => plane.extend(whole.map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]]))),
                Self::F32Big => plane.extend(whole.map(|x| f32::from_be_bytes([x[0], x[1], x[2], x[3]]))),
                Self::F64Little => plane.extend(whole.map(|x| double(x, f64::from_le_bytes))),
                Self::F64Big => plane.extend(whole.map(|x| double(x, f64::from_be_bytes))),
                Self::ALaw => plane.extend(whole.map(|x| a_law(x[0]))),
                Self::MuLaw => plane.extend(whole.map(|x| mu_law(x[0]))),
            }
        }
    }
}

impl From<Pcm> for Number {
    fn from(pcm: Pcm) -> Self {
        match pcm.sample {
            PcmSample::U8 => Self::U8,
            PcmSample::S16Le => Self::Little(2),
            PcmSample::S16Be => Self::Big(2),
            PcmSample::S24Le => Self::Little(3),
            PcmSample::S32Le => Self::Little(4),
            PcmSample::F32Le => Self::F32Little,
        }
    }
}

fn long(bytes: [u8; 4]) -> f32 {
    i32::from_le_bytes(bytes) as f32 / 2_147_483_648.0
}

fn double(bytes: &[u8], read: fn([u8; 8]) -> f64) -> f32 {
    bytes.first_chunk().map_or(0.0, |eight| read(*eight) as f32)
}

/// G.711 table 1: sign, three bits of segment, four of step; every second bit inverted.
fn a_law(byte: u8) -> f32 {
    let byte = byte ^ 0x55;
    let (segment, step) = (u32::from(byte >> 4 & 7), i32::from(byte & 15));
    let size = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) };
    (if byte & 0x80 != 0 { size } else { -size }) as f32 / 32_768.0
}

/// G.711 table 2: all bits inverted, a bias of 33 in 14 bits.
fn mu_law(byte: u8) -> f32 {
    let byte = !byte;
    let (segment, step) = (u32::from(byte >> 4 & 7), i32::from(byte & 15));
    let size = (((step << 3) + 0x84) << segment) - 0x84;
    (if byte & 0x80 != 0 { -size } else { size }) as f32 / 32_768.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(number: Number, bytes: &[u8]) -> Vec<f32> {
        let mut planes = [Vec::new()];
        number.decode(bytes, &mut planes);
        let [plane] = planes;
        plane
    }

    #[test]
    fn every_kind_of_number_is_read() {
        assert_eq!(one(Number::U8, &[0, 128, 255]), [-1.0, 0.0, 127.0 / 128.0]);
        assert_eq!(one(Number::Big(1), &[0x80, 0, 0x40]), [-1.0, 0.0, 0.5]);
        assert_eq!(one(Number::Little(2), &[0, 0x80, 0, 0x40, 9]), [-1.0, 0.5]);
        assert_eq!(one(Number::Big(2), &[0x80, 0, 0x40, 0]), [-1.0, 0.5]);
        assert_eq!(one(Number::Little(3), &[0, 0, 0x80, 0, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(one(Number::Big(3), &[0x80, 0, 0, 0x40, 0, 0]), [-1.0, 0.5]);
        assert_eq!(one(Number::Little(4), &[0, 0, 0, 0x80]), [-1.0]);
        assert_eq!(one(Number::F32Big, &0.25f32.to_be_bytes()), [0.25]);
        assert_eq!(one(Number::F64Little, &(-0.25f64).to_le_bytes()), [-0.25]);
        // G.711: the codes of the largest and the smallest steps.
        assert_eq!(one(Number::ALaw, &[0xaa, 0x2a, 0xd5]), [32_256.0 / 32_768.0, -32_256.0 / 32_768.0, 8.0 / 32_768.0]);
        assert_eq!(one(Number::MuLaw, &[0x80, 0x00, 0xff]), [32_124.0 / 32_768.0, -32_124.0 / 32_768.0, 0.0]);
    }

    #[test]
    fn channels_are_taken_apart() {
        let mut planes = [Vec::new(), Vec::new()];
        Number::Little(2).decode(&[0, 0x40, 0, 0xc0, 0, 0x20, 0, 0xe0, 1], &mut planes);
        assert_eq!(planes, [vec![0.5, 0.25], vec![-0.5, -0.25]]);
    }
}
