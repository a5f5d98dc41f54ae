//! Which noise a picture starts from and which is added to it, by the conventions of ComfyUI and A1111.

use crate::error::{Code, Error, Result};

use super::brownian::BrownianTree;
use super::noise::{TorchRng, torch_randn};
use super::philox::PhiloxRng;
use super::program::Draw;
use super::{Randomness, Sampler, Tool};

/// Where PyTorch made its normals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Generator {
    /// On the CPU: A1111's "CPU".
    #[default]
    Cpu,
    /// On an NVIDIA GPU: A1111's "GPU" and "NV".
    Nvidia,
}

impl Generator {
    /// By the name it has in the JavaScript API: "cpu" or "nv".
    ///
    /// # Errors
    /// [`Code::BadOption`] for any other.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Generator::Cpu),
            "nv" => Ok(Generator::Nvidia),
            other => Err(Error::new(Code::BadOption, format!("rng is \"{other}\"; it must be cpu or nv"))),
        }
    }

    /// The first `n` normals of a seed.
    pub fn randn(self, seed: u64, n: usize) -> Vec<f32> {
        match self {
            Generator::Cpu => torch_randn(seed, n),
            Generator::Nvidia => PhiloxRng::new(seed).randn(n),
        }
    }
}

/// A second seed that the first noise is turned towards (A1111's "Variation seed").
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variation {
    /// The second seed.
    pub seed: u64,
    /// 0 is the first seed's noise, 1 the second's.
    pub strength: f32,
}

/// What the noise of a batch of pictures depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seeds {
    /// Whose conventions.
    pub tool: Tool,
    /// A1111's "RNG". In ComfyUI the initial noise is always made on the CPU; this is where the sampler's own is made.
    pub generator: Generator,
    /// The seed.
    pub seed: u64,
    /// Height and width of the latents, an eighth of the picture's.
    pub size: [usize; 2],
    /// Pictures made at once. ComfyUI draws for all of them together; A1111's second picture is that of the next seed.
    pub batch: usize,
    /// A1111's variation; here ComfyUI's noise can be varied too, by the same rule.
    pub variation: Option<Variation>,
    /// A1111's "Eta noise seed delta" (ENSD): added to the seed for the noise of the steps, unless 0.
    pub seed_delta: u64,
}

impl Default for Seeds {
    fn default() -> Self {
        let (tool, generator) = (Tool::ComfyUi, Generator::Cpu);
        Self { tool, generator, seed: 0, size: [64, 64], batch: 1, variation: None, seed_delta: 0 }
    }
}

impl Seeds {
    /// Numbers in one picture's latents.
    fn numbers(&self) -> usize {
        4 * self.size[0] * self.size[1]
    }

    /// The seed of a picture of the batch and of its variation. With a variation A1111 counts up only the second.
    pub fn of_picture(&self, picture: usize) -> (u64, u64) {
        let picture = picture as u64;
        match self.variation.filter(|variation| variation.strength != 0.0) {
            None => (self.seed.wrapping_add(picture), 0),
            Some(variation) => (self.seed, variation.seed.wrapping_add(picture)),
        }
    }

    /// The unit noise the pictures start from, (batch, 4, h, w).
    pub fn initial(&self) -> Vec<f32> {
        let n = self.numbers();
        let vary = |noise: Vec<f32>, second: Vec<f32>, strength: f32| -> Vec<f32> {
            let pictures = noise.chunks(n).zip(second.chunks(n));
            pictures.flat_map(|(a, b)| slerp(a, b, self.size, strength)).collect()
        };
        match self.tool {
            Tool::ComfyUi => {
                let noise = torch_randn(self.seed, n * self.batch);
                let Some(Variation { seed, strength }) = self.variation else { return noise };
                vary(noise, torch_randn(seed, n * self.batch), strength)
            }
            Tool::A1111 => (0..self.batch)
                .flat_map(|picture| {
                    let (seed, second) = self.of_picture(picture);
                    let noise = self.generator.randn(seed, n);
                    let Some(variation) = self.variation.filter(|v| v.strength != 0.0) else { return noise };
                    vary(noise, self.generator.randn(second, n), variation.strength)
                })
                .collect(),
        }
    }

