//! How the C library's allocator divides the heap: docs/decisions/0010-few-malloc-arenas.md.
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "mallopt has no safe form; the block says why it is sound")
)]

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
