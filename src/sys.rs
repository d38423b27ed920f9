//! What only the C library can do: the one place with `unsafe`.
//!
//! Memory given back: `malloc_trim(3)` after a crowd has left, `madvise(2)` for the pages of the program that
//! only its start needed. Each call is complete in itself and leaves nothing behind that Rust could see. And the program's
//! allocator, the system's with one duty more: what is freed is overwritten, since a password passes through buffers of
//! libraries that nobody else could wipe.

#![allow(unsafe_code)] // Calls without a safe wrapper in any crate that is here already; each says why it is sound.

use std::alloc::{GlobalAlloc, Layout, System};

/// Freed blocks up to this size are overwritten: whatever holds a password is far below it, and what is above is left to the
/// system untouched.
const WIPED_BYTES_MAX: usize = 32 * 1024;

/// The system's allocator; small blocks are overwritten when they are given back. For the program alone: a host has its own.
#[derive(Debug)]
pub struct WipingAllocator;

// SAFETY: every call goes to the system's allocator with what it was given, so its promises are kept; what is overwritten
// before is the caller's own block, within its layout, which nobody uses any more.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that it asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's until here, and as long as its layout says.
        unsafe {
            wipe(block, layout);
            System.dealloc(block, layout);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size() > WIPED_BYTES_MAX {
            // SAFETY: as above.
            return unsafe { System.realloc(block, layout, size) };
        }
        // The system would move it and leave what was there behind.
        // SAFETY: `size` with the old alignment is a layout by the caller's promise; old and new do not overlap, and the
        // shorter of both is copied. On failure the old block stays the caller's.
        unsafe {
            let new = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// Overwrites a block, in a way that the compiler may not leave out.
///
/// # Safety
///
/// The block is as long as its layout says, and nobody uses it.
unsafe fn wipe(block: *mut u8, layout: Layout) {
    if layout.size() > WIPED_BYTES_MAX {
        return;
    }
    // SAFETY: by the function's own promise.
    unsafe { block.write_bytes(0, layout.size()) };
    std::hint::black_box(block);
}

/// Overwrites the stack below the caller, where functions that it has called may have left a password.
#[inline(never)]
pub(crate) fn wipe_stack<const BYTES: usize>() {
    let mut below = [0_u8; BYTES];
    std::hint::black_box(&mut below);
}

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

/// Has the calling thread let go of the blocks that the allocator set aside for it.
///
/// glibc sets a few freed blocks of each small size aside for each thread, where they keep their pages from being given
/// back: after a crowd more than all that is in use. They are taken out here and freed by a thread that ends at once: from
/// there they join what is free for all. Other C libraries set nothing aside.
pub(crate) fn empty_thread_cache() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const SIZES: usize = 64;
        const BLOCKS: usize = 7;
        let block = |at: usize| Vec::<u8>::with_capacity(24 + 16 * (at / BLOCKS));
        let blocks: Vec<Vec<u8>> = (0..SIZES * BLOCKS).map(block).collect();
        let helper = std::thread::Builder::new().name("room".to_owned()).stack_size(64 * 1024);
        match helper.spawn(move || drop(blocks)) {
            Ok(helper) => _ = helper.join(),
            Err(error) => log::debug!("no thread to empty the allocator's cache: {error}"),
        }
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

    /// The block itself is looked at before the system has it back: what `dealloc` does first.
    #[test]
    fn what_is_freed_is_overwritten_and_what_grows_is_kept() {
        let layout = Layout::from_size_align(64, 8).unwrap();
        // SAFETY: the block is made here, used within its size, and given back once.
        unsafe {
            let block = WipingAllocator.alloc(layout);
            block.write_bytes(7, 64);
            let grown = WipingAllocator.realloc(block, layout, 4096);
            let grown_layout = Layout::from_size_align(4096, 8).unwrap();
            assert!(std::slice::from_raw_parts(grown, 64).iter().all(|byte| *byte == 7));
            wipe(grown, grown_layout);
            assert!(std::slice::from_raw_parts(grown, 64).iter().all(|byte| *byte == 0));
            WipingAllocator.dealloc(grown, grown_layout);
        }
    }

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
