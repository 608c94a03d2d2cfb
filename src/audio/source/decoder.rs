//! One decoder for each kind of packet, all of them to planes of float samples.
use super::fault::Fault;
use super::opus::Opus;
use super::pcm::Number;
use super::stream::{Codec, Packet};
use crate::audio::mix::Layout;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

pub(super) enum Decoder {
    Pcm(Number),
    Opus(Box<Opus>),
    Library(Box<dyn AudioDecoder>),
}

impl Decoder {
    pub fn new(codec: &Codec) -> Result<Self, Fault> {
        Ok(match codec {
            Codec::Pcm(number) => Self::Pcm(*number),
            Codec::Opus(head) => Self::Opus(Box::new(Opus::new(head)?)),
            Codec::Library(parameters) => {
                // FLAC carries a checksum of its whole sound.
                let options = AudioDecoderOptions::default().verify(true);
                Self::Library(symphonia::default::get_codecs().make_audio_decoder(parameters, &options)?)
            }
        })
    }

    /// Replaces `planes`, and says what the sound itself says of its rate and layout, where that may differ from
    /// what the container said.
    pub fn decode(&mut self, packet: &Packet, planes: &mut Vec<Vec<f32>>) -> Result<Option<(u32, Layout)>, Fault> {
        match self {
            Self::Pcm(number) => {
                planes.iter_mut().for_each(Vec::clear);
                number.decode(&packet.data, planes);
                Ok(None)
            }
            Self::Opus(opus) => opus.decode(&packet.data, planes).map(|()| None),
            Self::Library(decoder) => {
                let start = Timestamp::new(packet.at.unwrap_or(0));
                let decoded =
                    decoder.decode_ref(&PacketRef::new(0, start, Duration::new(packet.samples), &packet.data))?;
                if decoded.frames() > LONGEST_BLOCK {
                    return Err(Fault::damaged("a block of sound is longer than any encoder makes"));
                }
                decoded.copy_to_vecs_planar(planes);
                let spec = decoded.spec();
                let layout = match spec.channels() {
                    Channels::Positioned(places) => Layout::mask(spec.channels().count() as u16, places.bits() as u32),
                    channels => Layout::equal(channels.count() as u16),
                };
                Ok(Some((spec.rate(), layout)))
            }
        }
    }

    /// Whether the sound is what its checksum says; true where it has none.
    pub fn verified(&mut self) -> bool {
        match self {
            Self::Library(decoder) => decoder.finalize().verify_ok != Some(false),
            _ => true,
        }
    }
}

/// FLAC and ALAC reach 65,535 samples (RFC 9639 §9.1); nobody goes beyond.
const LONGEST_BLOCK: usize = 1 << 16;
