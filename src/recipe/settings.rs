//! What infotexts call the settings of noise, sampler and guidance that have no field in a [`Recipe`](super::Recipe): they
//! are among its extras.

/// How an infotext says that embeddings were kept whole: other programs pass over a key they do not know.
pub const KEEP_WHOLE: (&str, &str) = ("Keep embeddings whole", "True");

/// A1111's second seed.
pub const VARIATION_SEED: &str = "Variation seed";
/// How far the noise is turned towards the variation's.
pub const VARIATION_STRENGTH: &str = "Variation seed strength";
/// A1111's "Eta noise seed delta".
pub const SEED_DELTA: &str = "ENSD";
/// η of k-diffusion's samplers.
const ETA: &str = "Eta";
/// η of the samplers that are not k-diffusion's.
const ETA_DDIM: &str = "Eta DDIM";
/// Factor of the noise.
pub const SIGMA_NOISE: &str = "Sigma noise";
/// Noise added before each step.
pub const SIGMA_CHURN: &str = "Sigma churn";
/// From this noise level on.
pub const SIGMA_TMIN: &str = "Sigma tmin";
/// Up to this one.
pub const SIGMA_TMAX: &str = "Sigma tmax";
/// Where guidance begins, as a share of the time steps: a key of ours.
pub const GUIDANCE_START: &str = "Guidance start";
/// Where it ends.
pub const GUIDANCE_END: &str = "Guidance end";

/// How much of the way down from noise is run over a picture, or in a second pass.
pub const DENOISE: &str = "Denoising strength";
/// How far a mask is blurred, in pixels.
pub const MASK_BLUR: &str = "Mask blur";
/// What lies under a mask before the first step.
pub const MASKED_CONTENT: &str = "Masked content";
/// How an infotext says that only what is masked was painted.
pub const ONLY_MASKED: (&str, &str) = ("Inpaint area", "Only masked");
/// So many pixels around it.
pub const MASKED_PADDING: &str = "Masked area padding";
/// How many times as large a second pass is.
pub const HIRES_SCALE: &str = "Hires upscale";
/// How the picture is made larger for it, by A1111's name.
pub const HIRES_UPSCALER: &str = "Hires upscaler";
/// Its steps.
pub const HIRES_STEPS: &str = "Hires steps";
/// Its size, where A1111 was told one instead of a factor.
pub const HIRES_RESIZE: &str = "Hires resize";
/// A prompt of its own.
pub const HIRES_PROMPT: &str = "Hires prompt";
/// A negative prompt of its own.
pub const HIRES_NEGATIVE_PROMPT: &str = "Hires negative prompt";
/// A seed of its own: a key of ours, for ComfyUI's second samplers.
pub const HIRES_SEED: &str = "Hires seed";
/// A sampler of its own, by A1111's name if it has one.
pub const HIRES_SAMPLER: &str = "Hires sampler";
/// Noise levels of its own.
pub const HIRES_SCHEDULE: &str = "Hires schedule type";
/// A strength of guidance of its own.
pub const HIRES_CFG: &str = "Hires CFG Scale";

/// What A1111 calls η with this sampler (by ComfyUI's name): it has one setting for each of two families.
pub fn eta(sampler: &str) -> &'static str {
    if ["ddim", "plms", "uni_pc", "uni_pc_bh2"].contains(&sampler) { ETA_DDIM } else { ETA }
}

/// Whether a key is one of these.
pub(super) fn is_setting(key: &str) -> bool {
    const KEYS: [&str; 26] = [
        KEEP_WHOLE.0,
        VARIATION_SEED,
        VARIATION_STRENGTH,
        SEED_DELTA,
        ETA,
        ETA_DDIM,
        SIGMA_NOISE,
        SIGMA_CHURN,
        SIGMA_TMIN,
        SIGMA_TMAX,
        GUIDANCE_START,
        GUIDANCE_END,
        DENOISE,
        MASK_BLUR,
        MASKED_CONTENT,
        ONLY_MASKED.0,
        MASKED_PADDING,
        HIRES_SCALE,
        HIRES_UPSCALER,
        HIRES_STEPS,
        HIRES_PROMPT,
        HIRES_NEGATIVE_PROMPT,
        HIRES_SEED,
        HIRES_SAMPLER,
        HIRES_SCHEDULE,
        HIRES_CFG,
    ];
    KEYS.contains(&key)
}
