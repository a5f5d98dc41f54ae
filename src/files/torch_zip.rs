//! The zip container of torch files since 1.6: `X/data.pkl`, `X/data/0`, `X/data/1`, …

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Cursor, Read};

use zip::read::ZipReadOptions;
use zip::{CompressionMethod, ZipArchive};

use super::pickle::Pickle;
use super::torch_file::TorchFile;
use super::{clipped, shown};
use crate::error::{Code, Error, Result};

const MOST_ENTRIES: usize = 4096;
const LONGEST_PICKLE: u64 = 4 << 20;
/// All entries together, unpacked: a compressed entry must not grow beyond what an embedding can be.
const MOST_UNPACKED: u64 = 32 << 20;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// Reads the object and the storages. Entries that torch does not write are never opened.
pub fn read<'a>(file: &str, bytes: &'a [u8]) -> Result<TorchFile<'a>> {
    let damaged = |e: zip::result::ZipError| bad(file, &clipped(&e.to_string(), 120));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() > MOST_ENTRIES {
        return Err(bad(file, &format!("it has {} entries, the most is {MOST_ENTRIES}", archive.len())));
    }
    // Two readers of such a file may see two different contents: a way to hide things from scanners.
    if archive.has_duplicate_names() || archive.has_overlapping_entries().map_err(damaged)? {
        return Err(bad(file, "two of its entries have one name or share their bytes"));
    }
    let names: Vec<String> = archive.file_names_raw().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let root = root_of(file, &names)?;
    let mut left = MOST_UNPACKED;
    let mut entry = |index: usize, most: u64| {
        let content = unpack(file, bytes, &mut archive, index, most.min(left))?;
        left = left.saturating_sub(content.len() as u64);
        Ok::<_, Error>(content)
    };
    let (mut pickle, mut storages, mut big_endian) = (None, HashMap::new(), false);
    for (index, name) in names.iter().enumerate() {
        let Some(inner) = name.strip_prefix(root) else { continue };
        match inner.strip_prefix("data/") {
            _ if inner == "data.pkl" => pickle = Some(entry(index, LONGEST_PICKLE)?),
            _ if inner == "byteorder" => big_endian = entry(index, 16)?.starts_with(b"big"),
            Some(key) if is_key(key) => drop(storages.insert(key.to_string(), entry(index, MOST_UNPACKED)?)),
            _ => {}
        }
    }
    let pickle = pickle.ok_or_else(|| bad(file, "its data.pkl cannot be found"))?;
    Ok(TorchFile { file: file.to_string(), pickle: Pickle::read(file, &pickle)?, storages, big_endian })
}

fn bad(file: &str, what: &str) -> Error {
    Error::new(Code::BadZip, format!("{} is no sound PyTorch file: {what}.", shown(file)))
}

/// torch numbers its storages.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}

/// The folder (with its slash) that holds the one `data.pkl`.
fn root_of<'n>(file: &str, names: &'n [String]) -> Result<&'n str> {
    let pickles: Vec<_> = names.iter().filter_map(|name| Some((name, name.strip_suffix("data.pkl")?))).collect();
    match pickles.as_slice() {
        [(_, root)] if root.strip_suffix('/').is_some_and(|root| !root.is_empty() && !root.contains('/')) => Ok(root),
        [(name, _)] => Err(bad(file, &format!("its pickle lies at \"{}\", expected FOLDER/data.pkl", shown(name)))),
        [] => {
            let message = format!(
                "{} is a zip archive without a data.pkl, so PyTorch did not write it. If files were packed into it, unpack them first.",
                shown(file)
            );
            Err(Error::new(Code::BadZip, message))
        }
        _ => Err(bad(file, &format!("it has {} files named data.pkl, expected one", pickles.len()))),
    }
}

/// An entry's content, at most `most` bytes, whatever it declares.
fn unpack<'a>(file: &str, bytes: &'a [u8], archive: &mut Archive, index: usize, most: u64) -> Result<Cow<'a, [u8]>> {
    let damaged = |what: &dyn std::fmt::Display| bad(file, &clipped(&what.to_string(), 120));
    // torch.save may be told to leave the checksums out; they are zero then.
    let checked = archive.by_index_data(index).map_err(|e| damaged(&e))?.crc32() != 0;
    let options = ZipReadOptions::new().ignore_crc32(!checked);
    let entry = archive.by_index_with_options(index, options).map_err(|e| damaged(&e))?;
    let name = shown(&String::from_utf8_lossy(entry.name_raw()));
    let (packed, size, method) = (entry.compressed_size(), entry.size(), entry.compression());
    if packed > bytes.len() as u64 || (method == CompressionMethod::Stored && packed != size) {
        return Err(bad(file, &format!("\"{name}\" claims {packed} bytes for its content of {size}")));
    }
    if size > most {
        let message = format!("{}: \"{name}\" unpacks to {size} bytes, the most is {most}.", shown(file));
        return Err(Error::new(Code::TooLarge, message));
    }
    let mut content = Vec::new();
    entry.take(size + 1).read_to_end(&mut content).map_err(|e| damaged(&e))?;
    if content.len() as u64 != size {
        return Err(bad(file, &format!("\"{name}\" claims {size} bytes and has {}", content.len())));
    }
    Ok(Cow::Owned(content))
}
