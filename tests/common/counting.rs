//! A counting allocator, for test and bench binaries that ask what the server allocates.
//!
//! Only what happens inside [`counted`], on the calling thread, is counted.

// A counting allocator cannot be written without it; it only passes calls on.
#![allow(unsafe_code)]
#![allow(dead_code, reason = "each binary uses its own part of this")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
    static LIVE_BLOCKS: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: isize, blocks: isize) {
    // A thread that is ending has no cells any more, and is none that we measure.
    let counted = COUNTED.try_with(Cell::get).unwrap_or(false);
    if counted {
        let _ = LIVE_BYTES.try_with(|live| live.set(live.get() + bytes));
        let _ = LIVE_BLOCKS.try_with(|live| live.set(live.get() + blocks));
        if bytes > 0 {
            let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        }
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize, 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize), -1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size as isize - layout.size() as isize, 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` with its allocations counted.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> T {
    COUNTED.set(true);
    let result = work();
    COUNTED.set(false);
    result
}

/// Bytes allocated and not freed inside [`counted`] so far.
pub(crate) fn live_bytes() -> isize {
    LIVE_BYTES.get()
}

/// Blocks allocated and not freed inside [`counted`] so far.
pub(crate) fn live_blocks() -> isize {
    LIVE_BLOCKS.get()
}

/// Allocations inside [`counted`] so far, growing reallocations included.
pub(crate) fn allocations() -> usize {
    ALLOCATIONS.get()
}
