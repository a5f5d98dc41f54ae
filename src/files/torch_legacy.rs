//! Torch files from before 1.6: five pickles, then the storages one after the other.

use std::borrow::Cow;
use std::collections::HashMap;

use super::array::DType;
use super::pickle::{Pickle, Value};
use super::shown;
use super::torch_file::TorchFile;
use crate::error::{Code, Error, Result};

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const VERSION: i128 = 1001;

/// Reads the object and the storages.
pub fn read<'a>(file: &str, bytes: &'a [u8]) -> Result<TorchFile<'a>> {
    let mut at = 0;
    let mut next = || {
        let pickle = Pickle::read(file, bytes.get(at..).unwrap_or_default())?;
        at += pickle.consumed();
        Ok::<_, Error>(pickle)
    };
    let (magic, version, system, object, keys) = (next()?, next()?, next()?, next()?, next()?);
    if *magic.get(magic.root()) != Value::Int(MAGIC) || *version.get(version.root()) != Value::Int(VERSION) {
        return Err(bad(file, "it is not of version 1001, the only one torch ever wrote"));
    }
    let system_pairs = system.pairs(system.root()).unwrap_or_default();
    let order = system_pairs.iter().find(|(key, _)| key == "little_endian").map(|(_, value)| system.get(*value));
    let storages = read_storages(file, bytes.get(at..).unwrap_or_default(), &object, &keys)?;
    Ok(TorchFile { file: file.to_string(), pickle: object, storages, big_endian: order == Some(&Value::Bool(false)) })
}

fn bad(file: &str, what: &str) -> Error {
    Error::new(Code::BadPickle, format!("{} is damaged: {what}.", shown(file)))
}

/// The storages lie in the order of the list of keys; how wide their elements are, only the object tells.
fn read_storages<'a>(
    file: &str,
    mut rest: &'a [u8],
    object: &Pickle,
    keys: &Pickle,
) -> Result<HashMap<String, Cow<'a, [u8]>>> {
    let mut types: HashMap<&str, DType> = HashMap::new();
    for value in object.values() {
        if let Value::Storage(storage) = value {
            let dtype = *types.entry(&storage.key).or_insert(storage.dtype);
            if dtype != storage.dtype {
                return Err(bad(file, &format!("storage \"{}\" has two element types", shown(&storage.key))));
            }
        }
    }
    let Value::List(list) = keys.get(keys.root()) else { return Err(bad(file, "the list of its storages is missing")) };
    let mut storages = HashMap::new();
    for id in list {
        let Value::Text(key) = keys.get(*id) else { return Err(bad(file, "a storage's key is no text")) };
        let Some(dtype) = types.get(key.as_str()) else {
            return Err(bad(file, &format!("no tensor uses storage \"{}\"", shown(key))));
        };
        let numel = rest.split_first_chunk::<8>().map(|(numel, after)| (u64::from_le_bytes(*numel), after));
        let taken = numel.and_then(|(numel, after)| {
            let length = usize::try_from(numel.checked_mul(dtype.size() as u64)?).ok()?;
            after.split_at_checked(length)
        });
        let Some((content, after)) = taken else {
            let message = format!("{} is cut short: the tensor data \"{}\" is not all there.", shown(file), shown(key));
            return Err(Error::new(Code::Truncated, message));
        };
        storages.insert(key.clone(), Cow::Borrowed(content));
        rest = after;
    }
    Ok(storages)
}
