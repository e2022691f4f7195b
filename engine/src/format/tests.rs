//! Golden bytes, and refusal of every prefix and every flipped bit, for each structure on disk.

use bytes::BytesMut;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U16, U32, U64};

use super::checkpoint::{Checkpoint, FileSet, LogState, ProducerBatch, ProducerState, SegmentState};
use super::frame::{self, FrameHeader};
use super::run::{self, RunHeader, SegmentHeader};
use super::superblock::Superblock;
use crate::limits::{BLOCK_BYTES, SECTOR_BYTES};
use crate::types::LogId;

fn checkpoint() -> Checkpoint {
    let batches = vec![ProducerBatch { base_sequence: 4, last_sequence: 9, base_offset: 100 }];
    let producers = vec![ProducerState { id: 7, epoch: 1, last_timestamp_ms: -1, batches }];
    let log = |id, producers| LogState {
        id: LogId(id),
        start: 3,
        end: 9,
        first_segment: 0,
        segment_base: 0,
        segment_position: 8192,
        truncated_in: 0,
        generation: 1,
        segments: vec![SegmentState { base: 3, generation: 1, limit: 7 }],
        leader_epoch: 0,
        producers,
    };
    let logs = vec![log(260, producers), log(264, vec![])];
    Checkpoint {
        incarnation: 2,
        shard: 1,
        sequence: 77,
        chain: 0xabcd,
        durable: 12,
        journal: FileSet::new(3, 1 << 20),
        logs,
    }
}

#[test]
fn a_checkpoint_outlives_damage_to_one_copy_and_is_refused_after_damage_to_both() {
    let bytes = checkpoint().to_bytes();
    assert_eq!(bytes.len(), 2 * BLOCK_BYTES);
    assert_eq!(Checkpoint::from_bytes(&bytes), Some(checkpoint()));
    assert_eq!(checkpoint().first_damage(&bytes), None);
    let used = bytes[..BLOCK_BYTES].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in 0..bytes.len() {
        let found = Checkpoint::from_bytes(&bytes[..cut]);
        assert_eq!(found, (cut >= used).then(checkpoint));
        assert!(found.is_none_or(|found| found.first_damage(&bytes[..cut]).is_some()));
    }
    for bit in 0..used * 8 {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Checkpoint::from_bytes(&broken), Some(checkpoint()), "bit {bit}");
        assert_eq!(checkpoint().first_damage(&broken), Some(bit / 8), "bit {bit}");
        broken[BLOCK_BYTES + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Checkpoint::from_bytes(&broken), None, "bit {bit}");
    }
}

fn frame_bytes() -> Vec<u8> {
    let mut frame = BytesMut::zeroed(frame::HEADER_BYTES);
    for (kind, own) in [(frame::Kind::Trim, b"abc".as_slice()), (frame::Kind::Batch, b"defgh")] {
        frame.resize(frame.len().next_multiple_of(frame::ENTRY_ALIGNMENT), 0);
        let entry = frame::EntryHeader {
            kind: kind.code(),
            zero: [0; 3],
            length: U32::new(own.len() as u32),
            log: U64::new(260),
            offset: U64::new(12),
            leader_epoch: U32::new(0),
            offsets_count: U32::new(2),
        };
        frame.extend_from_slice(entry.as_bytes());
        frame.extend_from_slice(own);
    }
    let header = FrameHeader {
        magic: U32::new(frame::MAGIC),
        version: U16::new(frame::VERSION),
        shard: U16::new(1),
        generation: U32::new(4),
        length: U32::new(0),
        sequence: U64::new(9),
        block: U32::new(3),
        directory_checksum: U32::new(0),
        durable_upto: U64::new(8),
        body_bytes: U32::new(0),
        entries_count: U32::new(2),
        previous: U32::new(5),
        body_checksum: U32::new(0),
        incarnation: U32::new(1),
        checksum: U32::new(0),
    };
    frame::finish(&mut frame, header);
    frame.to_vec()
}

