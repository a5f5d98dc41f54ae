//! Where along the noise levels guidance counts, and how strongly.

use std::ops::Range;

use crate::kernels::Rescale;
use crate::samplers::Sigmas;

use super::Params;

/// The strength of guidance as a network is told that has it built in (Luo et al. 2023, section 4.2; diffusers
/// `pipeline_latent_consistency_text2img.py`): sines, then cosines of w · 1000, w = cfg − 1.
pub(super) fn guidance_embedding(cfg: f32, width: usize) -> Vec<f32> {
    let (w, half) = ((cfg - 1.0) * 1000.0, width / 2);
    let angle = |i: usize| w * (-(10_000f32.ln()) * i as f32 / (half as f32 - 1.0)).exp();
    (0..half).map(|i| angle(i).sin()).chain((0..half).map(|i| angle(i).cos())).collect()
}

/// The guidance of a picture.
pub(super) struct Guidance {
    cfg: f32,
    multiplier: f32,
    /// The noise levels at which it counts, ends included as ComfyUI has it.
    least: f32,
    most: f32,
    /// The prompt is one part of weight 1: at a cfg of 1 the negative prompt then has no say.
    alone: bool,
    /// It counts somewhere, and not everywhere.
    somewhere: bool,
    not_everywhere: bool,
}

impl Guidance {
    /// For the noise levels at which the network is evaluated. A network that has guidance `built_in` is told how strong it
    /// is to be, and asked once.
    pub fn new(params: &Params, trained: &Sigmas, evaluations: &[f64], alone: bool, built_in: bool) -> Self {
        let mut guidance = Self {
            cfg: if built_in { 1.0 } else { params.cfg },
            multiplier: params.cfg_rescale,
            least: trained.at_share(params.guidance_end),
            most: trained.at_share(params.guidance_start),
            alone,
            somewhere: false,
            not_everywhere: false,
        };
        guidance.somewhere = evaluations.iter().any(|sigma| guidance.counts_at(*sigma as f32));
        guidance.not_everywhere = evaluations.iter().any(|sigma| !guidance.counts_at(*sigma as f32));
        guidance
    }

    fn counts_at(&self, sigma: f32) -> bool {
        self.cfg != 1.0 && (self.least..=self.most).contains(&sigma)
    }

    /// Whether the negative prompt is needed.
    pub fn needs_negative(&self) -> bool {
        self.somewhere || !self.alone
    }

    /// Which of `count` prompts are evaluated where guidance rests, if it rests between steps where it counts.
    pub fn plain(&self, count: usize) -> Option<Range<usize>> {
        let rests = self.somewhere && self.not_everywhere;
        rests.then_some(if self.alone { 1..2 } else { 0..count })
    }

    /// How its contrast is taken back, if it is.
    pub fn rescale(&self) -> Option<Rescale> {
        let rescale = Rescale { multiplier: self.multiplier, cfg: self.cfg };
        (self.somewhere && self.multiplier != 0.0).then_some(rescale)
    }

    /// Whether it rests at a noise level, and the weights of the prompts that are evaluated there; `parts` are those of
    /// all prompts, without guidance.
    pub fn at(&self, sigma: f32, parts: &[f32]) -> (bool, Vec<f32>) {
        if self.counts_at(sigma) {
            return (false, parts.iter().map(|weight| weight * self.cfg).collect());
        }
        let plain = self.plain(parts.len());
        (plain.is_some(), parts[plain.unwrap_or(0..parts.len())].to_vec())
    }
}
