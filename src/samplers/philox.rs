//! Noise as PyTorch makes it on NVIDIA's GPUs, calculated anywhere.
//!
//! Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") as cuRAND and PyTorch's
//! `DistributionTemplates.h` use it: `product.md` B4. Within 3e-7 of a GPU's numbers, which round differently in the last
//! bits. PyTorch gives each thread one number only while there are threads enough (an RTX 3060 has 43 008, a latent of
//! 512×512 is 16 384 numbers): beyond, its numbers depend on the GPU, and A1111's "NV" and this go on as if they did not.

use std::f32::consts::PI;

/// 2⁻³².
const UNIT: f32 = 2.328_306_4e-10;

/// PyTorch's CUDA generator, A1111's "NV".
#[derive(Debug, Clone)]
pub struct PhiloxRng {
    key: [u32; 2],
    /// Calls so far: each has its own numbers, whatever the sizes of those before it.
    calls: u32,
}

impl PhiloxRng {
    /// A generator as after `torch.manual_seed(seed)`; all 64 bits count.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], calls: 0 }
    }

    /// As one call of `torch.randn(n, device="cuda")`.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        let values = (0..n as u32).map(|i| normal(philox([self.calls, 0, i, 0], self.key))).collect();
        self.calls += 1;
        values
    }
}

/// Ten rounds.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
        }
        let product = |factor: u64, word: u32| {
            let product = factor * u64::from(word);
            ((product >> 32) as u32, product as u32)
        };
        let (high_0, low_0) = product(0xd251_1f53, counter[0]);
        let (high_1, low_1) = product(0xcd9e_8d57, counter[2]);
        counter = [high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0];
    }
    counter
}

/// Box and Muller's normal from two of the four words, the sine's as cuRAND gives it first.
fn normal(words: [u32; 4]) -> f32 {
    let u = words[0] as f32 * UNIT + UNIT / 2.0;
    let v = words[1] as f32 * (UNIT * 2.0 * PI) + UNIT * PI;
    libm::sqrtf(-2.0 * libm::logf(u)) * libm::sinf(v)
}