#[test]
fn what_a_frame_held_is_told_after_damage_to_any_sector() {
    let bytes = frame_bytes();
    let header = frame::check(&bytes).unwrap();
    let entries = frame::entries(&bytes, &header).unwrap();
    assert_eq!(header.position(), 3 * BLOCK_BYTES as u64);
    let back = bytes.len() - frame::HEADER_BYTES;
    for sector in 0..bytes.len() / 512 {
        for rot in [0x00, 0x5a] {
            let mut broken = bytes.clone();
            broken[sector * 512..][..512].fill(rot);
            let front = FrameHeader::read(&broken).or_else(|_| FrameHeader::read(&broken[back..])).unwrap();
            assert_eq!(front, header, "sector {sector}");
            assert_eq!(frame::surviving_entries(&broken, &front), Some(entries.clone()), "sector {sector}");
        }
    }
    for body_bytes in 0..2 * BLOCK_BYTES {
        let (front, back) = (frame::HEADER_BYTES + body_bytes, frame::back_bytes(3));
        let directory_start = frame::frame_bytes(body_bytes, 3) - back;
        assert!((front - 1) / SECTOR_BYTES < directory_start / SECTOR_BYTES, "a body of {body_bytes} bytes");
    }
    let mut broken = bytes.clone();
    broken[frame::HEADER_BYTES] ^= 1;
    broken[header.directory_start().unwrap()] ^= 1;
    assert_eq!(frame::surviving_entries(&broken, &header), None);
}

#[test]
fn a_frame_is_read_as_written_and_every_damage_is_refused() {
    let bytes = frame_bytes();
    let header = frame::check(&bytes).unwrap();
    let entries = frame::entries(&bytes, &header).unwrap();
    assert_eq!((entries[0].kind, entries[0].offset), (frame::Kind::Trim, 12));
    assert_eq!(&bytes[entries[0].bytes.clone()], b"abc");
    for cut in 0..bytes.len() {
        assert!(frame::check(&bytes[..cut]).is_err());
    }
    let used = frame::HEADER_BYTES + header.body_bytes.get() as usize;
    for bit in 0..used * 8 {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(frame::check(&broken).is_err(), "bit {bit}");
    }
}

#[test]
fn a_segment_is_read_as_written_and_every_damage_is_refused() {
    let (log, body) = (LogId(260), b"some batches".as_slice());
    let segment = SegmentHeader::block(log, 40, 0);
    assert!(SegmentHeader::read(&segment, log, 40).is_ok());
    assert!(SegmentHeader::read(&segment, log, 41).is_err());
    let header = RunHeader::new(log, 40..50, 1234, 4096, body);
    assert_eq!(RunHeader::read(header.as_bytes(), log, 4096), Ok(header));
    assert!(RunHeader::read(header.as_bytes(), log, 8192).is_err());
    assert!(RunHeader::read(header.as_bytes(), LogId(4), 4096).is_err());
    for bit in 0..header.as_bytes().len() * 8 {
        let mut broken = header.as_bytes().to_vec();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(RunHeader::read(&broken, log, 4096).is_err(), "bit {bit}");
    }
    let sealed = run::seal(log, 40, &[header.place()], 8192);
    let (table, last_block) = sealed.split_at(sealed.len() - run::TRAILER_BYTES);
    let file_bytes = 8192 + sealed.len() as u64;
    let (position, length) = run::table_place(last_block, log, 40, file_bytes).unwrap();
    assert_eq!((position, run::table(&table[..length], last_block)), (8192, Ok(vec![header.place()])));
    assert_eq!(run::table_place(last_block, log, 40, file_bytes + 4096), None);
    for bit in 0..length * 8 {
        let mut broken = table[..length].to_vec();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(run::table(&broken, last_block).is_err(), "bit {bit}");
    }
}

#[test]
fn the_newer_superblock_counts_and_a_torn_one_leaves_the_other() {
    let mut superblock = Superblock::new([7; 16], 1);
    let mut file = vec![0; 2 * BLOCK_BYTES];
    for incarnation in 1..=4 {
        superblock.incarnation = U32::new(incarnation);
        let (block, position) = superblock.block();
        file[position as usize..position as usize + BLOCK_BYTES].copy_from_slice(&block);
        assert_eq!(Superblock::newest(&file), Some(superblock));
    }
    let (_, next) = superblock.clone().block();
    let current = BLOCK_BYTES - next as usize;
    file[current + 20] ^= 1;
    assert_eq!(Superblock::newest(&file).map(|copy| copy.incarnation.get()), Some(3));
    superblock.incompatible = U32::new(4);
    assert!(superblock.supported().is_err());
}

/// The layouts, byte by byte: a change here is a change of the format and needs a new version.
#[test]
fn golden_hashes_of_each_structure() {
    // FNV-1a, because a CRC over bytes that end in their own CRC says nothing.
    let hash = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        })
    };
    let hashes = [
        hash(&checkpoint().to_bytes()),
        hash(&frame_bytes()),
        hash(&SegmentHeader::block(LogId(260), 40, 0)),
        hash(RunHeader::new(LogId(260), 40..50, 1234, 4096, b"x").as_bytes()),
    ];
    let golden = [16153668346992153397, 4486955203992474805, 12532281120058076737, 14894879872405126961];
    assert_eq!(hashes, golden);
}
