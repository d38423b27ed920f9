//! What only the C library can do: the one place with `unsafe`.
//!
//! Every call here is complete in itself: it takes no pointer and leaves no state behind that Rust could see.

#![allow(unsafe_code)] // Calls without a safe wrapper in any crate that is here already; each says why it is sound.

/// Asks the allocator to give what is free back to the system. Takes milliseconds after a large load, and
/// what is used next must be faulted in again: call it when things are calm. Does nothing where the C
/// library is not glibc (musl gives back by itself).
pub(crate) fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim(3) takes a number, locks each arena that it looks at, and moves nothing in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
