//! The superblock at a start: whose directory this is, and which incarnation counts.
//!
//! In: the two copies in its file. Out: the newer sound one; both written anew. Never: takes a directory without one for
//! a new one when it holds anything.

use std::path::Path;

use super::OpenConfig;
use crate::error::{Damage, OpenError};
use crate::format::superblock::Superblock;
use crate::io::disk;
use crate::io::{Descriptor, Open, buffer};
use crate::limits::BLOCK_BYTES;
use crate::planted::{Bug, planted};

pub(super) fn superblock(config: &OpenConfig) -> Result<(Superblock, Descriptor, bool), OpenError> {
    let path = config.directory.join("superblock");
    if config.disk.exists(&path) {
        let file = config.disk.open(&path, Open::ReadWrite)?;
        let bytes = disk::read(&path, &file, 0, 2 * BLOCK_BYTES)?;
        let Some(superblock) = Superblock::newest(&bytes) else {
            let what = "neither copy of the superblock is sound".to_string();
            return Err(Damage { path, position: 0, what }.into());
        };
        superblock.supported().map_err(|what| OpenError::Incompatible { path, what })?;
        return Ok((superblock, file, false));
    }
    for name in ["journal", "log", "state"] {
        if !config.disk.list(&config.directory.join(name))?.is_empty() {
            let what = format!("there is no superblock, but {name}/ is not empty");
            return Err(Damage { path, position: 0, what }.into());
        }
    }
    // It appears whole or not at all, before anything else does: a crash here leaves an empty directory.
    let mut superblock = Superblock::new(config.new_cluster_id, config.node_id);
    let (block, position) = superblock.block();
    let mut bytes = vec![0; 2 * BLOCK_BYTES];
    bytes[position as usize..][..BLOCK_BYTES].copy_from_slice(&block);
    config.disk.replace(&config.directory, "superblock", &bytes)?;
    let file = config.disk.open(&path, Open::ReadWrite)?;
    Ok((superblock, file, true))
}

pub(super) fn write_superblock(
    directory: &Path,
    file: &Descriptor,
    superblock: &mut Superblock,
) -> Result<(), OpenError> {
    let path = directory.join("superblock");
    let (block, position) = superblock.block();
    let mut aligned = buffer::aligned(BLOCK_BYTES);
    aligned.extend_from_slice(&block);
    disk::write(&path, file, position, &aligned)?;
    if !planted(Bug::SuperblockNotSynced) {
        disk::sync(&path, file)?;
    }
    Ok(())
}
