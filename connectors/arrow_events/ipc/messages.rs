//! Cuts bytes into messages: an Arrow stream, or an Arrow file, which is a stream between its name
//! and a list of where what is.
//!
//! The list is not needed to read from the front to the end, and what is not looked at cannot
//! mislead. But it shows that a file is whole.

use std::io::{self, Read};

use arrow_buffer::Buffer;
use arrow_ipc::root_as_message;
use thiserror::Error;

use super::{HEADER_BYTES_MAX, IpcError, one_line};

const FILE_NAME: &[u8; 6] = b"ARROW1";
/// Stands before the length of a message, so that it begins at a multiple of eight bytes.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Why there is no next message.
#[derive(Debug, Error)]
pub(crate) enum CutError {
    /// The system would not give the bytes.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not what Arrow writes.
    #[error(transparent)]
    Ipc(#[from] IpcError),
}

/// The messages of an input.
pub(crate) struct Messages<R> {
    input: R,
    bytes_max: usize,
    /// Whether it is a file; not known before its first bytes are read.
    is_file: Option<bool>,
    has_begun: bool,
    is_over: bool,
}

impl<R: Read> Messages<R> {
    /// The messages of `input`, whose bodies may have so many bytes.
    pub fn new(input: R, bytes_max: usize) -> Messages<R> {
        Messages { input, bytes_max, is_file: None, has_begun: false, is_over: false }
    }

    /// The next header with its body; none at the end.
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, Buffer)>, CutError> {
        if self.is_over {
            return Ok(None);
        }
        let Some(header_bytes) = self.next_length()? else {
            self.is_over = true;
            return if self.has_begun { Ok(None) } else { Err(nothing().into()) };
        };
        self.has_begun = true;
        if header_bytes > HEADER_BYTES_MAX {
            let what = format!("a message's header claims to have {header_bytes} bytes");
            return Err(IpcError::damaged(what).into());
        }
        let header = self.take(header_bytes)?;
        let message = root_as_message(&header).map_err(|error| IpcError::damaged(one_line(&error.to_string())))?;
        let body_bytes = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        if body_bytes > self.bytes_max {
            let (claimed, bytes_max) = (message.bodyLength(), self.bytes_max);
            let what = format!(
                "a batch claims to have {claimed} bytes and may have {bytes_max}: write it again with fewer rows to a \
                 batch"
            );
            return Err(IpcError::TooLarge(what).into());
        }
        let body = self.take(body_bytes)?;
        Ok(Some((header, Buffer::from_vec(body))))
    }

    /// The length of the next header; none at the end.
    fn next_length(&mut self) -> Result<Option<usize>, CutError> {
        let mut word = self.first_word()?;
        if word == Some(CONTINUATION) {
            word = self.word()?;
            if word.is_none() {
                return Err(broken_off().into());
            }
        }
        match word.map(u32::from_le_bytes) {
            None if self.is_file == Some(true) => Err(broken_off().into()),
            None => Ok(None),
            Some(0) if self.is_file == Some(true) => self.end_of_file().map(|()| None),
            Some(0) => Ok(None),
            Some(bytes) => Ok(Some(bytes as usize)),
        }
    }

    /// The word where a message begins, and finds out at the first whether this is a file.
    fn first_word(&mut self) -> Result<Option<[u8; 4]>, CutError> {
        let word = self.word()?;
        if self.is_file.is_some() {
            return Ok(word);
        }
        self.is_file = Some(word.is_some_and(|word| word == FILE_NAME[..4]));
        match word {
            None => Err(nothing().into()),
            Some(word) if word == FILE_NAME[..4] => match self.word()? {
                Some([b'W', b'1', ..]) => self.behind_name(),
                _ => Err(IpcError::damaged("it begins like an Arrow file and is none").into()),
            },
            Some([b'F', b'E', b'A', b'1']) => {
                Err(IpcError::damaged("it is in the first version of Feather, write the second").into())
            }
            Some(word) => Ok(Some(word)),
        }
    }

    /// The first word behind the name of a file. Some writers fill up eight bytes, some sixty-four.
    fn behind_name(&mut self) -> Result<Option<[u8; 4]>, CutError> {
        const FILLED_WORDS_MAX: usize = 14;
        for _ in 0..FILLED_WORDS_MAX {
            let word = self.word()?;
            if word != Some([0; 4]) {
                return Ok(word);
            }
        }
        self.word()
    }

    /// Four bytes; none if there are no more.
    fn word(&mut self) -> Result<Option<[u8; 4]>, CutError> {
        let mut word = Vec::with_capacity(4);
        (&mut self.input).take(4).read_to_end(&mut word)?;
        match <[u8; 4]>::try_from(word) {
            Ok(word) => Ok(Some(word)),
            Err(rest) if rest.is_empty() => Ok(None),
            Err(_) => Err(broken_off().into()),
        }
    }

    /// So many bytes. Memory grows with what comes, not with what was claimed.
    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, CutError> {
        const AT_ONCE: usize = 1 << 20;
        let mut taken = Vec::with_capacity(bytes.min(AT_ONCE));
        (&mut self.input).take(bytes as u64).read_to_end(&mut taken)?;
        if taken.len() < bytes { Err(broken_off().into()) } else { Ok(taken) }
    }

    /// Reads on to the end of a file, which has its name there again.
    fn end_of_file(&mut self) -> Result<(), CutError> {
        let mut last = Vec::new();
        let mut piece = [0; 8 << 10];
        loop {
            let read = self.input.read(&mut piece)?;
            if read == 0 {
                break;
            }
            last.extend_from_slice(&piece[..read]);
            let behind = last.len().saturating_sub(FILE_NAME.len());
            last.drain(..behind);
        }
        if last == FILE_NAME { Ok(()) } else { Err(broken_off().into()) }
    }
}

fn nothing() -> IpcError {
    IpcError::damaged("there is nothing in it")
}

fn broken_off() -> IpcError {
    IpcError::damaged("it breaks off")
}
