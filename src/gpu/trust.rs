//! What wgpu is told to take on trust: the only `unsafe` there is.

/// wgpu's word for it that features may be used whose shaders it does not yet check fully. Ours are its own text, not a page's: the only
/// one that uses the feature is `gemm_cooperative.wgsl`.
#[allow(unsafe_code, reason = "wgpu has no other way to say so")]
pub(super) fn experiment() -> wgpu::ExperimentalFeatures {
    // SAFETY: what is asked for is to know of it, and to report what turns up.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// A shader whose loops end: wgpu need not give each of them a second way out, which may keep compilers from unrolling it. What is read or
/// written is still checked against its bounds. In a browser all this is the browser's.
#[allow(unsafe_code, reason = "wgpu has no other way to say so")]
pub(super) fn module(device: &wgpu::Device, module: wgpu::ShaderModuleDescriptor) -> wgpu::ShaderModule {
    let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: every loop of the kernels counts to a constant or to a size that the CPU knows, whatever the numbers in buffers are.
    unsafe { device.create_shader_module_trusted(module, checks) }
}
