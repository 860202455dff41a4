//! The one place that turns log entries, table rows, frames and chunks into bytes and back.
//!
//! Every encoded value begins with a version byte and a kind byte, so that a reader knows what it holds before it
//! decodes a single field, and every decode has a size limit. The format behind them is bincode 2.0.1, whose
//! development has ended (RUSTSEC-2025-0141); [`Format`] is the seam through which postcard would replace it, and the
//! tests run both. Nothing else in the workspace may depend on bincode (`deny.toml` and `tests/tests/tidy.rs` hold it).

#[cfg(test)]
mod golden_test;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version byte of everything written by this release.
pub const VERSION: u8 = 1;

/// The largest value that [`decode`] reads: a snapshot row or a result chunk with room to spare, in bytes.
pub const DECODE_BYTES_MAX: usize = 64 << 20;

/// What the bytes hold. Append only: a number is never given to another meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A log entry.
    Entry = 1,
    /// A vote.
    Vote = 2,
    /// A log id.
    LogId = 3,
    /// A row of a state table.
    Row = 4,
    /// The header of a snapshot.
    SnapshotHeader = 5,
    /// A frame between two Raft peers.
    RaftFrame = 6,
    /// A frame of the work session between a worker and the leader.
    WorkFrame = 7,
    /// A call between two nodes (proposal, chunk, join).
    CallFrame = 8,
    /// The results of one unit.
    Chunk = 9,
    /// A scan spec.
    Spec = 10,
    /// A node's own identity file.
    Identity = 11,
    /// A set of membership rows.
    Membership = 12,
    /// An interrupted scan that can be taken up again.
    Resume = 13,
    /// A host in the results of a unit.
    Host = 14,
}

/// Why bytes could not be turned into a value; the value is dropped and nothing else changes.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Fewer than the two leading bytes.
    #[error("{length} bytes are too few for a versioned value")]
    TooShort {
        /// How many there were.
        length: usize,
    },
    /// Written by a release that this one does not know.
    #[error("version {found} is unknown here (this release reads {VERSION})")]
    UnknownVersion {
        /// The version byte.
        found: u8,
    },
    /// Some other kind of value.
    #[error("expected a {expected:?} but found kind {found}")]
    WrongKind {
        /// What the caller asked for.
        expected: Kind,
        /// The kind byte.
        found: u8,
    },
    /// The fields do not decode.
    #[error("a {kind:?} does not decode: {reason}")]
    Malformed {
        /// What the caller asked for.
        kind: Kind,
        /// The format's own words.
        reason: String,
    },
}

/// A positional binary format: the seam for replacing bincode.
pub trait Format {
    /// Appends the encoding of `value` to `out`.
    ///
    /// # Errors
    /// The format's own words where `value` cannot be written.
    fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), String>;

    /// Reads one value that takes all of `bytes`.
    ///
    /// # Errors
    /// The format's own words where `bytes` are cut short, too long, or no such value.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String>;
}

/// bincode 2.0.1, little-endian, variable-length integers.
#[derive(Debug)]
pub struct Bincode;

impl Format for Bincode {
    fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
        bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
        let (value, read) = Self::decode_first(bytes)?;
        if read == bytes.len() { Ok(value) } else { Err(format!("{} bytes follow the value", bytes.len() - read)) }
    }
}

impl Bincode {
    /// Reads a value, and how many bytes it takes.
    fn decode_first<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), String> {
        let config = bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();
        bincode::serde::decode_from_slice(bytes, config).map_err(|error| error.to_string())
    }
}

/// Encodes `value` behind the version byte and `kind`.
///
/// # Panics
/// Where a type cannot be written by a positional format at all, which is a bug in that type.
#[must_use]
pub fn encode<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    let mut out = vec![VERSION, kind as u8];
    Bincode::encode(value, &mut out).expect("a plain data type has an encoding");
    out
}

/// How many bytes `value` takes behind the version byte and the kind.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn encoded_len<T: Serialize>(value: &T) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    bincode::serde::encode_into_std_write(value, &mut count, bincode::config::standard())
        .expect("a plain data type has an encoding");
    count.0
}

