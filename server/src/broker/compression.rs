//! Takes the compression off the records of a batch, for whoever must look at single records, and puts it on those that
//! compaction left of one.
//!
//! In: one sound batch. Out: its records section as plain bytes, shared with the batch where it was never
//! compressed; or plain bytes compressed. Never: changes a batch, or lets a few bytes from outside grow beyond a limit.
//!
//! | codec | form |
//! |---|---|
//! | 0 | none |
//! | 1 | gzip (RFC 1952), possibly several members |
//! | 2 | raw Snappy, or blocks of it in the framing of snappy-java ("xerial") |
//! | 3 | one LZ4 frame |
//! | 4 | Zstandard frames (RFC 8878), possibly several |

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;
use ringmain_engine::format::batch::{self, BatchError, CODEC_MASK, HEADER_BYTES};
use ringmain_engine::limits::RECORDS_BYTES_MAX;

/// Largest window a Zstandard frame may ask for: what the highest level of the reference encoder uses, and
/// what its decoder accepts unless told otherwise.
const ZSTD_WINDOW_BYTES_MAX: u64 = 128 << 20;

/// Begins a stream of snappy-java; two version numbers of four bytes follow.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// Bytes of plain records in one of its blocks; its own default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

const GZIP: i16 = 1;
const SNAPPY: i16 = 2;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;

/// Why the records of a batch cannot be had.
#[derive(Debug)]
pub enum CompressionError {
    /// The batch itself is not sound.
    Batch(BatchError),
    /// No such codec.
    UnknownCodec(i16),
    /// They would be more than [`RECORDS_BYTES_MAX`].
    TooLarge,
    /// The compressed bytes are not what their codec promises.
    Corrupt { codec: &'static str, reason: String },
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressionError::Batch(error) => error.fmt(f),
            CompressionError::UnknownCodec(codec) => write!(f, "unknown compression codec {codec}"),
            CompressionError::TooLarge => {
                write!(f, "the records are more than {RECORDS_BYTES_MAX} bytes when decompressed")
            }
            CompressionError::Corrupt { codec, reason } => write!(f, "damaged {codec} data: {reason}"),
        }
    }
}

impl std::error::Error for CompressionError {}

/// The records of `batch`, which begins with its header, without compression.
pub fn records_of(batch: &Bytes) -> Result<Bytes, CompressionError> {
    records_within(batch, RECORDS_BYTES_MAX)
}

/// Plain records compressed with a codec, in the form that clients of every language read. `None`: no such codec, or
/// it failed.
pub fn compressed(codec: i16, records: &[u8]) -> Option<Vec<u8>> {
    match codec {
        GZIP => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(records).ok()?;
            encoder.finish().ok()
        }
        SNAPPY => {
            // Framed as by snappy-java: Java's clients read nothing else.
            let mut out = XERIAL_MAGIC.to_vec();
            out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
            for block in records.chunks(XERIAL_BLOCK_BYTES) {
                let block = snap::raw::Encoder::new().compress_vec(block).ok()?;
                out.extend_from_slice(&u32::try_from(block.len()).ok()?.to_be_bytes());
                out.extend_from_slice(&block);
            }
            Some(out)
        }
        LZ4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(records).ok()?;
            encoder.finish().ok()
        }
        ZSTD => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            Some(ruzstd::encoding::compress_to_vec(records, level))
        }
        _ => None,
    }
}

fn records_within(batch: &Bytes, bytes_max: usize) -> Result<Bytes, CompressionError> {
    let header = batch::shape(batch).map_err(CompressionError::Batch)?;
    let records = batch.slice(HEADER_BYTES..header.total_bytes());
    match header.attributes.get() & CODEC_MASK {
        0 => Ok(records),
        GZIP => drain(flate2::read::MultiGzDecoder::new(&records[..]), bytes_max, "gzip"),
        SNAPPY => snappy(&records, bytes_max),
        LZ4 => drain(lz4_flex::frame::FrameDecoder::new(&records[..]), bytes_max, "lz4"),
        ZSTD => zstd(&records, bytes_max),
        codec => Err(CompressionError::UnknownCodec(codec)),
    }
}

