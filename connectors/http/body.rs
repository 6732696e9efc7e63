//! Bodies as they come over the wire, decompressed within bounds.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{timeout, timeout_at};

use super::BODY_BYTES_MAX;
use super::answer::Refusal;
use super::pace::{Least, Pace};

/// The most memory that a sender's compressor may ask for to look back: 2^23 bytes, as RFC 8878
/// recommends for what is exchanged between strangers.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Whether a body has another length once it is decompressed.
pub(super) fn is_compressed(headers: &HeaderMap) -> bool {
    !matches!(encoding(headers).as_str(), "" | "identity")
}

/// The body without compression.
pub(super) fn plain(headers: &HeaderMap, bytes: Bytes) -> Result<Bytes, Refusal> {
    match encoding(headers).as_str() {
        "" | "identity" => Ok(bytes),
        "gzip" => within_bounds(MultiGzDecoder::new(&bytes[..])),
        "zstd" => {
            let unusable = |error: std::io::Error| Refusal::Compression(error.to_string());
            let mut decoder = zstd::stream::read::Decoder::new(&bytes[..]).map_err(unusable)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(unusable)?;
            within_bounds(decoder)
        }
        other => Err(Refusal::Encoding(other.to_owned())),
    }
}

/// The name of the compression; of several, all names.
fn encoding(headers: &HeaderMap) -> String {
    let names = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?").trim());
    names.collect::<Vec<_>>().join(", ").to_ascii_lowercase()
}

/// Reads all there is, but no more than a body may be: a small body may decompress to any size.
fn within_bounds(decoder: impl Read) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    let read = decoder.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut plain);
    read.map_err(|error| Refusal::Compression(error.to_string()))?;
    if plain.len() > BODY_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(plain.into()) }
}

/// Room is counted in pieces of so many bytes.
const PIECE_BYTES: usize = 1 << 10;
/// How long a body waits for more room before it is sent away.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);

/// The memory that all bodies under way may take.
pub(super) struct Room {
    pieces: Semaphore,
}

impl Room {
    /// Room for so many bytes, and for one body at least.
    pub fn new(bytes_max: usize) -> Room {
        Room { pieces: Semaphore::new(bytes_max.max(2 * BODY_BYTES_MAX) / PIECE_BYTES) }
    }

    /// A place in it that holds nothing yet.
    pub fn hold(&self) -> Held<'_> {
        Held { room: self, permit: None, pieces: 0 }
    }
}

/// The room that a body has. It grows with what has come, so that a slow sender holds no more than
/// what it has sent.
pub(super) struct Held<'r> {
    room: &'r Room,
    permit: Option<SemaphorePermit<'r>>,
    pieces: usize,
}

impl Held<'_> {
    /// Makes room for so many bytes in all.
    pub async fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.div_ceil(PIECE_BYTES).saturating_sub(self.pieces);
        if more == 0 {
            return Ok(());
        }
        let wanted = u32::try_from(more).expect("a body has fewer pieces");
        let permit = timeout(ROOM_PATIENCE, self.room.pieces.acquire_many(wanted)).await;
        let permit = permit.map_err(|_| Refusal::Busy)?.expect("the room is never closed");
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.pieces += more;
        Ok(())
    }
}

/// The bytes of a body, as they come and as there is room, if they come fast enough.
pub(super) async fn receive(mut body: Body, held: &mut Held<'_>, least: Least) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refusal::TooLarge);
    }
    let (mut bytes, mut pace) = (Vec::new(), Pace::of(least));
    while let Some(frame) = timeout_at(pace.until(), body.frame()).await.map_err(|_| Refusal::Slow)? {
        let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        held.grow_to(bytes.len() + data.len()).await?;
        bytes.extend_from_slice(&data);
        pace.went(data.len());
    }
    Ok(bytes.into())
}
