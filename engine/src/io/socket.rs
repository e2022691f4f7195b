//! What both drivers do with sockets: the scatter list of a send, a fresh connection, and calls that never wait.
//!
//! In: open sockets and memory. Out: counts, connections, or the kernel's no. Never: keeps a socket.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use bytes::{Bytes, BytesMut};

use super::{Descriptor, Done, Fault};

/// Pieces one send takes; the kernel's own limit is 1024.
pub const SEND_PIECES_MAX: usize = 512;

/// A scatter list and the header that points to it. It points into the data it was made from, and does not
/// keep that alive.
pub(super) struct Message {
    pieces: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Message {
    /// Describes the first pieces of `data`, as many as one send takes.
    pub(super) fn of(data: &[Bytes]) -> Box<Message> {
        let pieces: Vec<libc::iovec> = data
            .iter()
            .take(SEND_PIECES_MAX)
            .map(|piece| libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() })
            .collect();
        // SAFETY: a msghdr of zeros is a valid, empty one.
        let header = unsafe { std::mem::zeroed::<libc::msghdr>() };
        let mut message = Box::new(Message { pieces, header });
        message.header.msg_iov = message.pieces.as_mut_ptr();
        message.header.msg_iovlen = message.pieces.len() as _;
        message
    }

    pub(super) fn header(&self) -> *const libc::msghdr {
        &raw const self.header
    }
}

/// Takes over a descriptor that the kernel just made for an accept, and readies it for small requests.
pub(super) fn accepted(fd: OwnedFd) -> Result<Done, Fault> {
    let stream = TcpStream::from(fd);
    let peer: SocketAddr = stream.peer_addr().map_err(|error| Fault::of(&error))?;
    stream.set_nodelay(true).map_err(|error| Fault::of(&error))?;
    Ok(Done::Accepted(Descriptor::new(OwnedFd::from(stream)), peer))
}

/// Makes calls on `socket` return EAGAIN where they would wait.
pub(super) fn never_block(socket: &Descriptor) -> Result<(), Fault> {
    let mut on: libc::c_int = 1;
    // SAFETY: the descriptor is open and `on` outlives the call, which only reads it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONBIO, &raw mut on) };
    checked(result as isize).map(drop)
}

/// Accepts one connection, or says EAGAIN.
pub(super) fn accept(listener: &Descriptor) -> Result<Done, Fault> {
    let fd = persist(|| {
        let nobody = std::ptr::null_mut();
        // SAFETY: the descriptor is open, and no address is asked for.
        let fd =
            unsafe { libc::accept4(listener.as_raw_fd(), nobody, std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
        fd as isize
    })?;
    // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
    accepted(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Receives once into the spare capacity of `buffer` and says how much, or EAGAIN.
pub(super) fn receive(socket: &Descriptor, buffer: &mut BytesMut) -> Result<usize, Fault> {
    let count = persist(|| {
        let spare = buffer.spare_capacity_mut();
        assert!(!spare.is_empty());
        // SAFETY: `spare` is memory of ours, borrowed for the call, and the kernel writes no more than its length.
        unsafe { libc::recv(socket.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len(), libc::MSG_DONTWAIT) }
    })?;
    let length = buffer.len() + count;
    assert!(length <= buffer.capacity());
    // SAFETY: the kernel filled `count` bytes of the spare capacity, behind what was there.
    unsafe { buffer.set_len(length) };
    Ok(count)
}

/// Sends the front of `data` and says how much, or EAGAIN.
pub(super) fn send(socket: &Descriptor, data: &[Bytes]) -> Result<usize, Fault> {
    let message = Message::of(data);
    persist(|| {
        // SAFETY: the header points to pieces of `data`; both outlive the call, which only reads them.
        unsafe {
            libc::sendmsg(socket.as_raw_fd(), message.header(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
        }
    })
}

/// Ends both directions of a connection.
pub(super) fn shutdown(socket: &Descriptor) -> Result<(), Fault> {
    // SAFETY: takes no pointer; the descriptor is open.
    let result = unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
    checked(result as isize).map(drop)
}

/// Repeats a call that a signal interrupted.
fn persist(mut call: impl FnMut() -> isize) -> Result<usize, Fault> {
    loop {
        match checked(call()) {
            Err(Fault { errno: libc::EINTR }) => {}
            result => return result,
        }
    }
}

/// The result of a system call, where negative means "look at errno".
pub(super) fn checked(result: isize) -> Result<usize, Fault> {
    match usize::try_from(result) {
        Ok(result) => Ok(result),
        Err(_) => Err(Fault::of(&std::io::Error::last_os_error())),
    }
}
