//! Subgroups: threads that run together and can read each other's registers.

/// Threads of the device's smallest subgroup, `natively` as the adapter says; 0 where its shaders cannot name their neighbours.
///
/// wgpu asks a browser for no subgroups (gfx-rs/wgpu#10146), so `worker.js` does, and the device itself says what came of it.
#[cfg(target_arch = "wasm32")]
pub(super) fn size(device: &wgpu::Device, _natively: u32) -> usize {
    let Some(device) = device.as_webgpu() else { return 0 };
    let info = device.adapter_info();
    let there = device.features().has("subgroups") && !info.is_undefined();
    if there { info.subgroup_min_size() as usize } else { 0 }
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn size(device: &wgpu::Device, natively: u32) -> usize {
    if device.features().contains(wgpu::Features::SUBGROUP) { natively as usize } else { 0 }
}
