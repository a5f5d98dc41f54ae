//! Matrix units ("tensor cores", VK_KHR_cooperative_matrix), which wgpu offers natively and as an experiment. Browsers have none.
//!
//! A shader that names matrices is compiled for Vulkan's memory model, and naga 30 writes neither the loads of matrices nor barriers
//! as that model wants them (gfx-rs/wgpu#8805): a driver may reorder them. So [`Options::matrices`](super::Options::matrices) has to ask.

/// The side of the matrices that the adapter multiplies, of halves into 32-bit sums, if they spread over its threads as the kernel
/// `gemm_cooperative.wgsl` wants it: eight sums of side × side for the 64 numbers that each thread of a subgroup has.
pub(super) fn offered(adapter: &wgpu::Adapter) -> Option<usize> {
    let info = adapter.get_info();
    if !adapter.features().contains(FEATURES) || info.subgroup_min_size != info.subgroup_max_size {
        return None;
    }
    let mut sides: Vec<u32> = adapter.cooperative_matrix_properties().iter().filter_map(side).collect();
    sides.retain(|side| 8 * side * side == 64 * info.subgroup_min_size);
    sides.first().map(|&side| side as usize)
}

/// What the kernel needs of the device.
pub(super) const FEATURES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SUBGROUP).union(wgpu::Features::SHADER_F16);

/// Of square matrices of halves that are summed as 32-bit floats.
fn side(offered: &wgpu::CooperativeMatrixProperties) -> Option<u32> {
    let wgpu::CooperativeMatrixProperties { m_size, n_size, k_size, ab_type, cr_type, .. } = *offered;
    let halves = ab_type == wgpu::CooperativeScalarType::F16 && cr_type == wgpu::CooperativeScalarType::F32;
    (halves && m_size == n_size && n_size == k_size).then_some(m_size)
}
