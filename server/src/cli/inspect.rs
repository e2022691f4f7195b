//! `ringmain inspect`: what lies in a data directory or in files of one, a line for each thing.
//!
//! In: paths. Out: lines on standard output; exit code 2 if something cannot be read. Never: judges damage
//! (`ringmain verify` does): what does not parse is shown as that.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use ringmain_engine::error::{IoFault, OpenError};
use ringmain_engine::format::batch::{self, BatchHeader};
use ringmain_engine::format::checkpoint::Checkpoint;
use ringmain_engine::format::frame::{self, FrameHeader};
use ringmain_engine::format::run::{self, RUN_HEADER_BYTES, RunHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use ringmain_engine::format::superblock::Superblock;
use ringmain_engine::io::disk::{self, Disk};
use ringmain_engine::io::{Descriptor, Open};
use ringmain_engine::limits::BLOCK_BYTES;
use ringmain_engine::types::LogId;

/// Why showing ended early.
enum Stop {
    /// A path cannot be read.
    Unreadable(String),
    /// Nobody reads the output any more.
    Unheard,
}

impl From<IoFault> for Stop {
    fn from(fault: IoFault) -> Stop {
        Stop::Unreadable(fault.to_string())
    }
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Stop {
        Stop::Unreadable(error.to_string())
    }
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Stop {
        Stop::Unheard
    }
}

/// Shows each path.
pub fn run(paths: &[impl AsRef<Path>]) -> ExitCode {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut code = ExitCode::SUCCESS;
    for path in paths {
        match show(path.as_ref(), &mut out) {
            Ok(()) => {}
            Err(Stop::Unheard) => return code,
            Err(Stop::Unreadable(what)) => {
                eprintln!("ringmain: {what}");
                code = ExitCode::from(2);
            }
        }
    }
    match out.flush() {
        Ok(()) => code,
        Err(_) => ExitCode::from(2),
    }
}

fn show(path: &Path, out: &mut impl Write) -> Result<(), Stop> {
    if !path.is_dir() {
        return show_file(path, out);
    }
    let _lock = Disk::Machine.lock_to_read(path)?;
    show_all(path, out)
}

/// Every file below, superblock first.
fn show_all(directory: &Path, out: &mut impl Write) -> Result<(), Stop> {
    let mut names = Disk::Machine.list(directory)?;
    names.sort_by_key(|name| name != "superblock");
    for path in names.iter().map(|name| directory.join(name)) {
        if path.is_dir() { show_all(&path, out)? } else { show_file(&path, out)? }
    }
    Ok(())
}

fn show_file(path: &Path, out: &mut impl Write) -> Result<(), Stop> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    match (name.as_str(), extension.as_str()) {
        ("superblock", _) => superblock(&Source::open(path)?, out),
        (_, "checkpoint") => checkpoint(&Source::open(path)?, out),
        (_, "journal") => journal(&Source::open(path)?, out),
        (_, "seg") => segment(&Source::open(path)?, out),
        ("lock", _) => Ok(()),
        _ => Ok(writeln!(out, "{}: not a file of the format", path.display())?),
    }
}

/// A file being shown.
struct Source<'a> {
    path: &'a Path,
    file: Descriptor,
    file_bytes: u64,
}

impl Source<'_> {
    fn open(path: &Path) -> Result<Source<'_>, Stop> {
        let file = Disk::Machine.open(path, Open::Read)?;
        let file_bytes = disk::length(path, &file)?;
        Ok(Source { path, file, file_bytes })
    }

    /// Up to `length` bytes, whole blocks; fewer at the end of the file.
    fn read(&self, position: u64, length: usize) -> Result<Bytes, Stop> {
        let rest = self.file_bytes.saturating_sub(position).next_multiple_of(BLOCK_BYTES as u64);
        let length = rest.min(length.next_multiple_of(BLOCK_BYTES) as u64) as usize;
        Ok(disk::read(self.path, &self.file, position, length)?.freeze())
    }

    fn line(&self, out: &mut impl Write, position: u64, what: &str) -> Result<(), Stop> {
        Ok(writeln!(out, "{} {position}: {what}", self.path.display())?)
    }
}

