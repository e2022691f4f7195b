//! How many files, sockets included, this process may have open.
//!
//! In: nothing. Out: the limit, raised as far as the system allows. Never: fails: what the system does not say
//! is taken for its smallest default.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_system_enforces() {
        let limit = raise_limit();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some(limit.to_string().as_str()));
        assert_eq!(raise_limit(), limit);
    }
}
