//! How the program is linked: smaller, where this machine's linker and C library can do that (docs/decisions/0073). Nothing is generated
//! here, and where anything is unknown the program is linked as any other.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// From this minor release on, glibc reads packed relocations. The linker notes it in the program, so an older one says what it
/// lacks.
const PACKED_SINCE: u32 = 36;

/// What options are tried on: a program that does nothing, and one that calls the C++ library, as RocksDB does.
const NOTHING: &str = "fn main() {}\n";
const CALLS_CXX: &str = "unsafe extern \"C\" { fn __cxa_get_globals() -> *const u8; }\n\
    fn main() { assert!(!unsafe { __cxa_get_globals() }.is_null()); }\n";

fn main() {
    for name in ["RUSTC", "RUSTC_LINKER", "CARGO_ENCODED_RUSTFLAGS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    if !is_for_here() {
        return;
    }
    // Functions of the same code are one: nothing here compares the addresses of functions.
    pass_on("-Wl,--icf=all", NOTHING, &[]);
    if minor_of("getconf", &["GNU_LIBC_VERSION"], "glibc 2.").is_some_and(|minor| minor >= PACKED_SINCE) {
        pass_on("-Wl,-z,pack-relative-relocs", NOTHING, &[]);
    }
    // What RocksDB uses of the C++ library is less than half of it.
    if let Some(folder) = folder_with_cxx_archive() {
        pass_on(&format!("-L{}", folder.display()), CALLS_CXX, &["-lstdc++"]);
    }
}

/// A folder in which nothing but the C++ library as an archive is found: where it is searched first, `-lstdc++` is that and not the
/// shared one.
fn folder_with_cxx_archive() -> Option<PathBuf> {
    let answer = Command::new("c++").arg("-print-file-name=libstdc++.a").output().ok()?;
    let archive = String::from_utf8(answer.stdout).ok().map(|path| PathBuf::from(path.trim()))?;
    let folder = Path::new(&env::var_os("OUT_DIR")?).join("cxx");
    fs::create_dir_all(&folder).ok()?;
    let link = folder.join("libstdc++.a");
    drop(fs::remove_file(&link));
    // Where there is none, its bare name is answered.
    (archive.is_absolute() && archive.exists() && symlink(archive, link).is_ok()).then_some(folder)
}

/// Whether the program is for this machine, and rustc was told nothing of a linker.
fn is_for_here() -> bool {
    let is_here = of("TARGET") == "x86_64-unknown-linux-gnu" && of("HOST") == of("TARGET");
    is_here && env::var_os("RUSTC_LINKER").is_none() && !of("CARGO_ENCODED_RUSTFLAGS").contains("link")
}

/// Has the program linked with `option`, if a smaller one could be and runs: which linker rustc takes is its builders' choice, and
/// one that does not know an option stops at it.
fn pass_on(option: &str, tried_on: &str, libraries: &[&str]) {
    if is_known(option, tried_on, libraries).unwrap_or(false) {
        println!("cargo:rustc-link-arg-bins={option}");
    }
}

/// Whether a small program is linked with `option`, and runs; `None` where that cannot be tried.
fn is_known(option: &str, tried_on: &str, libraries: &[&str]) -> Option<bool> {
    let folder = env::var_os("OUT_DIR")?;
    let (source, program) = (Path::new(&folder).join("linked.rs"), Path::new(&folder).join("linked"));
    fs::write(&source, tried_on).ok()?;
    let flags = of("CARGO_ENCODED_RUSTFLAGS");
    let mut rustc = Command::new(env::var_os("RUSTC")?);
    rustc
        .args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()))
        .arg(format!("-Clink-arg={option}"))
        .args(libraries);
    let is_linked = rustc.arg(&source).arg("-o").arg(&program).output().ok()?.status.success();
    Some(is_linked && Command::new(&program).output().ok()?.status.success())
}

/// What is said under this name.
fn of(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// The number behind `prefix` in what a program says of its version.
fn minor_of(program: &str, words: &[&str], prefix: &str) -> Option<u32> {
    let said = Command::new(program).args(words).output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    said.strip_prefix(prefix)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