fn superblock(source: &Source<'_>, out: &mut impl Write) -> Result<(), Stop> {
    let bytes = source.read(0, 2 * BLOCK_BYTES)?;
    for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let what = match Superblock::read(block) {
            Some(copy) => format!(
                "superblock version {} writes {} start {} shards {} node {} cluster {} features {:#x} {:#x} {:#x}",
                copy.version.get(),
                copy.writes.get(),
                copy.incarnation.get(),
                copy.shards.get(),
                copy.node_id.get(),
                copy.cluster_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                copy.compatible.get(),
                copy.read_only_compatible.get(),
                copy.incompatible.get(),
            ),
            None if block.iter().all(|byte| *byte == 0) => "never written".to_string(),
            None => "not a sound superblock".to_string(),
        };
        source.line(out, (index * BLOCK_BYTES) as u64, &what)?;
    }
    Ok(())
}

fn checkpoint(source: &Source<'_>, out: &mut impl Write) -> Result<(), Stop> {
    let length = usize::try_from(source.file_bytes).unwrap_or(usize::MAX);
    let bytes = source.read(0, length)?;
    let Some(found) = Checkpoint::from_bytes(&bytes) else {
        return source.line(out, 0, "not a sound checkpoint");
    };
    let what = format!(
        "checkpoint start {} shard {} sequence {} chain {:08x} journal files {} from {}, {} bytes each, logs {}",
        found.incarnation,
        found.shard,
        found.sequence,
        found.chain,
        found.journal.count,
        found.journal.first,
        found.journal.file_bytes,
        found.logs.len()
    );
    source.line(out, 0, &what)?;
    for log in &found.logs {
        let what = format!(
            "  log {} offsets {}..{} segment {} position {} leader epoch {} producers {}",
            log.id,
            log.start,
            log.end,
            log.segment_base,
            log.segment_position,
            log.leader_epoch,
            log.producers.len()
        );
        source.line(out, 0, &what)?;
    }
    Ok(())
}

fn journal(source: &Source<'_>, out: &mut impl Write) -> Result<(), Stop> {
    let mut position = 0;
    while position < source.file_bytes {
        let block = source.read(position, BLOCK_BYTES)?;
        let length = match FrameHeader::read(&block) {
            Ok(header) => one_frame(source, position, &header, out)?,
            Err(frame::FrameError::Magic) => BLOCK_BYTES as u64,
            Err(error) => {
                source.line(out, position, &error.to_string())?;
                BLOCK_BYTES as u64
            }
        };
        position += length;
    }
    Ok(())
}

/// Shows the frame and its entries; the bytes to go on behind.
fn one_frame(
    source: &Source<'_>,
    position: u64,
    header: &FrameHeader,
    out: &mut impl Write,
) -> Result<u64, Stop> {
    let bytes = source.read(position, header.length.get() as usize)?;
    let checked = frame::check(&bytes);
    let what = format!(
        "frame {} start {} shard {} generation {} bytes {} body {} entries {} durable upto {} chain {:08x}{}",
        header.sequence.get(),
        header.incarnation.get(),
        header.shard.get(),
        header.generation.get(),
        header.length.get(),
        header.body_bytes.get(),
        header.entries_count.get(),
        header.durable_upto.get(),
        header.checksum.get(),
        checked.err().map_or(String::new(), |error| format!(" ({error})")),
    );
    source.line(out, position, &what)?;
    if checked.is_err() {
        return Ok(BLOCK_BYTES as u64);
    }
    match frame::entries(&bytes, header) {
        Ok(entries) => {
            for entry in entries {
                let at = position + entry.bytes.start as u64;
                let (kind, log, offset) = (entry.kind, entry.log, entry.offset);
                let own = bytes.get(entry.bytes).unwrap_or_default();
                let what = match batch::check(own) {
                    Ok(header) => batch_words(header),
                    Err(_) => format!("{kind:?} offset {offset}").to_lowercase(),
                };
                source.line(out, at, &format!("  log {log} {what}"))?;
            }
        }
        Err(error) => source.line(out, position, &format!("  {error}"))?,
    }
    Ok(u64::from(header.length.get()))
}

