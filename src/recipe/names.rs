//! One name for each sampler and scheduler, ComfyUI's, and what A1111 calls it.

/// A sampler's two names, and the scheduler A1111 takes for it when told "Automatic".
struct Sampler {
    comfy: &'static str,
    a1111: &'static str,
    automatic: &'static str,
}

const fn sampler(comfy: &'static str, a1111: &'static str, automatic: &'static str) -> Sampler {
    Sampler { comfy, a1111, automatic }
}

/// Where two of ComfyUI's samplers are one of A1111's, the first is the one that A1111's name is read as.
const SAMPLERS: [Sampler; 24] = [
    sampler("euler", "Euler", "normal"),
    sampler("euler_ancestral", "Euler a", "normal"),
    sampler("heun", "Heun", "normal"),
    sampler("dpmpp_2m", "DPM++ 2M", "karras"),
    sampler("dpmpp_2m_sde", "DPM++ 2M SDE", "exponential"),
    sampler("dpmpp_2m_sde_gpu", "DPM++ 2M SDE", "exponential"),
    sampler("dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun", "exponential"),
    sampler("dpmpp_2m_sde_heun_gpu", "DPM++ 2M SDE Heun", "exponential"),
    sampler("dpmpp_sde", "DPM++ SDE", "karras"),
    sampler("dpmpp_sde_gpu", "DPM++ SDE", "karras"),
    sampler("dpmpp_3m_sde", "DPM++ 3M SDE", "exponential"),
    sampler("dpmpp_3m_sde_gpu", "DPM++ 3M SDE", "exponential"),
    sampler("dpmpp_2s_ancestral", "DPM++ 2S a", "karras"),
    sampler("dpm_2", "DPM2", "karras"),
    sampler("dpm_2_ancestral", "DPM2 a", "karras"),
    sampler("dpm_fast", "DPM fast", "normal"),
    sampler("dpm_adaptive", "DPM adaptive", "normal"),
    sampler("lms", "LMS", "normal"),
    sampler("ddim", "DDIM", "ddim_uniform"),
    // ComfyUI has no PLMS and no Restart; the latter is not run here and keeps A1111's name.
    sampler("plms", "PLMS", "normal"),
    sampler("Restart", "Restart", "karras"),
    sampler("uni_pc", "UniPC", "normal"),
    sampler("uni_pc_bh2", "UniPC", "normal"),
    sampler("lcm", "LCM", "sgm_uniform"),
];

/// ComfyUI's scheduler and A1111's. The first row with a name is the one it is written or read as.
const SCHEDULERS: [(&str, &str); 12] = [
    ("normal", "Normal"),
    // k-diffusion's `get_sigmas`: the same noise levels as ComfyUI's "normal".
    ("normal", "Uniform"),
    ("karras", "Karras"),
    ("exponential", "Exponential"),
    // With ρ = 1, which is A1111's, the polyexponential schedule is the exponential one.
    ("exponential", "Polyexponential"),
    ("sgm_uniform", "SGM Uniform"),
    ("kl_optimal", "KL Optimal"),
    ("simple", "Simple"),
    ("ddim_uniform", "DDIM"),
    ("beta", "Beta"),
    ("align_your_steps", "Align Your Steps"),
    ("turbo", "Turbo"),
];

/// ComfyUI's schedulers that A1111 lacks.
const ONLY_COMFY: [&str; 1] = ["linear_quadratic"];

/// What A1111 calls a sampler of ComfyUI's; a name it has no word for stays.
pub fn a1111_sampler(comfy: &str) -> &str {
    SAMPLERS.iter().find(|known| known.comfy == comfy).map_or(comfy, |known| known.a1111)
}

/// What A1111 calls a scheduler of ComfyUI's; a name it has no word for stays.
pub fn a1111_scheduler(comfy: &str) -> &str {
    SCHEDULERS.iter().find(|(name, _)| *name == comfy).map_or(comfy, |(_, a1111)| a1111)
}

/// A1111's sampler as ComfyUI calls it, and the scheduler that names of before version 1.9 carry at their end
/// (`DPM++ 2M Karras`). A name nobody knows stays as it is.
pub fn sampler_of_a1111(name: &str) -> (String, Option<&'static str>) {
    if let Some(known) = known_sampler(name) {
        return (known.comfy.to_string(), None);
    }
    for (scheduler, suffix) in SCHEDULERS {
        // The cut is a character boundary: what follows it is ASCII.
        let Some(at) = name.len().checked_sub(suffix.len()).filter(|at| name.is_char_boundary(*at)) else { continue };
        let (front, back) = name.split_at(at);
        if back.eq_ignore_ascii_case(suffix) && front.ends_with(' ') {
            if let Some(known) = known_sampler(front.trim_end()) {
                return (known.comfy.to_string(), Some(scheduler));
            }
        }
    }
    (name.to_string(), None)
}

/// A1111's scheduler as ComfyUI calls it; `None` for "Automatic", which is a question to the sampler.
pub fn scheduler_of_a1111(name: &str) -> Option<String> {
    if name.is_empty() || name.eq_ignore_ascii_case("automatic") {
        return None;
    }
    let known = SCHEDULERS.iter().find(|(comfy, a1111)| a1111.eq_ignore_ascii_case(name) || *comfy == name);
    Some(known.map_or(name, |(comfy, _)| comfy).to_string())
}

/// The scheduler that A1111 takes for a sampler (ComfyUI's name) when it is told "Automatic".
pub fn automatic_scheduler(comfy: &str) -> Option<&'static str> {
    SAMPLERS.iter().find(|known| known.comfy == comfy).map(|known| known.automatic)
}

/// Whether ComfyUI or A1111 has a sampler of this name (ComfyUI's where there is one).
pub fn is_sampler(name: &str) -> bool {
    // ComfyUI has more than the two have in common; those below have no name in A1111.
    const MORE: [&str; 6] = ["euler_cfg_pp", "euler_ancestral_cfg_pp", "heunpp2", "ddpm", "ipndm", "deis"];
    SAMPLERS.iter().any(|known| known.comfy == name) || MORE.contains(&name)
}

/// Whether ComfyUI or A1111 has a scheduler of this name (ComfyUI's where there is one).
pub fn is_scheduler(name: &str) -> bool {
    SCHEDULERS.iter().any(|(comfy, _)| *comfy == name) || ONLY_COMFY.contains(&name)
}

fn known_sampler(name: &str) -> Option<&'static Sampler> {
    SAMPLERS.iter().find(|known| known.a1111.eq_ignore_ascii_case(name) || known.comfy == name)
}
