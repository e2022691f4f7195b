//! The superblock: who the data directory is, and which start of it is the current one.
//!
//! Two copies lie in one file of two blocks; each write goes to the copy that is not the newest, so that a
//! torn write leaves the other. Little-endian.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::crc32c;
use crate::limits::BLOCK_BYTES;

const MAGIC: u32 = u32::from_le_bytes(*b"RMSB");
/// The format this code writes and reads.
pub const VERSION: u32 = 1;
/// Incompatible features of a directory that this code has served from: bit 0, frames and checkpoints of version 2; bit 1,
/// placed entries.
pub const FEATURES: u32 = 3;

/// One copy.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Superblock {
    /// "RMSB".
    pub magic: U32,
    /// [`VERSION`].
    pub version: U32,
    /// Features an older version may ignore.
    pub compatible: U32,
    /// Features an older version may read but must not write.
    pub read_only_compatible: U32,
    /// Features an older version must not touch.
    pub incompatible: U32,
    /// Number of the node that made the directory.
    pub node_id: U32,
    /// The id the directory was given when it was made.
    pub cluster_id: [u8; 16],
    /// Rises with every write of the superblock; the higher copy counts.
    pub writes: U64,
    /// Rises at every start. Checkpoints and frames carry it.
    pub incarnation: U32,
    /// Shards of the current incarnation.
    pub shards: U16,
    /// Zeros.
    pub zero: U16,
    /// CRC-32C of everything before.
    pub checksum: U32,
}

impl Superblock {
    /// A fresh one, of a directory that holds nothing yet.
    pub fn new(cluster_id: [u8; 16], node_id: u32) -> Superblock {
        Superblock {
            magic: U32::new(MAGIC),
            version: U32::new(VERSION),
            compatible: U32::new(0),
            read_only_compatible: U32::new(0),
            incompatible: U32::new(0),
            node_id: U32::new(node_id),
            cluster_id,
            writes: U64::new(0),
            incarnation: U32::new(0),
            shards: U16::new(0),
            zero: U16::new(0),
            checksum: U32::new(0),
        }
    }

    /// The block to write, its checksum computed, and the copy it belongs into.
    pub fn block(&mut self) -> ([u8; BLOCK_BYTES], u64) {
        self.writes = U64::new(self.writes.get() + 1);
        self.checksum = U32::new(self.expected_checksum());
        let mut block = [0; BLOCK_BYTES];
        block[..size_of::<Superblock>()].copy_from_slice(self.as_bytes());
        (block, (self.writes.get() % 2) * BLOCK_BYTES as u64)
    }

    fn expected_checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c(&bytes[..bytes.len() - 4])
    }

    /// The newest sound copy among the two blocks of the file.
    pub fn newest(file: &[u8]) -> Option<Superblock> {
        file.chunks(BLOCK_BYTES).filter_map(Superblock::read).max_by_key(|copy| copy.writes.get())
    }

    /// The copy in one block, if it is sound.
    pub fn read(block: &[u8]) -> Option<Superblock> {
        let (copy, _) = Superblock::read_from_prefix(block).ok()?;
        (copy.magic.get() == MAGIC && copy.checksum.get() == copy.expected_checksum()).then_some(copy)
    }

    /// Whether this code may open the directory; otherwise why not, in words.
    pub fn supported(&self) -> Result<(), String> {
        if self.version.get() != VERSION {
            return Err(format!("its format is version {}, this is version {VERSION}", self.version.get()));
        }
        let unknown = (self.incompatible.get() & !FEATURES) | self.read_only_compatible.get();
        if unknown != 0 {
            return Err(format!("it uses features that are not known here (bits {unknown:#x})"));
        }
        Ok(())
    }
}
