//! The program's heap: how the C library's allocator divides it (docs/decisions/0010-few-malloc-arenas.md), and what becomes of what
//! is freed (docs/decisions/0088-what-is-freed-is-overwritten.md).
#![expect(unsafe_code, reason = "mallopt and an allocator have no safe form; each block says why it is sound")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Most arenas. Each keeps what was freed in it for itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: usize = 4;

/// Lets threads share a few heaps instead of having up to eight per processor. Called before there is a second thread.
pub(crate) fn limit_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let arenas = i32::try_from(processors.min(ARENAS_MAX)).unwrap_or(1);
        // SAFETY: takes two numbers, no pointer, and may be called at any time; a value that it does not know is refused
        // and changes nothing.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    }
}

/// Whether this process may still have a secret that it does not keep: from the beginning, since the command line may hold one.
static BEGINS: AtomicBool = AtomicBool::new(true);

/// How many read one now.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// From here on what is freed stays as it is until it is used again, but while a secret is read: whatever this process began with and does
/// not keep is gone.
pub(crate) fn leave_what_is_freed() {
    BEGINS.store(false, Ordering::Relaxed);
}

/// Does what reads a secret and keeps none.
pub(crate) fn overwriting<T>(work: impl FnOnce() -> T) -> T {
    READERS.fetch_add(1, Ordering::Relaxed);
    let done = work();
    READERS.fetch_sub(1, Ordering::Relaxed);
    done
}

fn overwrites() -> bool {
    BEGINS.load(Ordering::Relaxed) || READERS.load(Ordering::Relaxed) > 0
}

/// The system's allocator, which overwrites what is freed at first and while a file that may have a secret is read. A secret that came by the command line, the environment or a file
/// passes through the parsers of libraries, which leave pieces of it behind wherever they put it.
#[derive(Debug)]
pub struct Heap;

// SAFETY: every block is the system's, with the layout that it was asked for. Beside that, bytes are written into a block alone that its
// owner gives back, which is whole and nobody else's until the system has it.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what is asked of us is asked of the system as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if overwrites() {
            // SAFETY: the block has this size, and is its owner's until the next line. What is written there is looked at by nobody that
            // the compiler knows, so that it would leave it out.
            unsafe { block.write_bytes(0, layout.size()) };
            black_box(block);
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !overwrites() {
            // SAFETY: as above.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: whoever asks for another size holds that it makes a layout with this alignment.
        let to = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the new block is not the old one, and both have the bytes that are copied.
        unsafe {
            let new = self.alloc(to);
            if !new.is_null() {
                block.copy_to_nonoverlapping(new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}
