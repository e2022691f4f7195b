//! The ways, as a table.
//!
//! In: nothing. Out: what each takes its bytes from, and by which call they leave. Never: two ways that differ in
//! more than one thing from the line they are compared with.

/// Where the bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// In memory of this process, more than the nearest caches hold.
    Memory,
    /// On the device: direct reads at idle priority, so many in flight.
    Device { depth: usize },
    /// In the page cache, or no longer there.
    Cache { warm: bool },
    /// No longer there, and the kernel is told that it is read from front to back.
    CacheAhead,
}

/// What sends them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Nothing: they are read and forgotten.
    Nothing,
    Send,
    SendMessage,
    SendZeroCopy,
    /// From memory that was registered with the ring; reads go there, too.
    SendZeroCopyRegistered,
    SendMessageZeroCopy,
    /// `sendfile(2)`, which blocks the caller.
    SendFile,
    /// From the file into a pipe and from the pipe into the socket, through the ring.
    Splice,
}

impl Call {
    /// Whether kernels, or the limits of users, may be in its way.
    pub fn is_new(self) -> bool {
        !matches!(self, Call::Nothing | Call::Send | Call::SendMessage | Call::SendFile)
    }
}

/// What a way is compared with, in the same size and round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    PlainSend,
    RawRead,
}

/// One way.
pub struct Path {
    pub name: &'static str,
    pub source: Source,
    pub call: Call,
}

impl Path {
    pub fn base(&self) -> Base {
        match self.source {
            Source::Memory | Source::Cache { warm: true } => Base::PlainSend,
            _ => Base::RawRead,
        }
    }

    fn is_base(&self, base: Base) -> bool {
        match base {
            Base::PlainSend => self.source == Source::Memory && self.call == Call::Send,
            Base::RawRead => self.source == (Source::Device { depth: 4 }) && self.call == Call::Nothing,
        }
    }

    /// The place of a base in the table.
    pub fn place_of(base: Base) -> usize {
        match PATHS.iter().position(|path| path.is_base(base)) {
            Some(place) => place,
            None => unreachable!("the table holds each base"),
        }
    }
}

const fn path(name: &'static str, source: Source, call: Call) -> Path {
    Path { name, source, call }
}

const ALONE: Source = Source::Device { depth: 1 };
const FOUR: Source = Source::Device { depth: 4 };
const COLD: Source = Source::Cache { warm: false };
const WARM: Source = Source::Cache { warm: true };

/// All of them. The warm ones come together, so that the file is warmed once.
pub static PATHS: [Path; 16] = [
    path("memory, SEND", Source::Memory, Call::Send),
    path("memory, SENDMSG", Source::Memory, Call::SendMessage),
    path("memory, SEND_ZC", Source::Memory, Call::SendZeroCopy),
    path("memory, SEND_ZC, registered", Source::Memory, Call::SendZeroCopyRegistered),
    path("memory, SENDMSG_ZC", Source::Memory, Call::SendMessageZeroCopy),
    path("direct read x 1, not sent", ALONE, Call::Nothing),
    path("direct read x 4, not sent", FOUR, Call::Nothing),
    path("direct read x 1, SENDMSG", ALONE, Call::SendMessage),
    path("direct read x 4, SENDMSG", FOUR, Call::SendMessage),
    path("direct read x 1, SEND_ZC, registered", ALONE, Call::SendZeroCopyRegistered),
    path("direct read x 4, SEND_ZC, registered", FOUR, Call::SendZeroCopyRegistered),
    path("cold pages, sendfile", COLD, Call::SendFile),
    path("cold pages, sendfile, FADV_SEQUENTIAL", Source::CacheAhead, Call::SendFile),
    path("cold pages, splice", COLD, Call::Splice),
    path("warm pages, sendfile", WARM, Call::SendFile),
    path("warm pages, splice", WARM, Call::Splice),
];
