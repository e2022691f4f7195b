//! Which blocks the file system and the device want.
//!
//! In: a directory, its device's queue settings. Out: alignments, as said and as found. Never: trusts what is said
//! where trying is cheap.

use std::os::unix::fs::FileExt;
use std::path::Path;

use ringmain_engine::io::buffer;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::raw::file;

/// What is known about blocks.
pub struct Alignment {
    /// Direct I/O: alignment in memory and in the file as `statx` says, if the kernel says.
    pub said: Option<(u32, u32)>,
    /// The smallest write that the file really takes.
    pub smallest: Option<usize>,
    pub logical: String,
    pub physical: String,
    pub optimal: String,
}

impl Alignment {
    pub fn find(dir: &Path, queue: Option<&Path>) -> Result<Alignment, Failure> {
        let file = file::nameless(dir)?;
        let said = file::said_alignment(&file);
        let block = buffer_of(8192);
        file.write_all_at(&block, 0).map_err(Failure::disk("write to a file in", dir))?;
        let smallest = [512, 1024, 2048, 4096]
            .into_iter()
            .find(|length| file.write_all_at(&block[..*length], *length as u64).is_ok());
        let fact = |name: &str| {
            let read = queue.and_then(|queue| std::fs::read_to_string(queue.join(name)).ok());
            read.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
        };
        let (logical, physical, optimal) =
            (fact("logical_block_size"), fact("physical_block_size"), fact("optimal_io_size"));
        Ok(Alignment { said, smallest, logical, physical, optimal })
    }

    pub fn text(&self) -> String {
        let said = self.said.map_or("not said by this kernel".to_owned(), |(memory, file)| {
            format!("memory {memory}, file {file} bytes")
        });
        let smallest = self.smallest.map_or("none up to 4096".to_owned(), |length| format!("{length} bytes"));
        format!(
            "direct I/O     wants {said}; the smallest write that works: {smallest}\n\
             device         logical block {}, physical {}, optimal {}\n",
            self.logical, self.physical, self.optimal
        )
    }

    pub fn json(&self) -> Value {
        json!({
            "direct_memory_bytes": self.said.map(|said| said.0), "direct_file_bytes": self.said.map(|said| said.1),
            "smallest_write_bytes": self.smallest, "logical_block_bytes": self.logical,
            "physical_block_bytes": self.physical, "optimal_io_bytes": self.optimal,
        })
    }
}

fn buffer_of(length: usize) -> bytes::BytesMut {
    let mut block = buffer::aligned(length);
    block.resize(length, 0x5a);
    block
}
