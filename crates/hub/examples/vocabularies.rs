//! Tokenises llama.cpp's own test texts with the vocabularies it ships (`models/ggml-vocab-*.gguf`, with `.inp` and
//! `.out` beside them) and says where ids differ: `vocabularies FOLDER`.

#![expect(clippy::print_stdout, reason = "an example that prints")]

use std::error::Error;
use std::path::{Path, PathBuf};

const BETWEEN: &str = "\n__ggml_vocab_test__\n";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("usage: vocabularies FOLDER")?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "gguf"))
        .filter(|path| beside(path, "inp").is_file())
        .collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        match equal(&file) {
            Ok((same, all, None)) => println!("{name}: {same} of {all} texts"),
            Ok((same, all, Some(first))) => println!("{name}: {same} of {all} texts; {first}"),
            Err(error) => println!("{name}: not read: {error}"),
        }
    }
    Ok(())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.{ending}", file.display()))
}

/// How many of how many texts have the same ids, and the first that has not.
fn equal(file: &Path) -> Result<(usize, usize, Option<String>), Box<dyn Error>> {
    let tokenizer = hub::tokenizer(file)?;
    let texts = std::fs::read_to_string(beside(file, "inp"))?;
    let expected = std::fs::read_to_string(beside(file, "out"))?;
    let (mut same, mut all, mut first) = (0, 0, None);
    for (text, line) in texts.split(BETWEEN).zip(expected.lines()) {
        let ids: Vec<u32> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let got = tokenizer.encode(text)?;
        all += 1;
        if got == ids {
            same += 1;
        } else {
            first.get_or_insert(format!("{text:?} is {got:?}, expected {ids:?}"));
        }
    }
    Ok((same, all, first))
}
