//! The program, under its two names: `pentora-node`, by which it runs as a service, and `pentora`, the one people type.
//!
//! There is one file. The second name is a link to it that `make build` and `make install` make, because a program of
//! this size is not linked, stored and shipped twice for a name.

use std::path::Path;

/// What is freed is overwritten while there may be a secret in it that this process does not keep.
#[global_allocator]
static HEAP: pentora_node::malloc::Heap = pentora_node::malloc::Heap;

fn main() -> std::process::ExitCode {
    let called = std::env::args_os().next();
    let is_service = called.as_deref().and_then(|path| Path::new(path).file_name()).is_some_and(|name| name == NODE);
    pentora_node::dispatch::main(if is_service { NODE } else { "pentora" })
}

/// The name of the file. Whatever else the program is called by, help and completions say `pentora`.
const NODE: &str = "pentora-node";

/// What is called by these names is here, as the `libm` package has it, and not in the C library's mathematics, which would be 0.9 MB beside
/// the program for six functions (docs/decisions/0073-a-smaller-program.md). A test's program has the C library's.
macro_rules! mathematics {
    ($($name:ident($($x:ident),+);)+) => {$(
        #[expect(unsafe_code, reason = "C's name for a function of C's shape, which takes and answers numbers")]
        #[unsafe(no_mangle)]
        extern "C" fn $name($($x: f64),+) -> f64 {
            libm::$name($($x),+)
        }
    )+};
}
mathematics! {
    exp(x);
    log(x);
    log2(x);
    pow(x, y);
    sin(x);
}

/// The same. What has no number of this kind is the nearest that there is; C leaves it open.
#[expect(unsafe_code, reason = "C's name for a function of C's shape, which takes and answers numbers")]
#[expect(clippy::cast_possible_truncation, reason = "a number with a fraction becomes one without")]
#[unsafe(no_mangle)]
extern "C" fn llround(x: f64) -> i64 {
    libm::round(x) as i64
}
