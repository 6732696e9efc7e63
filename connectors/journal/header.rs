//! The header of an entry: 192 bytes that say what follows, and are sealed where they stand.
//!
//! The seal is a hash of the header and of its position (segment and offset). The header holds
//! the hash of its body and the seal of the entry before, so a seal stands for its entry and for all before it: what is
//! altered, moved, repeated or left out shows, and headers alone show it, without the bodies.

use sha2::{Digest, Sha256};
use trueup_model::fact::Epoch;
use trueup_model::grain::Micros;

/// A SHA-256.
pub type Hash = [u8; 32];

/// How long a header is. A body's length is a multiple of `STEP`, so entries begin at one.
pub(crate) const LENGTH: usize = 192;
pub(crate) const STEP: usize = 64;

/// What the seal before the first entry of all is.
pub(crate) const NOTHING: Hash = [0; 32];

const MAGIC: &[u8; 6] = b"trueup";
/// The version that is written. Version 1 told no ways in, version 2 had no rows that say nothing, and in version 3 no
/// value was missing; all are read as well.
const VERSION: u8 = 4;
/// The oldest version that is read.
const VERSION_MIN: u8 = 1;
const SEALED: usize = 160;

/// Which file of the journal: its first epoch, and the generation of the process that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub first: Epoch,
    pub generation: u64,
}

impl SegmentId {
    /// The name of its file.
    pub fn name(self) -> String {
        format!("{:020}-{:06}.journal", self.first, self.generation)
    }

    /// The segment whose file has this name.
    pub fn of(name: &str) -> Option<SegmentId> {
        let (first, generation) = name.strip_suffix(".journal")?.split_once('-')?;
        let id = SegmentId { first: first.parse().ok()?, generation: generation.parse().ok()? };
        (id.first > 0 && id.name() == name).then_some(id)
    }
}

/// What stands at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry.
    Entry,
    /// The end of the segment: another one that begins with this epoch is there.
    End,
}

/// A header, without its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub epoch: Epoch,
    pub clock: Micros,
    /// The last entry that was durable when this one was written.
    pub durable: Epoch,
    /// How long the body is, and how much of it is Arrow.
    pub body: u64,
    pub arrow: u64,
    pub rows: u64,
    pub facts: u32,
    pub names: u32,
    /// The seal of the entry before.
    pub before: Hash,
    /// The hash of the body.
    pub digest: Hash,
}

/// What the bytes at a place turned out to be.
pub(crate) enum Found {
    /// A header, with its seal.
    Sealed(Header, Hash),
    /// A header that is sealed for this place, but of another version of the format.
    OtherVersion(u8),
    /// Anything else.
    Nothing,
}

impl Header {
    /// Its bytes at a place, and its seal there.
    pub fn sealed(&self, segment: SegmentId, offset: u64) -> ([u8; LENGTH], Hash) {
        let mut bytes = [0; LENGTH];
        bytes[..6].copy_from_slice(MAGIC);
        bytes[6] = match self.kind {
            Kind::Entry => b'E',
            Kind::End => b'X',
        };
        bytes[7] = VERSION;
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.clock.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.body.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.arrow.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.rows.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.facts.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.names.to_le_bytes());
        bytes[96..128].copy_from_slice(&self.before);
        bytes[128..160].copy_from_slice(&self.digest);
        let seal = seal(&bytes, segment, offset);
        bytes[SEALED..].copy_from_slice(&seal);
        (bytes, seal)
    }

    /// What these bytes are at this place.
    pub fn read(bytes: &[u8; LENGTH], segment: SegmentId, offset: u64) -> Found {
        if &bytes[..6] != MAGIC {
            return Found::Nothing;
        }
        let seal = seal(bytes, segment, offset);
        if bytes[SEALED..] != seal {
            return Found::Nothing;
        }
        let kind = match (bytes[6], bytes[7]) {
            (b'E', VERSION_MIN..=VERSION) => Kind::Entry,
            (b'X', VERSION_MIN..=VERSION) => Kind::End,
            (_, version) => return Found::OtherVersion(version),
        };
        let header = Header {
            kind,
            epoch: u64::from_le_bytes(field(bytes, 8)),
            clock: i64::from_le_bytes(field(bytes, 16)),
            durable: u64::from_le_bytes(field(bytes, 24)),
            body: u64::from_le_bytes(field(bytes, 32)),
            arrow: u64::from_le_bytes(field(bytes, 40)),
            rows: u64::from_le_bytes(field(bytes, 48)),
            facts: u32::from_le_bytes(field(bytes, 56)),
            names: u32::from_le_bytes(field(bytes, 60)),
            before: field(bytes, 96),
            digest: field(bytes, 128),
        };
        Found::Sealed(header, seal)
    }

    /// How many bytes of a segment it and its body take; more than any has if it says so.
    pub fn span(&self) -> u64 {
        (LENGTH as u64).saturating_add(self.body)
    }
}

/// The hash of a body.
pub(crate) fn digest(body: &[u8]) -> Hash {
    Sha256::digest(body).into()
}

fn seal(bytes: &[u8; LENGTH], segment: SegmentId, offset: u64) -> Hash {
    let mut hasher = Sha256::new();
    for number in [segment.first, segment.generation, offset] {
        hasher.update(number.to_le_bytes());
    }
    hasher.update(&bytes[..SEALED]);
    hasher.finalize().into()
}

fn field<const N: usize>(bytes: &[u8; LENGTH], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        kind: Kind::Entry,
        epoch: 7,
        clock: -3,
        durable: 5,
        body: 128,
        arrow: 64,
        rows: 2,
        facts: 1,
        names: 3,
        before: [4; 32],
        digest: [9; 32],
    };
    const SEGMENT: SegmentId = SegmentId { first: 6, generation: 2 };

    #[test]
    fn a_header_is_read_where_it_was_written_and_nowhere_else() {
        let (bytes, seal) = HEADER.sealed(SEGMENT, 640);
        assert!(
            matches!(Header::read(&bytes, SEGMENT, 640), Found::Sealed(header, its) if header == HEADER && its == seal)
        );
        let elsewhere =
            [(SegmentId { first: 7, ..SEGMENT }, 640), (SegmentId { generation: 3, ..SEGMENT }, 640), (SEGMENT, 704)];
        for (segment, offset) in elsewhere {
            assert!(matches!(Header::read(&bytes, segment, offset), Found::Nothing));
        }
    }

    #[test]
    fn a_body_of_any_length_has_an_end() {
        assert_eq!(HEADER.span(), 192 + 128);
        assert_eq!(Header { body: u64::MAX, ..HEADER }.span(), u64::MAX);
    }

    #[test]
    fn the_names_of_segments_sort_as_their_epochs_and_nothing_else_is_one() {
        let name = SEGMENT.name();
        assert_eq!(name, "00000000000000000006-000002.journal");
        assert_eq!(SegmentId::of(&name), Some(SEGMENT));
        for other in [
            "generation",
            "6-2.journal",
            "00000000000000000006-000002.journal.new",
            "+0000000000000000006-000002.journal",
        ] {
            assert_eq!(SegmentId::of(other), None, "{other}");
        }
    }
}
