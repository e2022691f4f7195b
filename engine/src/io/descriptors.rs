//! How many files, sockets included, this process may have open, and how many connections may wait for it.
//!
//! In: nothing, or a listener. Out: the limit, raised as far as the system allows. Never: fails: what the system does not say
//! is taken for its smallest default.

use std::net::TcpListener;
use std::os::fd::AsRawFd;

/// What a process gets when nobody has configured anything.
const LIMIT_DEFAULT: u64 = 1024;

/// Raises the limit to the highest that is allowed, and returns it.
pub fn raise_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct, which lives across the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return LIMIT_DEFAULT;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the kernel reads the struct, which lives across the call.
    let is_raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0;
    if is_raised { raised.rlim_cur } else { limit.rlim_cur }
}

/// Connections that wait to be accepted. Clients that all come at once, as after a restart, would otherwise be turned
/// away to try again a second later; the kernel has a limit of its own (`net.core.somaxconn`).
const BACKLOG: libc::c_int = 4096;

/// Has a listener keep as many connections waiting as it can. Where that fails it keeps those it kept.
pub fn widen_backlog(listener: &TcpListener) {
    // SAFETY: a system call on an open socket; no memory is passed.
    unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) };
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn many_connect_before_one_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        widen_backlog(&listener);
        let address = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(900));
        let waiting: Vec<TcpStream> = (0..400).map_while(|_| connect().ok()).collect();
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        assert!(waiting.len() >= limit.min(400), "{} of 400, though {limit} may wait", waiting.len());
    }

    #[test]
    fn the_limit_is_what_the_system_enforces() {
        let limit = raise_limit();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some(limit.to_string().as_str()));
        assert_eq!(raise_limit(), limit);
    }
}
