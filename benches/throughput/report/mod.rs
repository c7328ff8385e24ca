//! What is told at the end: every figure, what it should come to, and on what it was measured.

mod goals;
mod growth;
mod json;
mod lines;
mod markdown;
mod notes;
mod svg;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::bench::Bench;

/// Where the figures are kept when nothing else is said.
const JSON: &str = "target/throughput.json";

/// Prints the table, and writes the files.
///
/// # Errors
/// When a file cannot be written.
pub fn tell(args: &Args, bench: &Bench<'_>) -> io::Result<()> {
    let figures = &bench.figures;
    let notes = notes::of(bench);
    let table = markdown::table(figures, &bench.growth, &notes);
    println!("\n{table}");
    let json = args.json.clone().unwrap_or_else(|| here(JSON));
    write(&json, &json::of(figures, &notes, bench))?;
    if let Some(path) = &args.markdown {
        write(path, &table)?;
    }
    if let Some(path) = &args.svg {
        let machine = notes[0].split(';').next().unwrap_or_default();
        write(path, &svg::bars(figures, machine))?;
    }
    Ok(())
}

/// `cargo bench` runs in the package's folder, wherever it is called.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    println!("written: {}", path.display());
    Ok(())
}
