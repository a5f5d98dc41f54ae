//! What the command line asks of noise and sampler.

use wordbrush::Result;
use wordbrush::pipeline::Params;
use wordbrush::samplers::{Generator, Options, Variation};

/// Settings of noise and sampler; their names are those of the JavaScript API.
#[derive(clap::Args)]
pub struct Noise {
    /// Whose random numbers: PyTorch's on a CPU (cpu), or on an NVIDIA GPU (nv).
    #[arg(long, default_value = "cpu")]
    rng: String,
    /// How much of the noise of each step is fresh; the sampler's own if nothing is said.
    #[arg(long)]
    eta: Option<f64>,
    /// Factor of the fresh noise.
    #[arg(long, default_value_t = 1.0)]
    s_noise: f64,
    /// Noise added before each step of Euler, Heun and DPM2, spread over the steps.
    #[arg(long, default_value_t = 0.0)]
    s_churn: f64,
    /// The least noise level that is churned.
    #[arg(long, default_value_t = 0.0)]
    s_tmin: f64,
    /// The greatest.
    #[arg(long, default_value_t = f64::INFINITY)]
    s_tmax: f64,
    /// A second seed, towards whose noise the first one's is turned.
    #[arg(long, default_value_t = 0)]
    variation_seed: u64,
    /// How far, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    variation_strength: f32,
    /// A1111's "Eta noise seed delta".
    #[arg(long, default_value_t = 0)]
    seed_delta: u64,
}

impl Noise {
    /// The same parameters with these settings.
    pub fn applied(&self, params: Params) -> Result<Params> {
        let Self { eta, s_noise, s_churn, s_tmin, s_tmax, seed_delta, .. } = *self;
        let (seed, strength) = (self.variation_seed, self.variation_strength);
        Ok(Params {
            sampling: Options { eta, s_noise, churn: s_churn, churn_min: s_tmin, churn_max: s_tmax },
            generator: Generator::from_name(&self.rng)?,
            variation: (strength != 0.0).then_some(Variation { seed, strength }),
            seed_delta,
            ..params
        })
    }
}
