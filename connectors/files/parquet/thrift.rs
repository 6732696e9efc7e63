//! The compact form of Thrift, in which Parquet writes what it says of itself, walked through without
//! keeping anything.
//!
//! Law: no list is longer than the bytes that are left for it, and nothing lies deeper than the limit;
//! otherwise it is an error. The library trusts some of these lengths with memory.

use std::io::Read;

/// The deepest that values may lie in one another.
const DEPTH_MAX: usize = 12;
/// The most elements of a list.
const ELEMENTS_MAX: u64 = 1 << 16;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// What is met on the way. A path is the numbers of the fields, from the outermost on; elements of a
/// list have the path of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// A whole number, or a truth value as 0 or 1.
    Number(i64),
    /// A struct begins.
    Struct,
    /// A list of so many elements begins.
    List(u64),
}

/// Walks through the bytes of an input, no more of them than a limit.
pub(super) struct Walk<R, V> {
    input: R,
    left: u64,
    path: Vec<i16>,
    visit: V,
}

/// Why a walk ended early.
pub(super) type Fault = String;

impl<R: Read, V: FnMut(&[i16], Met)> Walk<R, V> {
    /// A walk through at most so many bytes, which tells `visit` what it meets.
    pub fn new(input: R, bytes_max: u64, visit: V) -> Walk<R, V> {
        Walk { input, left: bytes_max, path: Vec::new(), visit }
    }

    /// Walks through one struct; how many bytes are left of the limit.
    pub fn through(mut self) -> Result<u64, Fault> {
        self.fields(0)?;
        Ok(self.left)
    }

    fn fields(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(format!("what it says of itself lies more than {DEPTH_MAX} deep"));
        }
        let mut field = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            field = match head >> 4 {
                0 => i16::try_from(self.signed()?).map_err(|_| odd())?,
                step => field.checked_add(i16::from(step)).ok_or_else(odd)?,
            };
            self.path.push(field);
            match head & 0x0f {
                TRUE => (self.visit)(&self.path, Met::Number(1)),
                FALSE => (self.visit)(&self.path, Met::Number(0)),
                kind => self.value(kind, depth)?,
            }
            self.path.pop();
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<(), Fault> {
        match kind {
            // As an element of a list a truth value has a byte of its own.
            TRUE | FALSE | BYTE => {
                let number = i64::from(self.byte()?);
                (self.visit)(&self.path, Met::Number(number));
            }
            I16 | I32 | I64 => {
                let number = self.signed()?;
                (self.visit)(&self.path, Met::Number(number));
            }
            DOUBLE => self.skip(8)?,
            UUID => self.skip(16)?,
            BINARY => {
                let bytes = self.unsigned()?;
                self.skip(bytes)?;
            }
            LIST | SET => self.list(depth)?,
            MAP => self.map(depth)?,
            STRUCT => {
                (self.visit)(&self.path, Met::Struct);
                self.fields(depth + 1)?;
            }
            _ => return Err(odd()),
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<(), Fault> {
        let head = self.byte()?;
        let elements = match head >> 4 {
            15 => self.unsigned()?,
            few => u64::from(few),
        };
        self.check(elements)?;
        (self.visit)(&self.path, Met::List(elements));
        (0..elements).try_for_each(|_| self.element(head & 0x0f, depth))
    }

    fn map(&mut self, depth: usize) -> Result<(), Fault> {
        let pairs = self.unsigned()?;
        if pairs == 0 {
            return Ok(());
        }
        self.check(pairs)?;
        let kinds = self.byte()?;
        (0..pairs).try_for_each(|_| {
            self.element(kinds >> 4, depth)?;
            self.element(kinds & 0x0f, depth)
        })
    }

    fn element(&mut self, kind: u8, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(format!("what it says of itself lies more than {DEPTH_MAX} deep"));
        }
        self.value(kind, depth + 1)
    }

    /// Each element takes a byte at least.
    fn check(&self, elements: u64) -> Result<(), Fault> {
        match elements <= self.left.min(ELEMENTS_MAX) {
            true => Ok(()),
            false => Err(format!("a list claims to have {elements} elements")),
        }
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let mut byte = [0];
        self.left = self.left.checked_sub(1).ok_or_else(too_long)?;
        self.input.read_exact(&mut byte).map_err(|_| breaks_off())?;
        Ok(byte[0])
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or_else(too_long)?;
        let skipped = std::io::copy(&mut (&mut self.input).take(bytes), &mut std::io::sink());
        if skipped.is_ok_and(|skipped| skipped == bytes) { Ok(()) } else { Err(breaks_off()) }
    }

    /// Seven bits to a byte, the lowest first.
    fn unsigned(&mut self) -> Result<u64, Fault> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(odd())
    }

    /// The sign is the lowest bit.
    fn signed(&mut self) -> Result<i64, Fault> {
        let number = self.unsigned()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

fn odd() -> Fault {
    "what it says of itself is not in the form of Parquet".to_owned()
}

fn too_long() -> Fault {
    "what it says of itself claims more bytes than there are".to_owned()
}

fn breaks_off() -> Fault {
    "it breaks off".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Path = Vec<i16>;

    /// What is met, and how many bytes are left.
    fn walked(bytes: &[u8]) -> Result<(Vec<(Path, Met)>, u64), Fault> {
        let mut met = Vec::new();
        let left =
            Walk::new(bytes, bytes.len() as u64, |path: &[i16], what| met.push((path.to_vec(), what))).through()?;
        Ok((met, left))
    }

    #[test]
    fn what_is_met_is_told_with_its_path() {
        // 1: i32 = -3; 2: [ { 5: i32 = 7 } ]; 3: "ab"; 4: true; stop; and a byte behind
        let bytes = [0x15, 5, 0x19, 0x1c, 0x55, 14, 0, 0x18, 2, b'a', b'b', 0x11, 0, 99];
        let (met, left) = walked(&bytes).unwrap();
        let expected = [
            (vec![1], Met::Number(-3)),
            (vec![2], Met::List(1)),
            (vec![2], Met::Struct),
            (vec![2, 5], Met::Number(7)),
            (vec![4], Met::Number(1)),
        ];
        assert_eq!(met, expected);
        assert_eq!(left, 1);
    }

    #[test]
    fn lists_are_no_longer_than_their_bytes_and_nothing_is_too_deep() {
        assert!(walked(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0]).is_err());
        assert!(walked(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
        assert!(walked(&[0x1c; 40]).is_err());
        assert!(walked(&[0x19; 40]).is_err());
        assert!(walked(&[0x1f, 0]).is_err());
        assert!(walked(&[0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
        assert!(walked(&[]).is_err());
    }
}
