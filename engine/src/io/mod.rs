//! What is asked of the kernel, as plain values: operations go out, completions come back.
//!
//! In: [`Op`]s, each owning the memory it reads or fills. Out: one [`Completion`] for each, giving the memory
//! back. Never: knows what the bytes mean.
//!
//! * [`driver`] is the data path, in one of two kinds:
//!   [`ring`] submits operations to io_uring; [`poll`] has epoll, and threads for files, where io_uring is not allowed.
//! * [`disk`] does the blocking work of a start, an offline tool or a test; with the feature `sim`, on a disk in memory.
//! * [`buffer`] makes memory that direct I/O accepts.
//! * [`mailbox`] carries values from one core to another.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub mod buffer;
mod crew;
pub mod descriptors;
pub mod disk;
pub mod driver;
pub mod inspect;
pub mod mailbox;
#[cfg(feature = "sim")]
mod names;
pub mod poll;
mod pool;
pub mod ring;
#[cfg(feature = "sim")]
pub mod simulated;
mod socket;
pub mod space;
#[cfg(test)]
mod tests;
mod whole;

pub use socket::SEND_PIECES_MAX;

/// Says whose operation it was; comes back in its completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// Which part of the program; 0 is the engine.
    pub space: u16,
    /// Which of that part's operations.
    pub index: u64,
}

/// An open file or socket. It is closed when the last operation and the last owner let go of it.
#[derive(Clone, Debug)]
pub enum Descriptor {
    /// A descriptor of this process. Sockets are in it, too: it only lends itself to calls of the standard library.
    Kernel(Arc<File>),
    /// A file on a [`disk::Disk::Simulated`].
    #[cfg(feature = "sim")]
    Simulated(simulated::SimulatedFile),
}

impl Descriptor {
    /// Takes over an open descriptor.
    pub fn new(descriptor: OwnedFd) -> Descriptor {
        Descriptor::Kernel(Arc::new(File::from(descriptor)))
    }

    fn kernel(&self) -> &Arc<File> {
        match self {
            Descriptor::Kernel(descriptor) => descriptor,
            #[cfg(feature = "sim")]
            Descriptor::Simulated(_) => unreachable!("a simulated file never reaches the kernel"),
        }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.kernel().as_raw_fd()
    }
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Descriptor) -> bool {
        #[cfg(feature = "sim")]
        if let (Descriptor::Simulated(one), Descriptor::Simulated(two)) = (self, other) {
            return one.inode() == two.inode();
        }
        self.as_raw_fd() == other.as_raw_fd()
    }
}

/// How a file is opened. Every data file is opened for direct I/O.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; made if it does not exist.
    ReadWrite,
    /// For reading and writing; it must exist. Seldom has to wait for the device, as nothing is made.
    Update,
    /// For reading and writing; made, and emptied if it exists.
    Replace,
    /// A directory, to sync it.
    Directory,
}

