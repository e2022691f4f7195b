//! Every parser of bytes from a device, on sound bytes that were changed.
//!
//! In: seeds. Out: failures. What is asked of a parser: it does not panic; what it accepts lies inside the bytes
//! it was given; what it accepts, written again, is accepted again as the same.
//!
//! Half of the time the checksums are made to match again, so that what stands behind them is reached.

use bytes::Bytes;
use ringmain_engine::format::batch::{self, CheckedBatch};
use ringmain_engine::format::checkpoint::Checkpoint;
use ringmain_engine::format::crc::crc32c;
use ringmain_engine::format::frame::{self, FrameHeader};
use ringmain_engine::format::record::{self, Record};
use ringmain_engine::format::run::{self, RunHeader, SegmentHeader};
use ringmain_engine::format::superblock::Superblock;
use ringmain_engine::format::varint;
use ringmain_engine::parts::segment;
use ringmain_engine::types::LogId;
use zerocopy::IntoBytes;

use crate::Outcome;
use crate::damage::mutate;
use crate::random::Random;
use crate::samples;

type Parser = fn(&mut Random) -> Result<bool, String>;

const PARSERS: [(&str, Parser); 10] = [
    ("superblock", superblock),
    ("frame", frame),
    ("segment header", segment_header),
    ("run header", run_header),
    ("run", whole_run),
    ("table", table),
    ("checkpoint", checkpoint),
    ("batch", batch),
    ("record", record),
    ("varint", number),
];

const LOG: LogId = LogId(260);

/// Runs `count` seeds from `from`, each with the parser that it chooses.
pub fn run(from: u64, count: u64) -> Outcome {
    run_each(from, count, |random| PARSERS[random.below(PARSERS.len())])
}

/// Runs `count` seeds from `from` with one parser; nothing if there is none of that name.
pub fn run_one(name: &str, from: u64, count: u64) -> Option<Outcome> {
    let parser = PARSERS.into_iter().find(|(found, _)| *found == name)?;
    Some(run_each(from, count, |_| parser))
}

