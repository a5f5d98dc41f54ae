//! Whose GPU it is: what kernels do where nothing was measured depends on it.

/// The maker of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vendor {
    /// M1 and later, A-series.
    Apple,
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Any other, or not told.
    #[default]
    Other,
}

impl Vendor {
    /// Natively: by the number of the PCI bus, or by name where a driver gives none.
    pub(super) fn of(info: &wgpu::AdapterInfo) -> Self {
        match info.vendor {
            0x106b => Vendor::Apple,
            0x10de => Vendor::Nvidia,
            0x1002 => Vendor::Amd,
            0x8086 => Vendor::Intel,
            _ => Self::named(&info.name),
        }
    }

    /// In a browser, which gives its own names for the vendor and the architecture; wgpu does not pass them on.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn told_by(device: &wgpu::Device) -> Option<(Self, String)> {
        let info = device.as_webgpu()?.adapter_info();
        (!info.is_undefined())
            .then(|| (Self::named(&info.vendor()), format!("{} {}", info.vendor(), info.architecture())))
    }

    /// In a browser only.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn told_by(_: &wgpu::Device) -> Option<(Self, String)> {
        None
    }

    fn named(name: &str) -> Self {
        let name = name.to_lowercase();
        let known =
            [("apple", Vendor::Apple), ("nvidia", Vendor::Nvidia), ("amd", Vendor::Amd), ("intel", Vendor::Intel)];
        known.into_iter().find(|(part, _)| name.contains(part)).map_or(Vendor::Other, |(_, vendor)| vendor)
    }
}
