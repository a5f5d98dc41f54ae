//! What the samplers write their programs with.

use super::Options;
use super::program::{D, Draw, Form, N, Op, Program, Reg, Step, X};

/// A program in the making.
pub(super) struct Writer<'a> {
    sigmas: &'a [f32],
    /// The sampler's settings.
    pub options: &'a Options,
    steps: Vec<Step>,
    draws: usize,
}

impl<'a> Writer<'a> {
    /// For a schedule and a sampler's settings.
    pub fn new(sigmas: &'a [f32], options: &'a Options) -> Self {
        Self { sigmas, options, steps: Vec::new(), draws: 0 }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// The i-th noise level.
    pub fn sigma(&self, i: usize) -> f64 {
        self.sigmas[i].into()
    }

    /// Begins the i-th step; its noise level and the next.
    pub fn begin(&mut self, i: usize) -> (f64, f64) {
        self.steps.push(Step { sigma: self.sigmas[i], ops: Vec::new() });
        (self.sigma(i), self.sigma(i + 1))
    }

    /// Evaluates the network: D is its output from now on.
    pub fn denoise(&mut self, sigma: f64) {
        self.push(Op::Denoise { sigma });
    }

    /// Noise of this deviation for the way from one noise level to another, drawn unless the deviation is 0.
    pub fn noise(&mut self, from: f32, to: f32, deviation: f64) -> Form {
        if deviation == 0.0 {
            return Form::default();
        }
        self.push(Op::Noise(Draw { index: self.draws, from, to }));
        self.draws += 1;
        N * (deviation * self.options.s_noise)
    }

    /// Noise of this deviation for the whole i-th step.
    pub fn step_noise(&mut self, i: usize, deviation: f64) -> Form {
        self.noise(self.sigmas[i], self.sigmas[i + 1], deviation)
    }

    /// Sets registers, all at once.
    pub fn set(&mut self, rows: &[(Reg, Form)]) {
        self.push(Op::Mix(rows.to_vec()));
    }

    /// Sets the latents alone.
    pub fn set_x(&mut self, form: Form) {
        self.set(&[(Reg::X, form)]);
    }

    /// Raises the noise level before a step by fresh noise (Karras et al. 2022, algorithm 2, "churn"); the new level.
    pub fn churn(&mut self, i: usize) -> f64 {
        let (sigma, options) = (self.sigma(i), self.options);
        let within = (options.churn_min..=options.churn_max).contains(&sigma);
        let gamma = (options.churn / self.len() as f64).min(libm::sqrt(2.0) - 1.0);
        if !within || gamma <= 0.0 {
            return sigma;
        }
        let raised = sigma * (gamma + 1.0);
        // k-diffusion draws at every step, churned or not.
        self.push(Op::Noise(Draw { index: i, from: self.sigmas[i], to: raised as f32 }));
        self.set_x(X + N * (options.s_noise * libm::sqrt(raised * raised - sigma * sigma)));
        raised
    }

    /// The program.
    pub fn finish(self) -> Program {
        Program { steps: self.steps }
    }

    fn push(&mut self, op: Op) {
        self.steps.last_mut().expect("begin() comes first").ops.push(op);
    }
}

/// dx/dσ at noise level σ: k-diffusion's `to_d`.
pub(super) fn slope(sigma: f64) -> Form {
    (X - D) / sigma
}

/// How far down to go and how much noise to add, so that variance arrives at the next level: (down, up). η = 0 adds
/// none. Song et al. 2021 (DDIM), equation 16; k-diffusion's `get_ancestral_step`.
pub(super) fn ancestral(sigma: f64, next: f64, eta: f64) -> (f64, f64) {
    let variance = next * next * (sigma * sigma - next * next) / (sigma * sigma);
    let up = (eta * libm::sqrt(variance)).min(next);
    (libm::sqrt(next * next - up * up), up)
}

/// The noise level half-way in log σ.
pub(super) fn middle(from: f64, to: f64) -> f64 {
    libm::sqrt(from * to)
}

/// The same as a time of a Brownian motion, which tells times 1e-6 apart: rounded at each step as f32 programs do. (k-diffusion
/// sends the ends of the step through the logarithm too; ComfyUI does not any more.)
pub(super) fn middle_time(from: f32, to: f32) -> f32 {
    let minus_log = |sigma: f32| -libm::log(f64::from(sigma)) as f32;
    let (t, t_next) = (minus_log(from), minus_log(to));
    libm::exp(f64::from(-(t + (t_next - t) * 0.5))) as f32
}

/// Adams and Bashforth's weights of the newest slope and those before it, by how many are known besides the newest.
pub(super) const ADAMS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];
