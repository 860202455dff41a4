//! The machine below a simulation: its clocks show the simulation's time, and its randomness comes from the seed.
//!
//! The code that is simulated reads clocks and draws numbers in many places, in libraries as well, and none of them should
//! have to know. So the two functions of the system that all of that ends in are replaced in the program of the tests: here
//! they are the simulation's, in a process that has begun one, and the system's in every other. Threads that belong to no
//! runtime keep the system's clocks.

#![expect(unsafe_code, reason = "the system's functions take and fill what pointers lead to")]

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// What the monotonic clock shows when the simulation begins, in seconds; any number.
const MONOTONIC: libc::time_t = 1_000;
/// What the wall clock shows then: in the year 2027.
const WALL: libc::time_t = 1_800_000_000;

static IS_SIMULATED: AtomicBool = AtomicBool::new(false);
static SEED: AtomicU64 = AtomicU64::new(0);
/// When time began to run. Until then it stands.
static BEGAN: OnceLock<Instant> = OnceLock::new();

thread_local! {
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

/// From here on this process is simulated: clocks stand, and what is random comes from `seed`.
pub(super) fn simulate(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    IS_SIMULATED.store(true, Ordering::Release);
}

/// From here on clocks show the time of the runtime that this is called in.
pub(super) fn begin() {
    BEGAN.get_or_init(Instant::now);
}

/// For how long the simulation has gone on; `None` where the system's clock is meant.
fn elapsed() -> Option<Duration> {
    if !IS_SIMULATED.load(Ordering::Acquire) || IS_ASKING.get() {
        return None;
    }
    let Some(began) = BEGAN.get() else { return Some(Duration::ZERO) };
    // The runtime may ask the system in turn.
    IS_ASKING.set(true);
    let elapsed = Handle::try_current().ok().map(|_runtime| Instant::now().duration_since(*began));
    IS_ASKING.set(false);
    elapsed
}

/// The next number of this thread's, by Steele, Lea and Flood's SplitMix64.
fn draw() -> u64 {
    let drawn = DRAWN.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    DRAWN.set(drawn);
    let mixed = SEED.load(Ordering::Relaxed).wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(drawn);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// clock_gettime(2).
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let origin = match clock {
        libc::CLOCK_MONOTONIC => Some(MONOTONIC),
        libc::CLOCK_REALTIME => Some(WALL),
        _ => None,
    };
    if let Some(origin) = origin
        && let Some(elapsed) = elapsed()
    {
        let seconds = libc::time_t::try_from(elapsed.as_secs()).unwrap_or(0);
        let shown = libc::timespec { tv_sec: origin + seconds, tv_nsec: elapsed.subsec_nanos().into() };
        // SAFETY: whoever calls this function of the system's says that `time` leads to a place for it.
        unsafe { time.write(shown) };
        return 0;
    }
    // SAFETY: as above, for the system.
    let answer = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    libc::c_int::try_from(answer).unwrap_or(-1)
}

/// getrandom(2).
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut libc::c_void, length: libc::size_t, flags: libc::c_uint) -> libc::ssize_t {
    if !IS_SIMULATED.load(Ordering::Acquire) {
        // SAFETY: whoever calls this function of the system's says that `buffer` has `length` bytes.
        let answer = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return libc::ssize_t::try_from(answer).unwrap_or(-1);
    }
    let mut filled = 0;
    while filled < length {
        let bytes = draw().to_ne_bytes();
        let count = bytes.len().min(length - filled);
        // SAFETY: as above; `filled + count` is at most `length`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast::<u8>().add(filled), count) };
        filled += count;
    }
    libc::ssize_t::try_from(filled).unwrap_or(-1)
}