/// Decodes a value of `kind` from `bytes`.
///
/// # Errors
/// [`CodecError`] where the version or the kind is another, or the fields do not decode.
pub fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, CodecError> {
    Bincode::decode(fields_of(kind, bytes)?).map_err(|reason| CodecError::Malformed { kind, reason })
}

/// Decodes like [`decode`] what keeps its length and is read by releases before its own: fields that came to its end later are passed
/// over.
///
/// # Errors
/// As [`decode`].
pub fn decode_known<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, CodecError> {
    let (value, _read) =
        Bincode::decode_first(fields_of(kind, bytes)?).map_err(|reason| CodecError::Malformed { kind, reason })?;
    Ok(value)
}

fn fields_of(kind: Kind, bytes: &[u8]) -> Result<&[u8], CodecError> {
    let [version, found, fields @ ..] = bytes else {
        return Err(CodecError::TooShort { length: bytes.len() });
    };
    if *version != VERSION {
        return Err(CodecError::UnknownVersion { found: *version });
    }
    if *found != kind as u8 {
        return Err(CodecError::WrongKind { expected: kind, found: *found });
    }
    Ok(fields)
}

/// Decodes like [`decode`], for storage code whose errors are `io::Error`.
///
/// # Errors
/// `InvalidData` with the codec's words.
pub fn decode_stored<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> std::io::Result<T> {
    decode(kind, bytes).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::draw_test::one_of_each;
    use crate::command::{Command, Proposal};
    use proptest::prelude::*;

    struct Postcard;

    impl Format for Postcard {
        fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
            out.extend(postcard::to_stdvec(value).map_err(|error| error.to_string())?);
            Ok(())
        }

        fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
            postcard::from_bytes(bytes).map_err(|error| error.to_string())
        }
    }

    fn round_trip<F: Format>(command: &Command) -> Command {
        let mut bytes = Vec::new();
        F::encode(command, &mut bytes).unwrap();
        F::decode(&bytes).unwrap()
    }

    proptest! {
        #[test]
        fn every_command_reads_back_in_both_formats(commands in one_of_each()) {
            for command in commands {
                prop_assert_eq!(&round_trip::<Bincode>(&command), &command);
                prop_assert_eq!(encoded_len(&command) + 2, encode(Kind::Entry, &command).len());
                prop_assert_eq!(&round_trip::<Postcard>(&command), &command);
            }
        }

        #[test]
        fn no_bytes_make_decode_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode::<Proposal>(Kind::Entry, &bytes);
            let mut framed = vec![VERSION, Kind::Entry as u8];
            framed.extend(&bytes);
            let _ = decode::<Proposal>(Kind::Entry, &framed);
        }
    }

    #[test]
    fn a_cancel_has_these_bytes_in_every_release() {
        let proposal = Proposal {
            at_ms: 1_700_000_000_123,
            command: Command::Cancel { job: crate::JobId(7), reason: "asked".into() },
        };
        let golden = [1, 1, 253, 123, 104, 229, 207, 139, 1, 0, 0, 11, 7, 5, b'a', b's', b'k', b'e', b'd'];
        assert_eq!(encode(Kind::Entry, &proposal), golden);
        assert_eq!(decode::<Proposal>(Kind::Entry, &golden).unwrap(), proposal);
    }

    #[test]
    fn another_version_or_kind_is_named() {
        let mut bytes = encode(Kind::Vote, &5u64);
        assert!(matches!(decode::<u64>(Kind::LogId, &bytes), Err(CodecError::WrongKind { found: 2, .. })));
        bytes[0] = 9;
        assert!(matches!(decode::<u64>(Kind::Vote, &bytes), Err(CodecError::UnknownVersion { found: 9 })));
        assert!(matches!(decode::<u64>(Kind::Vote, &[1]), Err(CodecError::TooShort { length: 1 })));
    }

    #[test]
    fn a_length_that_claims_more_than_there_is_allocates_nothing_and_fails() {
        let mut bytes = vec![VERSION, Kind::Row as u8, 253];
        bytes.extend(u64::MAX.to_le_bytes());
        assert!(decode::<Vec<u8>>(Kind::Row, &bytes).is_err());
    }
}
