//! Packs the built-in rules: as text they are half a megabyte of the program, most of it examples and comments
//! (docs/decisions/0073-a-smaller-program.md).

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::{env, fs};

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// The folders with rules.
const FOLDERS: [&str; 2] = ["fingerprints", "exposures"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    for folder in FOLDERS {
        println!("cargo:rerun-if-changed={folder}");
        let packed = Path::new(&out).join(folder);
        fs::create_dir_all(&packed)?;
        for file in fs::read_dir(folder)? {
            let file = file?.path();
            let Some(name) = file.file_name().filter(|_| file.extension().is_some_and(|end| end == "toml")) else {
                continue;
            };
            let mut packing = DeflateEncoder::new(fs::File::create(packed.join(name))?, Compression::best());
            packing.write_all(&fs::read(&file)?)?;
            packing.finish()?;
        }
    }
    Ok(())
}
