//! Cuts an input into chunks of whole lines, numbered from 1.
//!
//! Law: joined, the chunks are the input, but for lines too long to be taken: of those only so
//! much is kept that whoever reads them sees that they are too long.

use std::io::{self, BufRead, BufReader, Read};
use std::mem::take;

use super::ReadError;
use super::ordered::Piece;
use crate::limits::EVENT_BYTES_MAX;

/// About how large a chunk is.
const CHUNK_BYTES: usize = 1 << 20;

/// Some whole lines of an input.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The number of its first line.
    pub first_line: u64,
    bytes: Vec<u8>,
}

impl Chunk {
    /// Its lines with their numbers, blank ones left out.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let bytes = match self.first_line {
            1 => self.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.bytes),
            _ => &self.bytes,
        };
        (self.first_line..).zip(split_lines(bytes)).filter(|(_, line)| !line.trim_ascii().is_empty())
    }
}

/// The pieces between line ends.
fn split_lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

/// The chunks of an input.
pub(super) struct Chunks<R> {
    input: BufReader<R>,
    /// The start of a line whose end is still to come.
    carried: Vec<u8>,
    next_line: u64,
}

impl<R: Read> Chunks<R> {
    /// Cuts `input`, none of which has been read.
    pub fn new(input: R) -> Chunks<R> {
        Chunks { input: BufReader::with_capacity(1 << 16, input), carried: Vec::new(), next_line: 1 }
    }

    /// Steps over lines, up to and with this one.
    pub fn skip_to(&mut self, line: u64) -> io::Result<()> {
        while self.next_line <= line && self.input.skip_until(b'\n')? > 0 {
            self.next_line += 1;
        }
        Ok(())
    }

    /// The chunks as pieces of a file.
    pub fn of_file(self, file: String) -> ChunksOf<R> {
        ChunksOf { chunks: self, file }
    }

    /// Takes the next line out of the input, without its end.
    pub fn take_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.input).take(EVENT_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        match line.pop_if(|last| *last == b'\n') {
            Some(_) => {}
            None if line.len() > EVENT_BYTES_MAX => drop(self.input.skip_until(b'\n')?),
            None => {}
        }
        self.next_line += 1;
        Ok(line)
    }

    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut bytes = take(&mut self.carried);
        bytes.reserve_exact(CHUNK_BYTES - bytes.len());
        let wanted = CHUNK_BYTES - bytes.len();
        let is_last = (&mut self.input).take(wanted as u64).read_to_end(&mut bytes)? < wanted;
        if bytes.is_empty() {
            return Ok(None);
        }
        match memchr::memrchr(b'\n', &bytes) {
            _ if is_last => {}
            Some(end) => {
                self.carried.extend_from_slice(&bytes[end + 1..]);
                bytes.truncate(end + 1);
            }
            None => {
                bytes.truncate(EVENT_BYTES_MAX + 1);
                bytes.push(b'\n');
                self.input.skip_until(b'\n')?;
            }
        }
        let first_line = self.next_line;
        self.next_line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Ok(Some(Chunk { first_line, bytes }))
    }
}

/// The chunks of a file.
pub(super) struct ChunksOf<R> {
    chunks: Chunks<R>,
    file: String,
}

impl<R: Read> Iterator for ChunksOf<R> {
    type Item = Result<Piece<Chunk>, ReadError>;

    fn next(&mut self) -> Option<Result<Piece<Chunk>, ReadError>> {
        let chunk = self.chunks.next_chunk();
        let last = self.chunks.next_line - 1;
        match chunk {
            Ok(chunk) => Some(Ok(Piece { content: chunk?, last })),
            Err(error) => Some(Err(ReadError::Io { file: self.file.clone(), read_to: format!("line {last}"), error })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let chunks = Chunks::new(input).of_file("memory".to_owned());
        let chunks = chunks.map(|chunk| chunk.expect("memory can be read").content);
        chunks
            .flat_map(|chunk| chunk.lines().map(|(number, line)| (number, line.to_vec())).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn lines_keep_their_numbers_across_chunks() {
        let line = |number: u64| format!("{number} {}", "x".repeat(number as usize % 700)).into_bytes();
        let numbers = 1..=20_000;
        let input: Vec<u8> = numbers.clone().flat_map(|number| [line(number), b"\n".to_vec()].concat()).collect();
        assert!(input.len() > 3 * CHUNK_BYTES);
        assert!(lines(&input).into_iter().eq(numbers.map(|number| (number, line(number)))));
    }

    #[test]
    fn a_line_without_end_is_held_only_in_part() {
        let long = vec![b'x'; 3 * CHUNK_BYTES + 5];
        let read = lines(&[b"first\n", &*long, b"\nlast"].concat());
        let lengths: Vec<_> = read.iter().map(|(number, line)| (*number, line.len())).collect();
        assert_eq!(lengths, [(1, 5), (2, EVENT_BYTES_MAX + 1), (3, 4)]);
    }

    #[test]
    fn lines_before_are_stepped_over_and_counted() {
        let input: &[u8] = b"a\nb\n\nd";
        let from = |line| {
            let mut chunks = Chunks::new(input);
            chunks.skip_to(line).expect("memory can be read");
            let pieces = chunks.of_file("memory".to_owned()).map(|piece| piece.expect("memory can be read"));
            pieces
                .flat_map(|piece| {
                    piece.content.lines().map(|(number, line)| (number, line.to_vec())).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(from(1), [(2, b"b".to_vec()), (4, b"d".to_vec())]);
        assert_eq!(from(3), [(4, b"d".to_vec())]);
        assert_eq!(from(4), []);
        assert_eq!(from(99), []);
    }

    #[test]
    fn blank_lines_count_but_are_not_read() {
        let read = lines(b"\xEF\xBB\xBFa\r\n\n  \nb");
        assert_eq!(read, [(1, b"a\r".to_vec()), (4, b"b".to_vec())]);
        assert_eq!(lines(b""), []);
    }
}
