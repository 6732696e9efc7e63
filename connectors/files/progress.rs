//! How far a file was read, and how it was then, as the position that the journal keeps.

use std::fmt;
use std::fs::Metadata;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// How a file is: if it is otherwise, it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    bytes: u64,
    /// Stands for the times at which it was written and came there, which are only ever compared.
    written: u64,
}

impl Mark {
    /// How a file is now.
    pub fn of(metadata: &Metadata) -> Mark {
        Mark { bytes: metadata.len(), written: digest(&format!("{:?} {}", metadata.modified().ok(), came(metadata))) }
    }
}

/// When a file came where it is, or was changed there. The time of writing alone is kept by whoever copies a file
/// with its times.
#[cfg(unix)]
fn came(metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{}.{}", metadata.ctime(), metadata.ctime_nsec())
}

/// Elsewhere the system does not tell.
#[cfg(not(unix))]
fn came(_: &Metadata) -> String {
    String::new()
}

/// How far a file was read.
///
/// As text it is `read to 4711, 90210 bytes, written a3f0c2d4e5968778, layouts 3, mapping 0`; in
/// place of the number of the last record it says `end` where nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How the file was.
    pub mark: Mark,
    /// By the layouts of which generation.
    pub generation: u64,
    /// By which mapping, if it is CSV.
    pub mapped_by: Option<u64>,
    /// The last record; none when nothing is left.
    pub read_to: Option<u64>,
}

impl Progress {
    /// Whether both are of the same file, read in the same way.
    pub fn is_of(&self, other: &Progress) -> bool {
        Progress { read_to: other.read_to, ..*self } == *other
    }

    /// How far a file was read before by what is written of it; as far as this, if that is of another file, or was
    /// read in another way.
    pub fn or_as_written(self, written: Option<String>) -> Progress {
        let before = written.and_then(|text| text.parse().ok());
        before.filter(|before| self.is_of(before)).unwrap_or(self)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { mark: Mark { bytes, written }, generation, mapped_by, read_to } = self;
        match read_to {
            Some(record) => write!(formatter, "read to {record}")?,
            None => formatter.write_str("read to end")?,
        }
        let mapping = mapped_by.unwrap_or_default();
        write!(formatter, ", {bytes} bytes, written {written:x}, layouts {generation}, mapping {mapping:x}")
    }
}

impl FromStr for Progress {
    type Err = ();

    fn from_str(text: &str) -> Result<Progress, ()> {
        let mut parts = text.split(", ");
        let mut part = |before: &str, after: &str| {
            parts.next().and_then(|part| part.strip_prefix(before)?.strip_suffix(after)).ok_or(())
        };
        let read_to = match part("read to ", "")? {
            "end" => None,
            record => Some(record.parse().map_err(drop)?),
        };
        let bytes = part("", " bytes")?.parse().map_err(drop)?;
        let written = u64::from_str_radix(part("written ", "")?, 16).map_err(drop)?;
        let generation = part("layouts ", "")?.parse().map_err(drop)?;
        let mapping = u64::from_str_radix(part("mapping ", "")?, 16).map_err(drop)?;
        Ok(Progress { mark: Mark { bytes, written }, generation, mapped_by: (mapping > 0).then_some(mapping), read_to })
    }
}

/// A number that another text does not have, and that is not 0.
pub fn digest(text: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(text).into();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (mapped_by, read_to) in [(None, None), (Some(digest("id")), Some(0)), (None, Some(u64::MAX))] {
            let mark = Mark { bytes: 90_210, written: digest("yesterday") };
            let progress = Progress { mark, generation: 3, mapped_by, read_to };
            assert_eq!(progress.to_string().parse(), Ok(progress), "{progress}");
            assert!(progress.is_of(&Progress { read_to: Some(7), ..progress }));
            assert!(!progress.is_of(&Progress { generation: 4, ..progress }));
            let begun = Progress { read_to: Some(0), ..progress };
            assert_eq!(begun.or_as_written(Some(progress.to_string())), progress);
            let other = Progress { generation: 4, ..progress };
            for written in [None, Some(String::new()), Some(other.to_string())] {
                assert_eq!(begun.or_as_written(written), begun);
            }
        }
        assert_eq!("90210 bytes, written None, layouts 3".parse::<Progress>(), Err(()));
        assert_eq!("".parse::<Progress>(), Err(()));
    }
}
