//! The report at the end: every figure, its target, and the conditions of the run.

mod goals;
mod growth;
mod json;
mod lines;
mod markdown;
mod notes;
mod pages;
mod svg;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::bench::Bench;

/// The default path of the figures as JSON.
const JSON: &str = "target/throughput.json";

/// Prints the tables and writes the files.
///
/// # Errors
/// When a file cannot be written.
pub fn write(args: &Args, bench: &Bench<'_>) -> io::Result<()> {
    let figures = &bench.figures;
    let notes = notes::of(bench);
    let table = markdown::table(bench, &notes);
    println!("\n{table}");
    let json = args.json.clone().unwrap_or_else(|| here(JSON));
    write_file(&json, &json::of(figures, &notes, bench))?;
    if let Some(path) = &args.markdown {
        write_file(path, &table)?;
    }
    if let Some(path) = &args.svg {
        let machine = notes[0].split(';').next().unwrap_or_default();
        write_file(path, &svg::bars(figures, machine))?;
    }
    Ok(())
}

/// A path in the package's folder.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    println!("written: {}", path.display());
    Ok(())
}
