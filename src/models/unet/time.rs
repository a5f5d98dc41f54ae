//! What the network is told of time, and, where it has guidance built in, of its strength.

use crate::error::{Code, Error, Result};
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{Activation, Gemm, gemm};
use crate::layers::Linear;
use crate::weights::Weights;

use super::same_channels;

/// diffusers' `time_proj` and `time_embedding`.
pub(super) struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    cond_proj: Option<Linear>, // of a network that is told how strong guidance is to be
    width: usize,              // of the sinusoids
    guidance_width: Option<usize>,
}

/// What is computed of, for all steps.
pub(super) struct Told {
    sinusoids: Tensor,        // (1, steps, width)
    guidance: Option<Tensor>, // (1, steps, guidance width)
}

impl TimeEmbedding {
    pub fn load(w: &Weights) -> Result<Self> {
        let width = w.shape("linear_1.weight")?.get(1).copied().unwrap_or(0);
        if width % 8 != 0 {
            let sentence = format!("the time embedding of this checkpoint is {width} wide, expected a multiple of 8");
            return Err(Error::new(Code::WrongShape, sentence));
        }
        let linear_1 = Linear::load(&w.at("linear_1"), width)?;
        let linear_2 = Linear::load(&w.at("linear_2"), linear_1.width())?;
        let (cond_proj, guidance_width) = load_cond_proj(&w.at("cond_proj"), width)?.unzip();
        Ok(Self { linear_1, linear_2, cond_proj, width, guidance_width })
    }

    /// Numbers of its result.
    pub fn width(&self) -> usize {
        self.linear_2.width()
    }

    /// Numbers in which it is told of guidance.
    pub fn guidance_width(&self) -> Option<usize> {
        self.guidance_width
    }

    /// Brings times and guidance to the GPU.
    pub fn tell(&self, gpu: &Gpu, timesteps: &[f32], guidance: Option<&[f32]>) -> Told {
        assert_eq!(guidance.map(<[f32]>::len), self.guidance_width, "unet: the embedding of guidance");
        let guidance = guidance.map(|told| {
            let shape = [1, timesteps.len(), told.len()];
            gpu.upload("guidance", &shape, gpu.storage(), &told.repeat(timesteps.len()))
        });
        Told { sinusoids: sinusoids(gpu, timesteps, self.width), guidance }
    }

    /// SiLU of the time embedding, (1, steps, width): every block applies it first, so it is done once, here.
    pub fn forward(&self, told: &Told) -> Tensor {
        let Told { sinusoids, guidance } = told;
        let guided = self.cond_proj.as_ref().zip(guidance.as_ref());
        let guided = guided.map(|(proj, told)| gemm(&Gemm { residual: Some(sinusoids), ..proj.product(told) }));
        let h = self.linear_1.product(guided.as_ref().unwrap_or(sinusoids));
        let h = gemm(&Gemm { activation: Activation::Silu, ..h });
        gemm(&Gemm { activation: Activation::Silu, ..self.linear_2.product(&h) })
    }
}

/// What brings the strength of guidance into the time embedding, and how many numbers it takes; most networks have none.
fn load_cond_proj(w: &Weights, time_width: usize) -> Result<Option<(Linear, usize)>> {
    if !w.has("weight") {
        return Ok(None);
    }
    let width = w.shape("weight")?.get(1).copied().unwrap_or(0);
    if width == 0 || width % 4 != 0 {
        let sentence = format!(
            "the strength of guidance enters this checkpoint as {width} numbers, expected a multiple of 4 (usual: 256)"
        );
        return Err(Error::new(Code::WrongShape, sentence));
    }
    let proj = Linear::load(w, width)?;
    same_channels("the embedding of guidance", proj.width(), time_width)?;
    Ok(Some((proj, width)))
}

/// Sinusoidal time embeddings (Vaswani et al. 2017), cosines first (diffusers: `flip_sin_to_cos`, `freq_shift` 0):
/// (1, steps, width).
fn sinusoids(gpu: &Gpu, timesteps: &[f32], width: usize) -> Tensor {
    let half = width / 2;
    let mut values = Vec::with_capacity(timesteps.len() * width);
    for &t in timesteps {
        let angle = |i: usize| t * (-(10_000f32.ln()) * i as f32 / half as f32).exp();
        values.extend((0..half).map(|i| angle(i).cos()));
        values.extend((0..half).map(|i| angle(i).sin()));
    }
    gpu.upload("timesteps", &[1, timesteps.len(), width], gpu.storage(), &values)
}