fn run_each(from: u64, count: u64, choose: impl Fn(&mut Random) -> (&'static str, Parser)) -> Outcome {
    let mut outcome = Outcome::default();
    let mut accepted = 0u64;
    for seed in from..from.saturating_add(count) {
        outcome.run(seed, || {
            let mut random = Random::new(seed);
            let (name, parser) = choose(&mut random);
            accepted += u64::from(parser(&mut random).map_err(|what| format!("{name}: {what}"))?);
            Ok(())
        });
    }
    outcome.remark = format!(", {accepted} accepted");
    outcome
}

/// Changes a sample; tells whether its checksums are to be made right.
fn changed(bytes: &mut Vec<u8>, random: &mut Random) -> bool {
    for _ in 0..random.below(4) {
        mutate(bytes, random);
    }
    random.one_in(2)
}

fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

/// Puts the checksum of everything before `at` there, little-endian.
fn fix(bytes: &mut [u8], at: usize) {
    if let Some((front, rest)) = bytes.split_at_mut_checked(at)
        && let Some(field) = rest.first_chunk_mut()
    {
        *field = crc32c(front).to_le_bytes();
    }
}

fn superblock(random: &mut Random) -> Result<bool, String> {
    let mut bytes = samples::superblock(random);
    if changed(&mut bytes, random) {
        fix(&mut bytes, size_of::<Superblock>() - 4);
    }
    let Some(found) = Superblock::read(&bytes) else { return Ok(false) };
    ensure(bytes.starts_with(found.as_bytes()), "what was accepted is not what was there")?;
    ensure(Superblock::newest(&bytes) == Some(found), "one block is the newest")?;
    let _ = found.supported();
    Ok(true)
}

fn frame(random: &mut Random) -> Result<bool, String> {
    let mut bytes = samples::frame(random);
    if changed(&mut bytes, random) {
        let body_bytes =
            bytes.get(40..).and_then(|rest| rest.first_chunk()).map_or(0, |n| u32::from_le_bytes(*n));
        if let Some(body) = bytes.get(64..64usize.saturating_add(body_bytes as usize)) {
            let checksum = crc32c(body).to_le_bytes();
            bytes[52..56].copy_from_slice(&checksum);
        }
        fix(&mut bytes, 60);
    }
    let Ok(header) = frame::check(&bytes) else { return Ok(false) };
    ensure(FrameHeader::read(&bytes) == Ok(header), "the header is read alike alone")?;
    ensure(header.length.get() as usize <= bytes.len(), "the frame ends inside the bytes")?;
    let Ok(entries) = frame::entries(&bytes, &header) else { return Ok(false) };
    let end = frame::HEADER_BYTES + header.body_bytes.get() as usize;
    let mut at = frame::HEADER_BYTES;
    for entry in &entries {
        let inside = at + frame::ENTRY_BYTES == entry.bytes.start && entry.bytes.end <= end;
        ensure(inside, "entries lie back to back inside the body")?;
        ensure(bytes[at] == entry.kind.code(), "the kind is what was there")?;
        at = entry.bytes.end.next_multiple_of(8);
        let _ = batch::check(&bytes[entry.bytes.clone()]);
    }
    Ok(true)
}

fn segment_header(random: &mut Random) -> Result<bool, String> {
    let mut bytes = SegmentHeader::block(LOG, 40, 3).to_vec();
    if changed(&mut bytes, random) {
        fix(&mut bytes, size_of::<SegmentHeader>() - 4);
    }
    let Ok(header) = SegmentHeader::read(&bytes, LOG, 40) else { return Ok(false) };
    ensure(bytes.starts_with(header.as_bytes()), "what was accepted is not what was there")?;
    Ok(true)
}

fn run_header(random: &mut Random) -> Result<bool, String> {
    let header = RunHeader::new(LOG, 40..50 + random.below(9) as u64, 1234, 8192, b"batches");
    let mut bytes = header.as_bytes().to_vec();
    if changed(&mut bytes, random) {
        fix(&mut bytes, run::RUN_HEADER_BYTES - 4);
    }
    let Ok(header) = RunHeader::read(&bytes, LOG, 8192) else { return Ok(false) };
    ensure(bytes.starts_with(header.as_bytes()), "what was accepted is not what was there")?;
    ensure(header.total_bytes() <= run::RUN_TOTAL_BYTES_MAX, "the run is not larger than runs are")?;
    ensure(header.place().total_bytes() == header.total_bytes(), "its place has its length")?;
    Ok(true)
}

/// A run with its batches, as a reader checks it.
fn whole_run(random: &mut Random) -> Result<bool, String> {
    let (mut batches, mut end) = (Vec::new(), 40);
    for _ in 0..=random.below(3) {
        let bytes = Bytes::from(samples::batch(random, end));
        end += batch::shape(&bytes).map_or(0, |header| header.offsets_count());
        batches.push(bytes);
    }
    let (laid_out, place, _) = segment::lay_out(LOG, 40, 3, 8192, 40..end, 1100, &batches);
    let mut bytes = laid_out.to_vec();
    let body = run::RUN_HEADER_BYTES..run::RUN_HEADER_BYTES + place.bytes.get() as usize;
    let sound = bytes.get(body.clone()).unwrap_or_default().to_vec();
    changed(&mut bytes, random);
    let Ok(found) = segment::check(Bytes::from(bytes), LOG, &place) else { return Ok(false) };
    ensure(found == sound, "a run was accepted that is not the one that was written")?;
    ensure(found.len() == body.len(), "a run was accepted with another length")?;
    Ok(true)
}

fn table(random: &mut Random) -> Result<bool, String> {
    let runs: Vec<_> = (0..random.below(5) as u64)
        .map(|index| RunHeader::new(LOG, index..index + 1, 0, 4096 * (index + 1), b"x").place())
        .collect();
    let table_position = 4096 * (runs.len() as u64 + 1);
    let sealed = run::seal(LOG, 0, &runs, table_position);
    let (mut bytes, mut last_block) = (sealed.clone(), sealed[sealed.len() - run::TRAILER_BYTES..].to_vec());
    let fixed = changed(&mut last_block, random);
    if fixed {
        fix(&mut last_block, run::TRAILER_USED_BYTES - 4);
    }
    let file_bytes = table_position + sealed.len() as u64;
    let Some((position, length)) = run::table_place(&last_block, LOG, 0, file_bytes) else {
        return Ok(false);
    };
    ensure(position.saturating_add(length as u64) < file_bytes, "the table ends inside the file")?;
    bytes.truncate(length);
    if random.one_in(4) {
        mutate(&mut bytes, random);
    }
    let Ok(found) = run::table(&bytes, &last_block) else { return Ok(false) };
    ensure(found.as_bytes() == bytes, "what was accepted is not what was there")?;
    Ok(true)
}

fn checkpoint(random: &mut Random) -> Result<bool, String> {
    let mut bytes = samples::checkpoint(random);
    if changed(&mut bytes, random) && bytes.len() > 60 {
        if random.one_in(2) {
            let total = bytes.len() as u64;
            bytes[48..56].copy_from_slice(&total.to_le_bytes());
        }
        let at = bytes.len() - 4;
        fix(&mut bytes, at);
    }
    let Some(found) = Checkpoint::from_bytes(&bytes) else { return Ok(false) };
    let again = found.to_bytes();
    ensure(
        again.len() <= 2 * bytes.len().next_multiple_of(4096),
        "what was accepted is longer than what was there",
    )?;
    ensure(Checkpoint::from_bytes(&again).as_ref() == Some(&found), "written again it is another")?;
    Ok(true)
}

fn batch(random: &mut Random) -> Result<bool, String> {
    let mut bytes = samples::batch(random, 7);
    if changed(&mut bytes, random) && bytes.len() > batch::CRC_START {
        let checksum = crc32c(&bytes[batch::CRC_START..]).to_be_bytes();
        bytes[17..21].copy_from_slice(&checksum);
    }
    let bytes = Bytes::from(bytes);
    let mut sum = 0;
    for (header, piece) in batch::split(bytes.clone()) {
        ensure(header.total_bytes() == piece.len(), "a piece is as long as its header says")?;
        sum += piece.len();
    }
    ensure(sum <= bytes.len(), "the pieces are no more than the whole")?;
    let Ok(checked) = CheckedBatch::from_producer(bytes.clone()) else { return Ok(false) };
    ensure(*checked.bytes() == bytes, "what was accepted is not what was there")?;
    ensure(bytes.starts_with(checked.header().as_bytes()), "its header is not what was there")?;
    let mut rest = bytes.slice(batch::HEADER_BYTES..);
    while !rest.is_empty() && record::take(&mut rest).is_ok() {}
    Ok(true)
}

fn record(random: &mut Random) -> Result<bool, String> {
    let mut bytes = samples::record(random);
    changed(&mut bytes, random);
    let whole = Bytes::from(bytes);
    let mut rest = whole.clone();
    let Ok(found) = record::take(&mut rest) else { return Ok(false) };
    ensure(rest.len() < whole.len() && whole.ends_with(&rest), "a record takes bytes off the front")?;
    let again = written(&found);
    let mut input = Bytes::from(again);
    ensure(record::take(&mut input) == Ok(found), "written again it is another")?;
    ensure(input.is_empty(), "written again it leaves bytes over")?;
    Ok(true)
}

/// The record as it lies in a batch.
fn written(record: &Record) -> Vec<u8> {
    let optional = |out: &mut Vec<u8>, part: Option<&Bytes>| match part {
        None => varint::put(out, -1),
        Some(part) => {
            varint::put(out, part.len() as i64);
            out.extend_from_slice(part);
        }
    };
    let mut body = vec![0];
    varint::put(&mut body, record.timestamp_delta_ms);
    varint::put(&mut body, i64::from(record.offset_delta));
    optional(&mut body, record.key.as_ref());
    optional(&mut body, record.value.as_ref());
    varint::put(&mut body, record.headers.len() as i64);
    for (name, value) in &record.headers {
        optional(&mut body, Some(name));
        optional(&mut body, value.as_ref());
    }
    let mut out = Vec::new();
    varint::put(&mut out, body.len() as i64);
    out.extend(body);
    out
}

fn number(random: &mut Random) -> Result<bool, String> {
    let mut bytes = samples::number(random);
    changed(&mut bytes, random);
    let mut rest = bytes.as_slice();
    let Some(value) = varint::take(&mut rest) else { return Ok(false) };
    let mut again = Vec::new();
    varint::put(&mut again, value);
    ensure(again.len() == varint::len(value), "its length is measured as it is written")?;
    ensure(again.len() <= bytes.len() - rest.len(), "what is written is the shortest")?;
    ensure(varint::take(&mut again.as_slice()) == Some(value), "written again it is another")?;
    Ok(true)
}
