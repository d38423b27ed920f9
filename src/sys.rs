//! What only the C library can do: the one place with `unsafe`.
//!
//! Memory given back: `malloc_trim(3)` after a crowd has left, `madvise(2)` for the pages of the program that
//! only its start needed. Each call is complete in itself and leaves nothing behind that Rust could see.

#![allow(unsafe_code)] // Calls without a safe wrapper in any crate that is here already; each says why it is sound.

/// Arenas of the allocator. One: the loop allocates, the other threads hardly ever, and each further arena
/// would keep pages for itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: libc::c_int = 1;
/// Blocks of this size and above, such as columns of thousands of rows, are mappings of their own and leave no
/// hole behind. It is the C library's own first value, which would rise with the first such block that is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: libc::c_int = 128 * 1024;

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

/// Has all threads share one arena, and what is large lie apart; call it before the first of them starts. It is the process's, so it is
/// for the program and not for a library's host.
pub(crate) fn settle_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt(3) takes two numbers; a value that it does not like changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    }
}

/// Lets go of the pages of code and constants that are mapped now, of the program and of its libraries.
/// They are the files' own: what is used again comes back from the page cache.
pub(crate) fn forget_code_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: `forget_object` has the signature that dl_iterate_phdr(3) asks for and uses nothing but its
    // arguments, which are valid during the call.
    unsafe {
        libc::dl_iterate_phdr(Some(forget_object), std::ptr::null_mut());
    }
}

#[cfg(target_os = "linux")]
unsafe extern "C" fn forget_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    const PAGE: usize = 4096;
    // SAFETY: the C library hands over a valid object whose table has `dlpi_phnum` entries.
    let (base, headers) = unsafe {
        let info = &*info;
        if info.dlpi_phdr.is_null() {
            return 0;
        }
        (info.dlpi_addr as usize, std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    // Only what the file maps read-only. Relocated constants lie in a writable segment and are not touched:
    // they would come back as they were before the dynamic linker.
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        // Whole pages inside the segment. Where pages are larger than this the system refuses, and nothing happens.
        let start = (base + header.p_vaddr as usize).next_multiple_of(PAGE);
        let end = (base + header.p_vaddr as usize + header.p_filesz as usize) / PAGE * PAGE;
        if end > start {
            // SAFETY: the range lies inside one private, read-only mapping of a file, so that the same bytes
            // come back at the next access.
            unsafe {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
            }
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_goes_on_after_giving_back() {
        let kept: Vec<Vec<u8>> = (0..1_000).map(|size| vec![7; size]).collect();
        give_memory_back();
        forget_code_pages();
        give_memory_back();
        assert!(
            kept.iter().enumerate().all(|(size, bytes)| bytes.len() == size && bytes.iter().all(|byte| *byte == 7))
        );
        assert_eq!("code and constants".to_uppercase(), "CODE AND CONSTANTS");
    }
}
