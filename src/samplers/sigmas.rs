//! The noise levels a network was trained with.

use std::fmt;

use super::Tool;

/// Time steps of SD 1.x's training.
pub(super) const TRAINED: usize = 1000;

/// The 1000 noise levels SD 1.x was trained with, rising with the time step.
#[derive(Clone)]
pub struct Sigmas {
    table: Vec<f32>,
    logs: Vec<f32>,
}

impl Sigmas {
    /// SD 1.5's: β from √0.00085 to √0.012, linear in the root; ᾱ is the product of 1 − β; σ = √((1 − ᾱ)/ᾱ)
    /// (Rombach et al. 2022; σ as in Karras et al. 2022). In f64, then rounded, as ComfyUI does.
    pub fn sd15() -> Self {
        let (first, last) = (libm::sqrt(0.00085), libm::sqrt(0.012));
        let mut product = 1.0;
        Self::of((0..TRAINED).map(|t| {
            let root = first + (last - first) * t as f64 / (TRAINED - 1) as f64;
            product *= 1.0 - root * root;
            libm::sqrt((1.0 - product) / product) as f32
        }))
    }

    /// SD 1.5's, stretched so that the last time step is noise alone, for checkpoints trained that way (Lin et al. 2023,
    /// arXiv 2305.08891, algorithm 1). As in ComfyUI the last ᾱ is not quite 0, so that σ stays finite: 4518.
    pub fn zero_terminal_snr() -> Self {
        let roots: Vec<f32> = Self::sd15().table.iter().map(|sigma| libm::sqrtf(1.0 / (sigma * sigma + 1.0))).collect();
        let (first, last) = (roots[0], roots[TRAINED - 1]);
        Self::of(roots.iter().enumerate().map(|(t, root)| {
            let root = (root - last) * (first / (first - last));
            let alpha = if t == TRAINED - 1 { 4.897_345e-8 } else { root * root };
            libm::sqrtf((1.0 - alpha) / alpha)
        }))
    }

    fn of(table: impl Iterator<Item = f32>) -> Self {
        let table: Vec<f32> = table.collect();
        let logs = table.iter().map(|sigma| libm::logf(*sigma)).collect();
        Self { table, logs }
    }

    /// σ by time step.
    pub fn table(&self) -> &[f32] {
        &self.table
    }

    /// The least noise, at time step 0.
    pub fn min(&self) -> f32 {
        self.table[0]
    }

    /// The most noise, at time step 999.
    pub fn max(&self) -> f32 {
        self.table[TRAINED - 1]
    }

    /// The time step the network is told for a noise level: the nearest in log σ, the lower of two equally near, as in
    /// ComfyUI.
    pub fn timestep(&self, sigma: f32) -> usize {
        let log = libm::logf(sigma);
        let distance = |t: usize| (log - self.logs[t]).abs();
        (1..TRAINED).fold(0, |best, t| if distance(t) < distance(best) { t } else { best })
    }

    /// The time step the network is told for a noise level by k-diffusion and A1111: between two, linear in log σ.
    pub fn fractional_timestep(&self, sigma: f32) -> f32 {
        let log = libm::logf(sigma);
        let above = self.logs.partition_point(|known| *known <= log).clamp(1, TRAINED - 1);
        let (low, high) = (self.logs[above - 1], self.logs[above]);
        (above - 1) as f32 + ((log - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// The time the network is told for a noise level by a tool.
    pub fn time(&self, sigma: f32, tool: Tool) -> f32 {
        match tool {
            Tool::ComfyUi => self.timestep(sigma) as f32,
            Tool::A1111 => self.fractional_timestep(sigma),
        }
    }

    /// The noise level between time steps, linear in log σ.
    pub(super) fn at(&self, time: f32) -> f32 {
        let time = time.clamp(0.0, (TRAINED - 1) as f32);
        let (low, share) = (time as usize, time.fract());
        let high = (low + 1).min(TRAINED - 1);
        libm::expf((1.0 - share) * self.logs[low] + share * self.logs[high])
    }

    /// The noise level at a share of the trained time steps, as ComfyUI's nodes count "percent": 0 is before all, 1 after.
    pub fn at_share(&self, share: f64) -> f32 {
        match share {
            share if share <= 0.0 => f32::INFINITY,
            share if share >= 1.0 => 0.0,
            share => self.at(((1.0 - share) * 999.0) as f32),
        }
    }

    /// What unit noise is multiplied with to be the first latents: √(1 + σ²) where sampling starts at full noise, as if a
    /// picture of unit variance were under it, else σ. ComfyUI's rule, full noise within 1e-5.
    pub fn initial_scale(&self, first_sigma: f32) -> f32 {
        let (first, most) = (f64::from(first_sigma), f64::from(self.max()));
        let close = (first - most).abs() <= 1e-5 * first.abs().max(most.abs());
        if close || first > most { libm::sqrt(1.0 + first * first) as f32 } else { first_sigma }
    }
}

impl fmt::Debug for Sigmas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sigmas({}..{})", self.min(), self.max())
    }
}