fn batch_words(header: &BatchHeader) -> String {
    let base = header.base_offset.get();
    format!(
        "batch offsets {base}..{} records {} bytes {} attributes {:#x} leader epoch {} time {}..{} producer {} {} \
         sequence {} crc {:08x}",
        base.saturating_add(i64::from(header.last_offset_delta.get())).saturating_add(1),
        header.records_count.get(),
        header.total_bytes(),
        header.attributes.get(),
        header.leader_epoch.get(),
        header.base_timestamp.get(),
        header.max_timestamp.get(),
        header.producer_id.get(),
        header.producer_epoch.get(),
        header.base_sequence.get(),
        header.crc.get(),
    )
}

/// The log and base offset that a segment's path names.
fn identity(path: &Path) -> Option<(LogId, u64)> {
    let log = path.parent()?.file_name()?.to_str()?;
    let base = path.file_stem()?.to_str()?;
    Some((LogId(u64::from_str_radix(log, 16).ok()?), base.parse().ok()?))
}

fn segment(source: &Source<'_>, out: &mut impl Write) -> Result<(), Stop> {
    let Some((log, base)) = identity(&std::path::absolute(source.path)?) else {
        return source.line(out, 0, "a segment is called <log>/<base offset>.seg; this is not");
    };
    let what = match SegmentHeader::read(&source.read(0, SEGMENT_HEADER_BYTES)?, log, base) {
        Ok(header) => format!("segment log {log} base {base} leader epoch {}", header.leader_epoch.get()),
        Err(bad) => bad.0.to_string(),
    };
    source.line(out, 0, &what)?;
    let trailer_at = source.file_bytes.saturating_sub(run::TRAILER_BYTES as u64);
    let last_block = source.read(trailer_at / BLOCK_BYTES as u64 * BLOCK_BYTES as u64, run::TRAILER_BYTES)?;
    let table = run::table_place(&last_block, log, base, source.file_bytes);
    let limit = table.map_or(source.file_bytes, |(position, _)| position);
    let mut position = SEGMENT_HEADER_BYTES as u64;
    while position < limit {
        match RunHeader::read(&source.read(position, BLOCK_BYTES)?, log, position) {
            Ok(header) => {
                one_run(source, &header, out)?;
                position += header.total_bytes() as u64;
            }
            Err(bad) => {
                source.line(out, position, bad.0)?;
                position += BLOCK_BYTES as u64;
            }
        }
    }
    match table {
        Some((position, length)) => source.line(out, position, &format!("sealed: table of {length} bytes")),
        None => source.line(out, source.file_bytes, "not sealed"),
    }
}

fn one_run(source: &Source<'_>, header: &RunHeader, out: &mut impl Write) -> Result<(), Stop> {
    let position = header.position.get();
    let what = format!(
        "run offsets {}..{} bytes {} time upto {} crc {:08x}",
        header.base_offset.get(),
        header.end_offset.get(),
        header.bytes.get(),
        header.max_timestamp_ms.get(),
        header.body_checksum.get()
    );
    source.line(out, position, &what)?;
    let bytes = source.read(position, header.total_bytes())?;
    let end = (RUN_HEADER_BYTES + header.bytes.get() as usize).min(bytes.len());
    let mut at = RUN_HEADER_BYTES;
    while let Some(rest) = bytes.get(at..end).filter(|rest| !rest.is_empty()) {
        let place = position + at as u64;
        match batch::shape(rest) {
            Ok(header) => {
                let crc = batch::check(rest).err().map_or(String::new(), |error| format!(" ({error})"));
                source.line(out, place, &format!("  {}{crc}", batch_words(header)))?;
                at += header.total_bytes();
            }
            Err(error) => return source.line(out, place, &format!("  {error}")),
        }
    }
    Ok(())
}