    /// The source of the noise that `sampler` adds. `range` is [`Levels::brownian`](super::Levels::brownian).
    pub fn for_steps(&self, sampler: Sampler, range: (f32, f32)) -> StepNoise {
        let together = self.tool == Tool::ComfyUi;
        let (pictures, n) = if together { (1, self.numbers() * self.batch) } else { (self.batch, self.numbers()) };
        let seed = |picture| if together { self.seed } else { self.of_picture(picture).0 };
        let source = |picture| match sampler.randomness() {
            Randomness::Brownian { on_gpu } => {
                // ComfyUI's path is made on the CPU unless the sampler's name ends in "_gpu".
                let generator = if together && !on_gpu { Generator::Cpu } else { self.generator };
                Source::Path(Box::new(BrownianTree::new(seed(picture), range.0, range.1, n, generator)))
            }
            _ => self.independent(seed(picture), n),
        };
        StepNoise { n, drawn: 0, sources: (0..pictures).map(source).collect() }
    }

    /// A generator in the state in which the first step finds it.
    fn independent(&self, seed: u64, n: usize) -> Source {
        let (seed, fresh) = match (self.tool, self.generator) {
            // Lest the steps repeat the initial noise.
            (Tool::ComfyUi, Generator::Cpu) => (seed.wrapping_add(1), true),
            (Tool::ComfyUi, Generator::Nvidia) => (seed, true),
            (Tool::A1111, _) => (seed.wrapping_add(self.seed_delta), self.seed_delta != 0),
        };
        let mut source = match self.generator {
            Generator::Cpu => Source::Cpu(TorchRng::new(seed)),
            Generator::Nvidia => Source::Nvidia(PhiloxRng::new(seed)),
        };
        if !fresh {
            source.draw(Draw { index: 0, from: 0.0, to: 0.0 }, n);
        }
        source
    }
}

/// The noise of the steps, drawn in order.
#[derive(Debug)]
pub struct StepNoise {
    /// Numbers of each draw from each source.
    n: usize,
    drawn: usize,
    sources: Vec<Source>,
}

#[derive(Debug)]
enum Source {
    Cpu(TorchRng),
    Nvidia(PhiloxRng),
    Path(Box<BrownianTree>),
}

impl Source {
    fn draw(&mut self, draw: Draw, n: usize) -> Vec<f32> {
        match self {
            Source::Cpu(generator) => generator.randn(n),
            Source::Nvidia(generator) => generator.randn(n),
            Source::Path(tree) => tree.noise(draw.from, draw.to),
        }
    }
}

impl StepNoise {
    /// Unit noise for all pictures, (batch, 4, h, w). Draws that were left out are made and thrown away.
    pub fn draw(&mut self, draw: Draw) -> Vec<f32> {
        assert!(draw.index >= self.drawn, "draw {} comes after {}", draw.index, self.drawn);
        let (n, missed) = (self.n, draw.index - self.drawn);
        self.drawn = draw.index + 1;
        let of = |source: &mut Source| {
            if !matches!(source, Source::Path(_)) {
                (0..missed).for_each(|_| drop(source.draw(draw, n)));
            }
            source.draw(draw, n)
        };
        self.sources.iter_mut().flat_map(of).collect()
    }
}

/// Turns one noise towards another, each column of each channel on its own great circle, as A1111 does (its `slerp`; the
/// formula is Shoemake's, 1985).
fn slerp(low: &[f32], high: &[f32], [h, w]: [usize; 2], strength: f32) -> Vec<f32> {
    let column =
        |noise: &[f32], c: usize, x: usize| -> Vec<f32> { (0..h).map(|y| noise[(c * h + y) * w + x]).collect() };
    let length = |v: &[f32]| libm::sqrtf(v.iter().map(|a| a * a).sum());
    let columns: Vec<(usize, usize)> = (0..4).flat_map(|c| (0..w).map(move |x| (c, x))).collect();
    let cosines: Vec<f32> = columns
        .iter()
        .map(|&(c, x)| {
            let (a, b) = (column(low, c, x), column(high, c, x));
            let (long_a, long_b) = (length(&a), length(&b));
            a.iter().zip(&b).map(|(a, b)| (a / long_a) * (b / long_b)).sum()
        })
        .collect();
    if cosines.iter().sum::<f32>() / cosines.len() as f32 > 0.9995 {
        // Nearly the same noise; the weights are the wrong way round in A1111 too.
        return low.iter().zip(high).map(|(low, high)| low * strength + high * (1.0 - strength)).collect();
    }
    let mut turned = vec![0.0; low.len()];
    for (&(c, x), cosine) in columns.iter().zip(cosines) {
        let angle = libm::acosf(cosine);
        let weight = |part: f32| libm::sinf(part * angle) / libm::sinf(angle);
        let (keep, toward) = (weight(1.0 - strength), weight(strength));
        for i in (0..h).map(|y| (c * h + y) * w + x) {
            turned[i] = keep * low[i] + toward * high[i];
        }
    }
    turned
}
