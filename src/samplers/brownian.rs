//! Brownian motion as the SDE samplers ask for it: one path for a seed, whatever the steps.
//!
//! torchsde's `BrownianTree` (Li et al. 2020, arXiv 2001.01328; Apache-2.0), which k-diffusion, ComfyUI and A1111 use: the
//! increment over the whole range of noise levels comes first, each half's from a bridge with a seed of its own, found by
//! numpy's `SeedSequence`. The same seeds and the same order of f32 operations, so that the numbers agree to the rounding
//! of the normals themselves.

use std::collections::HashMap;
use std::rc::Rc;

use super::seeds::Generator;

/// numpy's pool of mixed words, of the size k-diffusion's trees have.
const POOL: usize = 24;

/// A path over noise levels from `start` to `end`, for `n` numbers at once.
#[derive(Debug)]
pub struct BrownianTree {
    entropy: Vec<u32>,
    generator: Generator,
    start: f64,
    end: f64,
    whole: Rc<Vec<f32>>,
    /// Increments of the left halves that the last question needed: the next one is near.
    near: HashMap<(u64, u32), Rc<Vec<f32>>>,
    used: HashMap<(u64, u32), Rc<Vec<f32>>>,
}

/// An interval of the tree: halves of halves, numbered from the left at each depth.
#[derive(Clone, Copy)]
struct Interval {
    start: f64,
    end: f64,
    number: u64,
    depth: u32,
}

impl BrownianTree {
    /// The path of a seed. k-diffusion's range is from the least σ above 0 to the greatest of the schedule.
    pub fn new(seed: u64, start: f32, end: f32, n: usize, generator: Generator) -> Self {
        let entropy = words(seed);
        let (from, to) = (f64::from(start.min(end)), f64::from(end.max(start)));
        let scale = libm::sqrt(to - from) as f32;
        let mut whole = generator.randn(seed_of(&entropy, None).into(), n);
        whole.iter_mut().for_each(|value| *value *= scale);
        let (near, used) = (HashMap::new(), HashMap::new());
        Self { entropy, generator, start: round(from), end: round(to), whole: Rc::new(whole), near, used }
    }

    /// Unit noise for a step from σ to a lower σ': k-diffusion's `BrownianTreeNoiseSampler`.
    pub fn noise(&mut self, from: f32, to: f32) -> Vec<f32> {
        let inside = |sigma: f32| f64::from(sigma).clamp(self.start, self.end);
        let (low, high) = (inside(from.min(to)), inside(from.max(to)));
        let mut sum = vec![0.0; self.whole.len()];
        let root = Interval { start: self.start, end: self.end, number: 0, depth: 0 };
        if round(low) < round(high) {
            self.add(root, self.whole.clone(), round(low), round(high), &mut sum);
        }
        self.near = std::mem::take(&mut self.used);
        // Time runs backwards: from a high noise level to a low one the path is walked the other way.
        let sign = if from > to { -1.0 } else { 1.0 };
        let length = libm::sqrtf((to - from).abs());
        sum.iter().map(|value| value * sign / length).collect()
    }

    /// Adds the increment over `from..to`, which lies inside the interval, whose own increment is `increment`.
    fn add(&mut self, interval: Interval, increment: Rc<Vec<f32>>, from: f64, to: f64, sum: &mut [f32]) {
        if from == interval.start && to == interval.end {
            sum.iter_mut().zip(increment.iter()).for_each(|(sum, value)| *sum += value);
            return;
        }
        let middle = round(0.5 * (interval.end + interval.start));
        let left = self.left_half(interval, middle, &increment);
        if from < middle {
            let half = Interval { end: middle, number: 2 * interval.number, depth: interval.depth + 1, ..interval };
            self.add(half, left.clone(), from, to.min(middle), sum);
        }
        if to > middle {
            let (number, depth) = (2 * interval.number + 1, interval.depth + 1);
            let half = Interval { start: middle, end: interval.end, number, depth };
            let right = increment.iter().zip(left.iter()).map(|(whole, left)| whole - left).collect();
            self.add(half, Rc::new(right), from.max(middle), to, sum);
        }
    }

    /// The increment over the left half: a Brownian bridge.
    fn left_half(&mut self, interval: Interval, middle: f64, increment: &[f32]) -> Rc<Vec<f32>> {
        let key = (interval.number, interval.depth);
        let known = self.near.get(&key).or_else(|| self.used.get(&key)).cloned();
        let left = known.unwrap_or_else(|| {
            let whole = 1.0 / (interval.end - interval.start);
            let (before, after) = (middle - interval.start, interval.end - middle);
            let deviation = libm::sqrt(before * after * whole) as f32;
            let noise = self.generator.randn(seed_of(&self.entropy, Some(key)).into(), increment.len());
            let (before, whole) = (before as f32, whole as f32);
            Rc::new(increment.iter().zip(noise).map(|(w, noise)| before * w * whole + deviation * noise).collect())
        });
        self.used.insert(key, left.clone());
        left
    }
}

/// To six decimals as Python rounds: torchsde tells no finer times apart.
fn round(time: f64) -> f64 {
    format!("{time:.6}").parse().expect("a number was written")
}

/// The 32-bit words of a number, low ones first.
fn words(number: u64) -> Vec<u32> {
    let (low, high) = (number as u32, (number >> 32) as u32);
    if high == 0 { vec![low] } else { vec![low, high] }
}

/// The first word of `numpy.random.SeedSequence(entropy, spawn_key=key, pool_size=24)` (O'Neill 2015, "Developing a
/// seed_seq alternative"; numpy's `bit_generator.pyx`, BSD).
fn seed_of(entropy: &[u32], key: Option<(u64, u32)>) -> u32 {
    let mut words_in = entropy.to_vec();
    if let Some((number, depth)) = key {
        words_in.resize(POOL.max(words_in.len()), 0);
        words_in.extend(words(number));
        words_in.push(depth);
    }
    let mut constant = 0x43b0_d7e5_u32;
    let mut hashed = |word: u32| {
        let word = word ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let word = word.wrapping_mul(constant);
        word ^ (word >> 16)
    };
    let mixed = |a: u32, b: u32| {
        let sum = a.wrapping_mul(0xca01_f9dd).wrapping_sub(b.wrapping_mul(0x4973_f715));
        sum ^ (sum >> 16)
    };
    let mut pool: [u32; POOL] = std::array::from_fn(|i| hashed(words_in.get(i).copied().unwrap_or(0)));
    for from in 0..POOL {
        for to in (0..POOL).filter(|to| *to != from) {
            pool[to] = mixed(pool[to], hashed(pool[from]));
        }
    }
    for word in words_in.iter().skip(POOL) {
        pool.iter_mut().for_each(|to| *to = mixed(*to, hashed(*word)));
    }
    let first = (pool[0] ^ 0x8b51_f9dd).wrapping_mul(0x8b51_f9dd_u32.wrapping_mul(0x58f3_8ded));
    first ^ (first >> 16)
}
