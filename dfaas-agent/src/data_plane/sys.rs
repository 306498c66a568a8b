//! The socket options that no library offers.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// How many requests may wait in SYNs whose handshake is not complete (RFC 7413, section 5.1).
const FAST_OPEN_QUEUE: libc::c_int = 4_096;

/// Lets a listener take requests in SYNs, without a cookie: who may send them is checked before the stack sees them.
///
/// # Errors
/// What `setsockopt` says; `EPERM` and `ENOPROTOOPT` among it.
pub(super) fn accept_data_in_syn(listener: BorrowedFd<'_>) -> io::Result<()> {
    set(listener, libc::TCP_FASTOPEN, FAST_OPEN_QUEUE)?;
    set(listener, libc::TCP_FASTOPEN_NO_COOKIE, 1)
}

fn set(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed, and `value` outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
