//! The bytes of a frame, pure: a 6-byte header and the payload.
//!
//! ```text
//! byte 0     version, 1
//! byte 1     kind: 0 data, 1 end, 2 accept, 3 refuse, 4 denied
//! bytes 2-5  payload length, big-endian
//! ```
//! The length is believed only after it was compared with the class's limit, and memory is taken only for bytes that
//! have arrived. The layout is ours.

use bytes::{Buf, Bytes, BytesMut};

use crate::Class;
use crate::frame::FrameError;

/// Bytes in front of each payload.
pub(crate) const HEADER_BYTES: usize = 6;
/// The layout above.
const VERSION: u8 = 1;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message of the application.
    Data,
    /// Nothing follows in this direction.
    End,
    /// First frame of an accepted stream, from the side that accepts.
    Accept,
    /// Only frame of a stream that is refused at its opening; one byte says why.
    Refuse,
    /// Last frame of a stream that was opened and is not served; a text says why.
    Denied,
}

/// The longest reason of a [`Kind::Denied`], in bytes: a sentence or two.
pub(crate) const REASON_BYTES_MAX: usize = 1024;

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::End => 1,
            Self::Accept => 2,
            Self::Refuse => 3,
            Self::Denied => 4,
        }
    }

    /// Largest payload that a frame of this kind may have on a stream of `class`.
    fn payload_max(self, class: Class) -> usize {
        match self {
            Self::Data => class.frame_bytes_max(),
            Self::End | Self::Accept => 0,
            Self::Refuse => 1,
            Self::Denied => REASON_BYTES_MAX,
        }
    }
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) payload: Bytes,
}

/// Appends a frame to `buffer`, or leaves it as it was.
///
/// # Errors
/// [`FrameError::TooLarge`].
pub(crate) fn encode(class: Class, kind: Kind, payload: &[u8], buffer: &mut BytesMut) -> Result<(), FrameError> {
    let max = kind.payload_max(class);
    let too_large = || FrameError::TooLarge { class, bytes: payload.len(), max };
    let length = u32::try_from(payload.len()).map_err(|_above_any_limit| too_large())?;
    if payload.len() > max {
        return Err(too_large());
    }
    buffer.reserve(HEADER_BYTES + payload.len());
    buffer.extend_from_slice(&[VERSION, kind.byte()]);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(payload);
    Ok(())
}

/// Collects bytes and cuts them into frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    class: Class,
    buffer: BytesMut,
}

impl Decoder {
    pub(crate) fn new(class: Class) -> Self {
        Self { class, buffer: BytesMut::new() }
    }

    /// Adds bytes that have arrived.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer, for a reader that writes into it.
    pub(crate) fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes of an unfinished frame.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// How many more bytes finish the current frame, when its header has arrived.
    pub(crate) fn missing(&self) -> Option<usize> {
        let (_, length) = self.header().ok().flatten()?;
        (HEADER_BYTES + length).checked_sub(self.buffer.len())
    }

    /// The next whole frame, or `None` until more bytes have arrived.
    ///
    /// # Errors
    /// [`FrameError::Version`], [`FrameError::Malformed`] or [`FrameError::TooLarge`], from the header alone. The
    /// decoder cannot go on after that.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((kind, length)) = self.header()? else { return Ok(None) };
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let payload = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() {
            // An idle stream holds no memory, and the frame does not keep spare room alive.
            self.buffer = BytesMut::new();
        }
        Ok(Some(Frame { kind, payload }))
    }

    fn header(&self) -> Result<Option<(Kind, usize)>, FrameError> {
        let Some((&version, rest)) = self.buffer.split_first() else { return Ok(None) };
        if version != VERSION {
            return Err(FrameError::Version { found: version, known: VERSION });
        }
        let Some((&kind, rest)) = rest.split_first() else { return Ok(None) };
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::End,
            2 => Kind::Accept,
            3 => Kind::Refuse,
            4 => Kind::Denied,
            _ => return Err(FrameError::Malformed { reason: "its kind is unknown" }),
        };
        let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
        let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let max = kind.payload_max(self.class);
        if bytes > max {
            return Err(FrameError::TooLarge { class: self.class, bytes, max });
        }
        Ok(Some((kind, bytes)))
    }
}

