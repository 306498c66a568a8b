//! Memory that was freed.

/// Gives what was freed back to the host. The C library keeps it wherever something behind it is still in use, so that every
/// peer that comes and goes would leave some. Takes about a millisecond; call it now and then.
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time, and moves nothing that is in use.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
