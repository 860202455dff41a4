//! How the program is linked: smaller, where this machine's linker and C library can do that (docs/decisions/0073). Nothing is generated
//! here, and where anything is unknown the program is linked as any other.

use std::env;
use std::process::Command;

/// From this minor release on, rustc links programs for x86_64 Linux by LLD unless it is told another linker.
const LLD_SINCE: u32 = 90;
/// From this minor release on, glibc reads packed relocations. The linker notes it in the program, so an older one says what it
/// lacks.
const PACKED_SINCE: u32 = 36;

fn main() {
    for name in ["RUSTC_LINKER", "CARGO_ENCODED_RUSTFLAGS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    if !is_linked_by_lld() {
        return;
    }
    // Functions of the same code are one: nothing here compares the addresses of functions.
    println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    if minor_of("getconf", &["GNU_LIBC_VERSION"], "glibc 2.").is_some_and(|minor| minor >= PACKED_SINCE) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the program is for this machine, and rustc was told nothing of a linker.
fn is_linked_by_lld() -> bool {
    let of = |name: &str| env::var(name).unwrap_or_default();
    let is_here = of("TARGET") == "x86_64-unknown-linux-gnu" && of("HOST") == of("TARGET");
    let is_told = env::var_os("RUSTC_LINKER").is_some() || of("CARGO_ENCODED_RUSTFLAGS").contains("link");
    is_here && !is_told && minor_of(&of("RUSTC"), &["--version"], "rustc 1.").is_some_and(|minor| minor >= LLD_SINCE)
}

/// The number behind `prefix` in what a program says of its version.
fn minor_of(program: &str, words: &[&str], prefix: &str) -> Option<u32> {
    let said = Command::new(program).args(words).output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    said.strip_prefix(prefix)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