/// One thing for the kernel to do.
#[derive(Debug)]
pub enum Op {
    /// Reads until `buffer` holds `length` bytes of the file, or all it has from `position` on. The buffer must be aligned
    /// and large enough; what it holds already, whole blocks, was read before and stays.
    Read {
        /// From which file.
        file: Descriptor,
        /// Where in it, in bytes; whole blocks.
        position: u64,
        /// Where the bytes go.
        buffer: BytesMut,
        /// How many bytes; whole blocks.
        length: usize,
    },
    /// Writes all of `data`. With `durable` it is on the device when the completion comes.
    Write {
        /// Into which file.
        file: Descriptor,
        /// Where in it, in bytes; whole blocks where the file is open for direct I/O.
        position: u64,
        /// What to write, aligned as the position is.
        data: Bytes,
        /// Whether the completion waits for the device.
        durable: bool,
    },
    /// Makes all completed writes to `file` durable, and the entries of a directory.
    Sync {
        /// A file, or a directory opened with [`Open::Directory`].
        file: Descriptor,
    },
    /// Makes everything durable that was written to the file system of `file`, names included. Only with a file that
    /// [`disk::Disk::open_whole`] gave.
    SyncAll {
        /// Any file or directory on it.
        file: Descriptor,
    },
    /// Cuts `file` to `length` bytes. Seldom, and done at once.
    Truncate {
        /// Which file.
        file: Descriptor,
        /// New length in bytes.
        length: u64,
    },
    /// Makes `file` so many bytes long and finds blocks for all of it, so that writing there finds room. What is not written is
    /// zero. Not every file system can.
    Reserve {
        /// Which file.
        file: Descriptor,
        /// Its length, in bytes.
        length: u64,
    },
    /// How much room the file system of a path has left. Seldom, and done at once.
    FreeSpace {
        /// Any path on it.
        path: PathBuf,
    },
    /// Opens a file or a directory.
    Open {
        /// Where it is.
        path: PathBuf,
        /// For what.
        how: Open,
    },
    /// Not an error if it exists.
    MakeDirectory {
        /// Where it is to be.
        path: PathBuf,
    },
    /// Renames a file; one that has the new name is replaced. Durable after a sync of the directory.
    Rename {
        /// The old path.
        from: PathBuf,
        /// The new path.
        to: PathBuf,
    },
    /// Removes a file. Not an error if it does not exist.
    Remove {
        /// Which file.
        path: PathBuf,
    },
    /// Removes an empty directory. Not an error if it does not exist.
    RemoveDirectory {
        /// Which directory.
        path: PathBuf,
    },
    /// Waits for one connection and takes it.
    Accept {
        /// The listening socket.
        listener: Descriptor,
    },
    /// Receives into the spare capacity of `buffer`, once. There must be some: nothing received means the end.
    Receive {
        /// From which connection.
        socket: Descriptor,
        /// Where the bytes go, behind what it holds.
        buffer: BytesMut,
    },
    /// Sends `data` in order, or a part of it.
    Send {
        /// Into which connection.
        socket: Descriptor,
        /// Of these, the first [`SEND_PIECES_MAX`] at most are sent at once.
        data: Vec<Bytes>,
    },
    /// Ends both directions of a connection; what waits on it completes.
    Shutdown {
        /// Which connection.
        socket: Descriptor,
    },
    /// Makes another ring's wait return.
    Wake {
        /// What its driver's [`descriptor`](driver::Driver::descriptor) said.
        ring: RawFd,
    },
}

/// What an operation came to.
#[derive(Debug)]
pub struct Completion {
    /// As it was given with the operation.
    pub token: Token,
    /// What it came to; a fault gives no memory back.
    pub result: Result<Done, Fault>,
}

/// A successful operation, in the kind of the operation.
#[derive(Debug)]
pub enum Done {
    /// The bytes read; fewer than asked for only at the end of the file.
    Read(BytesMut),
    /// All bytes were written.
    Written,
    /// What was written before is on the device.
    Synced,
    /// The file or directory that was opened.
    Opened(Descriptor),
    /// A directory was made, a file cut, reserved, renamed or removed, a connection shut down, a ring woken.
    Finished,
    /// Bytes that are free for whoever asks.
    FreeSpace(u64),
    /// A connection, and who is at its other end.
    Accepted(Descriptor, SocketAddr),
    /// The buffer, longer by what was received; not longer: the peer has finished.
    Received(BytesMut),
    /// Bytes sent, counted from the front.
    Sent(usize),
    /// Another ring woke this one.
    Woken,
}

/// The kernel said no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// As in `errno.h`.
    pub errno: i32,
}

impl Fault {
    /// Whether there was no room: trying again later may succeed.
    pub fn is_no_space(self) -> bool {
        matches!(self.errno, libc::ENOSPC | libc::EDQUOT)
    }

    fn of(error: &std::io::Error) -> Fault {
        Fault { errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::io::Error::from_raw_os_error(self.errno).fmt(f)
    }
}
