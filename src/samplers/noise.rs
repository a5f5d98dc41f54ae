//! Noise as PyTorch's CPU generator makes it: the same seed must give the same picture as elsewhere.
//!
//! The algorithm is in `product.md` B3, from PyTorch's `MT19937RNGEngine.h`, `DistributionTemplates.h` and
//! `DistributionsHelper.h` (BSD). PyTorch's own builds differ from each other, and from this, in the last bits (at most
//! 4.8e-7). The logarithm and the cosine are `libm`'s, so that every browser gives the same bits.

use std::f32::consts::PI;

/// State words of the Mersenne Twister.
const N: usize = 624;
/// Distance of the words that are mixed.
const M: usize = 397;

/// Numbers that PyTorch's vectorised path transforms at once.
const BLOCK: usize = 16;

/// `torch.manual_seed(seed); torch.randn(n)` on the CPU, in f32. Only the low half of the seed counts, as there.
pub fn torch_randn(seed: u64, n: usize) -> Vec<f32> {
    TorchRng::new(seed).randn(n)
}

/// PyTorch's CPU generator, for several draws in a row.
#[derive(Debug, Clone)]
pub struct TorchRng {
    state: Box<[u32; N]>,
    /// The next word to hand out; `N` when all are used.
    next: usize,
    /// The second normal of a pair from the scalar path, kept for the next call as PyTorch does.
    spare: Option<f64>,
}

impl TorchRng {
    /// A generator as after `torch.manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        let mut state = Box::new([0; N]);
        state[0] = seed as u32;
        for j in 1..N {
            let before = state[j - 1];
            state[j] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(j as u32);
        }
        Self { state, next: N, spare: None }
    }

    /// The next `n` normals, as one call of `torch.randn` gives them: calls of other sizes give other numbers.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < BLOCK {
            return (0..n).map(|_| self.normal() as f32).collect();
        }
        let mut values: Vec<f32> = (0..n).map(|_| self.uniform()).collect();
        values.chunks_exact_mut(BLOCK).for_each(box_muller);
        if !n.is_multiple_of(BLOCK) {
            // PyTorch draws anew for the last 16, some of which are done already.
            let tail = &mut values[n - BLOCK..];
            tail.iter_mut().for_each(|value| *value = self.uniform());
            box_muller(tail);
        }
        values
    }

    /// One normal, in f64 (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (turn, u) = (self.uniform_f64(), self.uniform_f64());
        let radius = libm::sqrt(-2.0 * libm::log1p(-u));
        let angle = 2.0 * std::f64::consts::PI * turn;
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    /// Uniform in [0, 1), 24 bits.
    fn uniform(&mut self) -> f32 {
        (self.word() & 0x00ff_ffff) as f32 / (1 << 24) as f32
    }

    /// Uniform in [0, 1), 53 bits; the first word is the high one.
    fn uniform_f64(&mut self) -> f64 {
        let (high, low) = (u64::from(self.word()), u64::from(self.word()));
        (((high << 32) | low) & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    /// The next 32 bits of MT19937 (Matsumoto and Nishimura 1998).
    fn word(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }
}

/// 16 uniforms to 16 normals, the first eight with the last eight. In f32, with the angle rounded before its cosine:
/// more exact arithmetic would be farther from PyTorch's numbers.
fn box_muller(block: &mut [f32]) {
    for j in 0..BLOCK / 2 {
        let radius = libm::sqrtf(-2.0 * libm::logf(1.0 - block[j]));
        let angle = 2.0 * PI * block[j + BLOCK / 2];
        block[j] = radius * libm::cosf(angle);
        block[j + BLOCK / 2] = radius * libm::sinf(angle);
    }
}
