//! Bodies as they come over the wire, decompressed within bounds.

use std::io::Read;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use flate2::read::MultiGzDecoder;

use super::BODY_BYTES_MAX;
use super::answer::Refusal;

/// The most memory that a sender's compressor may ask for to look back: 2^23 bytes, as RFC 8878
/// recommends for what is exchanged between strangers.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Whether a body has another length once it is decompressed.
pub(super) fn is_compressed(headers: &HeaderMap) -> bool {
    !matches!(encoding(headers), "" | "identity")
}

/// The body without compression.
pub(super) fn plain(headers: &HeaderMap, bytes: Bytes) -> Result<Bytes, Refusal> {
    match encoding(headers) {
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

fn encoding(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

/// Reads all there is, but no more than a body may be: a small body may decompress to any size.
fn within_bounds(decoder: impl Read) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    let read = decoder.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut plain);
    read.map_err(|error| Refusal::Compression(error.to_string()))?;
    if plain.len() > BODY_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(plain.into()) }
}

/// Why a body did not come.
pub(super) fn failed(error: &axum::Error) -> Refusal {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return Refusal::TooLarge;
        }
        cause = error.source();
    }
    Refusal::Broken
}
