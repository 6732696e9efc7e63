//! Buffers that were compressed, each with the length that it claims to have without.
//!
//! Law: no more comes out than is claimed, and what is claimed is taken from a budget first.

use std::io::Read;

use arrow_buffer::Buffer;
use arrow_ipc::CompressionType;
use lz4_flex::frame::FrameDecoder;

use super::IpcError;

/// Stands in front of a compressed buffer.
const PREFIX_BYTES: usize = 8;
/// The length of a buffer that was left as it is.
const LEFT_AS_IT_IS: i64 = -1;

/// The bytes of a compressed buffer, taken from `budget`.
pub(super) fn inflate(buffer: &Buffer, codec: CompressionType, budget: &mut usize) -> Result<Buffer, IpcError> {
    if buffer.is_empty() {
        return Ok(buffer.clone());
    }
    let Some((prefix, packed)) = buffer.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(IpcError::damaged("a compressed buffer is shorter than the length in front of it"));
    };
    let claimed = i64::from_le_bytes(*prefix);
    if claimed == LEFT_AS_IT_IS {
        return Ok(buffer.slice(PREFIX_BYTES));
    }
    let bytes = usize::try_from(claimed)
        .map_err(|_| IpcError::damaged(format!("a compressed buffer claims to have {claimed} bytes")))?;
    *budget = budget.checked_sub(bytes).ok_or_else(|| {
        IpcError::TooLarge(format!(
            "a compressed buffer claims to have {bytes} bytes, {budget} of the batch's are left: send fewer rows at a \
             time"
        ))
    })?;
    let unpacked = match codec {
        CompressionType::LZ4_FRAME => lz4(packed, bytes),
        CompressionType::ZSTD => zstd::bulk::Decompressor::new().and_then(|mut zstd| zstd.decompress(packed, bytes)),
        _ => return Err(IpcError::damaged("its buffers are compressed neither by LZ4 nor by zstd")),
    };
    match unpacked {
        Ok(unpacked) if unpacked.len() == bytes => Ok(Buffer::from_vec(unpacked)),
        Ok(unpacked) => Err(IpcError::damaged(format!(
            "a compressed buffer claims to have {bytes} bytes and has {}",
            if unpacked.len() > bytes { "more".to_owned() } else { unpacked.len().to_string() }
        ))),
        Err(error) => {
            Err(IpcError::damaged(format!("a compressed buffer of {bytes} bytes cannot be decompressed ({error})")))
        }
    }
}

/// What was packed, but no more than a byte beyond what was claimed.
fn lz4(packed: &[u8], bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(bytes);
    FrameDecoder::new(packed).take(bytes as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}