/// The frames in bytes that come in pieces, each written again; how many bytes are left, and why they are refused, where they
/// are. For the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn written_again(class: Class, pieces: &[&[u8]]) -> (BytesMut, usize, Option<FrameError>) {
    let (mut decoder, mut written) = (Decoder::new(class), BytesMut::new());
    for piece in pieces {
        decoder.extend(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => {
                    encode(class, frame.kind, &frame.payload, &mut written).expect("what was read can be written");
                }
                Ok(None) => break,
                Err(error) => return (written, decoder.buffered(), Some(error)),
            }
        }
        assert_ne!(decoder.missing(), Some(0), "a frame that is whole is given");
    }
    (written, decoder.buffered(), None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(class: Class, kind: Kind, payload: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        encode(class, kind, payload, &mut buffer).unwrap();
        buffer
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        assert_eq!(&encoded(Class::Work, Kind::Data, b"ab")[..], [1, 0, 0, 0, 0, 2, b'a', b'b']);
        assert_eq!(&encoded(Class::Work, Kind::End, b"")[..], [1, 1, 0, 0, 0, 0]);
        assert_eq!(&encoded(Class::Work, Kind::Accept, b"")[..], [1, 2, 0, 0, 0, 0]);
        assert_eq!(&encoded(Class::Work, Kind::Refuse, &[7])[..], [1, 3, 0, 0, 0, 1, 7]);
        assert_eq!(&encoded(Class::Work, Kind::Denied, b"no")[..], [1, 4, 0, 0, 0, 2, b'n', b'o']);
    }

    #[test]
    fn a_frame_of_the_maximum_size_passes_and_one_byte_more_is_refused_on_both_sides() {
        for class in Class::ALL {
            let max = class.frame_bytes_max();
            let mut decoder = Decoder::new(class);
            decoder.extend(&encoded(class, Kind::Data, &vec![9; max]));
            assert_eq!(decoder.next().unwrap().unwrap().payload.len(), max);

            let mut buffer = BytesMut::new();
            let error = encode(class, Kind::Data, &vec![9; max + 1], &mut buffer).unwrap_err();
            assert!(matches!(error, FrameError::TooLarge { bytes, .. } if bytes == max + 1));
            assert!(buffer.is_empty(), "a refused frame leaves nothing behind");
        }
    }

    #[test]
    fn an_announced_length_above_the_limit_is_refused_from_the_header_and_takes_no_memory() {
        let mut decoder = Decoder::new(Class::Join);
        decoder.extend(&[1, 0, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(decoder.next(), Err(FrameError::TooLarge { bytes: 0xffff_ffff, max: 65_536, .. })));
        assert!(decoder.buffer_mut().capacity() < 1024);
    }

    #[test]
    fn an_unknown_version_is_named_after_its_first_byte() {
        let mut decoder = Decoder::new(Class::Work);
        decoder.extend(&[2]);
        assert!(matches!(decoder.next(), Err(FrameError::Version { found: 2, known: 1 })));
    }

    #[test]
    fn control_frames_with_a_payload_are_refused() {
        for kind in [1, 2] {
            let mut decoder = Decoder::new(Class::Work);
            decoder.extend(&[1, kind, 0, 0, 0, 1, 0]);
            assert!(matches!(decoder.next(), Err(FrameError::TooLarge { max: 0, .. })));
        }
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting_of_the_byte_stream(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
            cuts in prop::collection::vec(1_usize..400, 1..20),
        ) {
            let mut wire = BytesMut::new();
            for payload in &payloads {
                encode(Class::Work, Kind::Data, payload, &mut wire).unwrap();
            }
            let mut decoder = Decoder::new(Class::Work);
            let mut decoded = Vec::new();
            let mut cuts = cuts.iter().cycle();
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                decoder.extend(piece);
                rest = later;
                while let Some(frame) = decoder.next().unwrap() {
                    decoded.push(frame.payload.to_vec());
                }
            }
            prop_assert_eq!(decoded, payloads);
            prop_assert_eq!(decoder.buffered(), 0);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_hoard(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::new(Class::Join);
            decoder.extend(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
            prop_assert!(decoder.buffered() <= bytes.len());
            prop_assert!(decoder.missing().is_none_or(|missing| missing <= Class::Join.frame_bytes_max()));
        }
    }
}