/// Reads a decoder to its end, but never more than one byte beyond the limit.
fn drain(decoder: impl Read, bytes_max: usize, codec: &'static str) -> Result<Bytes, CompressionError> {
    let mut out = Vec::new();
    drain_into(&mut out, decoder, bytes_max)
        .map_err(|error| CompressionError::Corrupt { codec, reason: error.to_string() })?;
    within(out, bytes_max)
}

fn drain_into(out: &mut Vec<u8>, decoder: impl Read, bytes_max: usize) -> io::Result<usize> {
    let left = (bytes_max + 1).saturating_sub(out.len());
    decoder.take(left as u64).read_to_end(out)
}

fn within(out: Vec<u8>, bytes_max: usize) -> Result<Bytes, CompressionError> {
    if out.len() > bytes_max {
        return Err(CompressionError::TooLarge);
    }
    Ok(Bytes::from(out))
}

fn zstd(mut input: &[u8], bytes_max: usize) -> Result<Bytes, CompressionError> {
    let corrupt = |reason: String| CompressionError::Corrupt { codec: "zstd", reason };
    let mut out = Vec::new();
    while !input.is_empty() && out.len() <= bytes_max {
        let decoder =
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut input, ZSTD_WINDOW_BYTES_MAX)
                .map_err(|error| corrupt(error.to_string()))?;
        drain_into(&mut out, decoder, bytes_max).map_err(|error| corrupt(error.to_string()))?;
    }
    within(out, bytes_max)
}

fn snappy(input: &[u8], bytes_max: usize) -> Result<Bytes, CompressionError> {
    let mut out = Vec::new();
    if !input.starts_with(XERIAL_MAGIC) {
        snappy_block(&mut out, input, bytes_max)?;
        return Ok(Bytes::from(out));
    }
    let mut rest = input;
    while !rest.is_empty() {
        // Streams that were joined have the header again between their blocks.
        if rest.starts_with(XERIAL_MAGIC) {
            rest =
                rest.get(XERIAL_HEADER_BYTES..).ok_or_else(|| snappy_corrupt("its header is cut short"))?;
            continue;
        }
        let (length, after) =
            rest.split_first_chunk::<4>().ok_or_else(|| snappy_corrupt("a block length is cut short"))?;
        let (block, after) = after
            .split_at_checked(u32::from_be_bytes(*length) as usize)
            .ok_or_else(|| snappy_corrupt("a block is cut short"))?;
        snappy_block(&mut out, block, bytes_max)?;
        rest = after;
    }
    Ok(Bytes::from(out))
}

fn snappy_block(out: &mut Vec<u8>, block: &[u8], bytes_max: usize) -> Result<(), CompressionError> {
    let length = snap::raw::decompress_len(block).map_err(|error| snappy_corrupt(&error.to_string()))?;
    let start = out.len();
    if length > bytes_max - start {
        return Err(CompressionError::TooLarge);
    }
    // The densest element of Snappy makes 64 bytes out of three: a length beyond 32 times the block is a lie.
    if length > block.len().saturating_mul(32) {
        return Err(snappy_corrupt("it promises more than it can hold"));
    }
    out.resize(start + length, 0);
    snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| snappy_corrupt(&error.to_string()))?;
    Ok(())
}

