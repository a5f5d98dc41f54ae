//! What was measured on a device: which of its variants a kernel takes for a problem. Both are names that only the kernel
//! understands.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Gpu;

/// A device's measurements, as they are kept from one visit to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The device, the storage and the version of this library they were made with.
    pub device: String,
    /// The variant that was fastest, by problem.
    pub variants: BTreeMap<String, String>,
}

impl Table {
    /// As JSON.
    pub fn to_json(&self) -> String {
        let mut variants = Map::new();
        for (problem, variant) in &self.variants {
            variants.insert(problem.clone(), variant.as_str().into());
        }
        json!({ "device": self.device, "variants": variants }).to_string()
    }

    /// From JSON; `None` if it is none of ours: then it is measured again.
    pub fn from_json(text: &str) -> Option<Self> {
        let read: Value = serde_json::from_str(text).ok()?;
        let mut table = Self { device: read.get("device")?.as_str()?.to_string(), ..Self::default() };
        for (problem, variant) in read.get("variants")?.as_object()? {
            table.variants.insert(problem.clone(), variant.as_str()?.to_string());
        }
        Some(table)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Table {
    /// Where natively tables are kept: in the user's folder for what can be made again. `None` where there is no such folder.
    pub fn folder() -> Option<std::path::PathBuf> {
        let folder =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(std::path::PathBuf::from);
        let home = || folder("HOME").map(|home| home.join(".cache"));
        let caches = folder("XDG_CACHE_HOME").or_else(|| folder("LOCALAPPDATA")).or_else(home)?;
        Some(caches.join("wordbrush"))
    }

    /// A file for each device.
    fn file(folder: &std::path::Path, device: &str) -> std::path::PathBuf {
        use sha2::{Digest, Sha256};
        let hash: String = Sha256::digest(device).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        folder.join(format!("tuning-{hash}.json"))
    }

    /// The table of an earlier run on the device ([`Gpu::tuned_for`]), if there is one.
    pub fn load(folder: &std::path::Path, device: &str) -> Option<Self> {
        Self::from_json(&std::fs::read_to_string(Self::file(folder, device)).ok()?)
    }

    /// Keeps it for the next run, instead of the one before; those of other devices stay.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, folder: &std::path::Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(Self::file(folder, &self.device), self.to_json())
    }
}

/// The table in use, and what was asked of it.
#[derive(Default)]
pub(super) struct Tuning {
    variants: RefCell<BTreeMap<String, String>>,
    /// Multiplications and additions of the calls that asked, by problem, while a survey is made.
    survey: RefCell<Option<BTreeMap<String, u64>>>,
    /// Whether problems without an answer are measured before they are computed.
    measures: Cell<bool>,
}

impl Gpu {
    /// What a [`Table`] must be of to be used on this device.
    pub fn tuned_for(&self) -> String {
        let adapter = self.adapter();
        let version = env!("CARGO_PKG_VERSION");
        let Self { inner } = self;
        let memory = self.workgroup_memory() >> 10;
        let subgroups = adapter.subgroups;
        let matrices = adapter.matrices.map_or(String::new(), |side| format!(", matrices of {side}×{side}"));
        format!(
            "{} ({}, {:?}), {}, {memory} KiB, subgroups of {subgroups}{matrices}, wordbrush {version}",
            adapter.name,
            adapter.backend,
            adapter.vendor,
            inner.storage.name()
        )
    }

    /// Uses what was measured before; false if that was on another device or by another version.
    pub fn use_table(&self, table: Table) -> bool {
        let ours = table.device == self.tuned_for();
        if ours {
            for (problem, variant) in table.variants {
                self.note_fastest(problem, variant);
            }
        }
        ours
    }

    /// What was measured so far.
    pub fn table(&self) -> Table {
        Table { device: self.tuned_for(), variants: self.inner.tuning.variants.borrow().clone() }
    }

    /// Whether problems that the table does not know are measured before the first picture of a size: see
    /// [`set_measuring`](Self::set_measuring). Never on a device that only counts.
    pub fn measuring(&self) -> bool {
        self.inner.tuning.measures.get() && !self.inner.count_only
    }

    /// Switches that on or off; it is off at first.
    pub fn set_measuring(&self, on: bool) {
        self.inner.tuning.measures.set(on);
    }

    /// The variant that was fastest for a problem of so many multiplications and additions.
    pub fn fastest(&self, problem: &str, flops: u64) -> Option<String> {
        if let Some(survey) = self.inner.tuning.survey.borrow_mut().as_mut() {
            *survey.entry(problem.to_string()).or_default() += flops;
        }
        self.inner.tuning.variants.borrow().get(problem).cloned()
    }

    /// Notes which variant was fastest.
    pub fn note_fastest(&self, problem: String, variant: String) {
        self.inner.tuning.variants.borrow_mut().insert(problem, variant);
    }

    /// The problems that `calls` poses and the table does not know, with their multiplications and additions, the most
    /// first. Nothing is computed or takes memory.
    pub fn survey<T>(&self, calls: impl Fn() -> T) -> Vec<(String, u64)> {
        self.inner.tuning.survey.replace(Some(BTreeMap::new()));
        self.rehearse(&|| drop(calls()));
        let asked = self.inner.tuning.survey.take().unwrap_or_default();
        let known = self.inner.tuning.variants.borrow();
        let mut open: Vec<(String, u64)> = Vec::new();
        for (problem, flops) in asked.into_iter().filter(|(problem, _)| !known.contains_key(problem)) {
            let at = open.partition_point(|(_, more)| *more >= flops);
            open.insert(at, (problem, flops));
        }
        open
    }
}