fn snappy_corrupt(reason: &str) -> CompressionError {
    CompressionError::Corrupt { codec: "snappy", reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ringmain_engine::format::record::{self, BatchBuilder};

    use super::*;

    fn plain() -> Bytes {
        let mut builder = BatchBuilder::new(5);
        for number in 0..2000i64 {
            builder.push(5 + number, Some(b"key"), Some(format!("value {number}").as_bytes()), &[]);
        }
        builder.finish().bytes().clone()
    }

    /// The batch with its records replaced by `compressed`, its checksum left as it is: nobody here looks at it.
    fn with_records(codec: i16, compressed: &[u8]) -> Bytes {
        let mut bytes = plain()[..HEADER_BYTES].to_vec();
        bytes.extend_from_slice(compressed);
        let length = (bytes.len() - batch::LENGTH_END) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[21..23].copy_from_slice(&codec.to_be_bytes());
        Bytes::from(bytes)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xerial(bytes: &[u8]) -> Vec<u8> {
        let mut out = XERIAL_MAGIC.to_vec();
        out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        for chunk in bytes.chunks(1 << 10) {
            let block = snap::raw::Encoder::new().compress_vec(chunk).unwrap();
            out.extend_from_slice(&(block.len() as u32).to_be_bytes());
            out.extend_from_slice(&block);
        }
        out
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd_of(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    /// Every form a client may send `bytes` in.
    fn forms(bytes: &[u8]) -> Vec<(i16, Vec<u8>)> {
        let raw_snappy = snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        let (front, back) = bytes.split_at(bytes.len() / 2);
        vec![
            (GZIP, gzip(bytes)),
            (GZIP, [gzip(front), gzip(back)].concat()),
            (SNAPPY, raw_snappy),
            (SNAPPY, xerial(bytes)),
            (SNAPPY, [xerial(front), xerial(back)].concat()),
            (LZ4, lz4(bytes)),
            (ZSTD, zstd_of(bytes)),
            (ZSTD, [zstd_of(front), zstd_of(back)].concat()),
        ]
    }

    #[test]
    fn every_form_gives_back_the_records() {
        let records = plain().slice(HEADER_BYTES..);
        assert_eq!(records_of(&plain()).unwrap(), records);
        for (index, (codec, compressed)) in forms(&records).into_iter().enumerate() {
            let mut found = records_of(&with_records(codec, &compressed)).unwrap();
            assert_eq!(found, records, "form {index}");
            assert_eq!(record::take(&mut found).unwrap().value.unwrap(), "value 0");
        }
    }

    #[test]
    fn no_form_grows_beyond_the_limit() {
        let zeros = vec![0; 1 << 20];
        for (index, (codec, compressed)) in forms(&zeros).into_iter().enumerate() {
            let batch = with_records(codec, &compressed);
            assert_eq!(records_within(&batch, zeros.len()).unwrap().len(), zeros.len(), "form {index}");
            let error = records_within(&batch, zeros.len() - 1).unwrap_err();
            assert!(matches!(error, CompressionError::TooLarge), "form {index}: {error}");
        }
    }

    #[test]
    fn damage_never_panics_and_a_cut_gives_no_more_than_was_sent() {
        let records = plain().slice(HEADER_BYTES..HEADER_BYTES + 600);
        for (codec, compressed) in forms(&records) {
            for cut in 0..compressed.len() {
                let found = records_of(&with_records(codec, &compressed[..cut]));
                assert!(found.is_err() || found.is_ok_and(|found| records.starts_with(&found)));
            }
            for bit in (0..compressed.len() * 8).step_by(5) {
                let mut broken = compressed.clone();
                broken[bit / 8] ^= 1 << (bit % 8);
                let _ = records_within(&with_records(codec, &broken), 1 << 16);
            }
        }
    }

    #[test]
    fn a_promised_length_and_an_unknown_codec_are_refused() {
        // A preamble of 2 GiB - 1 and nothing behind it.
        let boast = with_records(SNAPPY, &[0xff, 0xff, 0xff, 0xff, 0x07]);
        assert!(matches!(records_of(&boast).unwrap_err(), CompressionError::TooLarge));
        let boast = with_records(SNAPPY, &[0x80, 0x80, 0x80, 0x08]);
        assert!(matches!(records_of(&boast).unwrap_err(), CompressionError::Corrupt { .. }));
        assert!(matches!(records_of(&with_records(7, b"x")).unwrap_err(), CompressionError::UnknownCodec(7)));
    }
}
