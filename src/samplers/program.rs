//! Programs: what a sampler does to the latents, as numbers.
//!
//! Between two evaluations of the network every sampler is linear: it mixes the latents, earlier outputs and noise. So
//! a program works on a few *registers*, each as large as the latents, with three instructions, and whoever executes it
//! needs one kernel besides the network: new registers = matrix × old registers, pixel by pixel.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Registers at most: a GPU kernel that binds each of them as a buffer stays within eight.
pub const MAX_REGISTERS: usize = 7;

/// A place for one set of latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reg(u8);

impl Reg {
    /// The latents: what the network is given, and the result.
    pub const X: Reg = Reg(0);
    /// What the network made of them: its idea of the picture without noise. This is what a preview shows.
    pub const DENOISED: Reg = Reg(1);
    /// Fresh noise of unit variance.
    pub const NOISE: Reg = Reg(2);
    /// What a sampler keeps for later.
    pub(super) const KEPT: [Reg; 4] = [Reg(3), Reg(4), Reg(5), Reg(6)];

    /// Its number, below [`MAX_REGISTERS`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A linear combination of registers, by register. The samplers calculate with these as papers do with latents.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Form(pub [f64; MAX_REGISTERS]);

impl Form {
    const fn of(register: Reg) -> Form {
        let mut form = [0.0; MAX_REGISTERS];
        form[register.0 as usize] = 1.0;
        Form(form)
    }

    /// The registers it needs, with their coefficients.
    pub fn terms(&self) -> impl Iterator<Item = (Reg, f64)> {
        self.0.iter().enumerate().filter(|(_, c)| **c != 0.0).map(|(i, c)| (Reg(i as u8), *c))
    }
}

/// The latents in a formula.
pub(super) const X: Form = Form::of(Reg::X);
/// The network's output in a formula.
pub(super) const D: Form = Form::of(Reg::DENOISED);
/// Noise in a formula.
pub(super) const N: Form = Form::of(Reg::NOISE);
/// Kept latents in a formula.
pub(super) const K: [Form; 4] =
    [Form::of(Reg::KEPT[0]), Form::of(Reg::KEPT[1]), Form::of(Reg::KEPT[2]), Form::of(Reg::KEPT[3])];

impl Add for Form {
    type Output = Form;
    fn add(self, other: Form) -> Form {
        Form(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Mul<f64> for Form {
    type Output = Form;
    fn mul(self, factor: f64) -> Form {
        Form(self.0.map(|c| c * factor))
    }
}

impl Mul<Form> for f64 {
    type Output = Form;
    fn mul(self, form: Form) -> Form {
        form * self
    }
}

impl Div<f64> for Form {
    type Output = Form;
    fn div(self, divisor: f64) -> Form {
        Form(self.0.map(|c| c / divisor))
    }
}

impl Neg for Form {
    type Output = Form;
    fn neg(self) -> Form {
        self * -1.0
    }
}

impl Sub for Form {
    type Output = Form;
    fn sub(self, other: Form) -> Form {
        self + -other
    }
}

/// Which noise an instruction wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// How many draws came before it. Where noise comes from a generator, draws are made in this order, without a gap.
    pub index: usize,
    /// The noise level it begins at: the time of a Brownian motion.
    pub from: f32,
    /// The noise level it ends at.
    pub to: f32,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `DENOISED ← network(X, σ)`, after guidance. In f64: for the network it is rounded to f32.
    Denoise {
        /// The noise level.
        sigma: f64,
    },
    /// `NOISE ← ` unit normals.
    Noise(Draw),
    /// All at once, from the old values: each register listed becomes its combination; the others stay.
    Mix(Vec<(Reg, Form)>),
}

/// The instructions of one step of the schedule. Afterwards X holds the latents at the next noise level.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The noise level it starts from.
    pub sigma: f32,
    /// Its instructions, in order.
    pub ops: Vec<Op>,
}

/// What a sampler does with a schedule. All registers but X start as zeros.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// One for each pair of neighbours in the schedule.
    pub steps: Vec<Step>,
}

impl Program {
    /// The instructions of all steps in a row.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.steps.iter().flat_map(|step| &step.ops)
    }

    /// The noise levels at which the network is evaluated, in order: their time steps are known before the start.
    pub fn evaluations(&self) -> Vec<f64> {
        let sigma = |op: &Op| if let Op::Denoise { sigma } = op { Some(*sigma) } else { None };
        self.ops().filter_map(sigma).collect()
    }

    /// The noise it wants, in order.
    pub fn draws(&self) -> Vec<Draw> {
        let draw = |op: &Op| if let Op::Noise(draw) = op { Some(*draw) } else { None };
        self.ops().filter_map(draw).collect()
    }

    /// The registers that need memory, in order, X and DENOISED first.
    pub fn registers(&self) -> Vec<Reg> {
        let mut live = [false; MAX_REGISTERS];
        (live[0], live[1]) = (true, true);
        for op in self.ops() {
            match op {
                Op::Denoise { .. } => {}
                // Also where its factor is 0: it is put there all the same.
                Op::Noise(_) => live[Reg::NOISE.index()] = true,
                Op::Mix(rows) => rows.iter().for_each(|(reg, form)| {
                    live[reg.index()] = true;
                    form.terms().for_each(|(reg, _)| live[reg.index()] = true);
                }),
            }
        }
        (0..MAX_REGISTERS as u8).map(Reg).filter(|reg| live[reg.index()]).collect()
    }

    /// A mix as a matrix over the registers listed, row by row: new = matrix · old. For the GPU.
    pub fn matrix(rows: &[(Reg, Form)], registers: &[Reg]) -> Vec<f32> {
        let row_of = |reg: &Reg| rows.iter().find(|row| row.0 == *reg).map_or(Form::of(*reg), |row| row.1);
        registers.iter().flat_map(|reg| registers.iter().map(move |old| row_of(reg).0[old.index()] as f32)).collect()
    }

    /// Runs it on the CPU, in f64: latents in, latents out. `network` is given X and σ, `noise` a draw, and `after` is
    /// called at the end of each step with its number, X and DENOISED; false stops.
    pub fn run(
        &self,
        latents: Vec<f64>,
        mut network: impl FnMut(&[f64], f64) -> Vec<f64>,
        mut noise: impl FnMut(Draw) -> Vec<f64>,
        mut after: impl FnMut(usize, &[f64], &[f64]) -> bool,
    ) -> Vec<f64> {
        let zeros = vec![0.0; latents.len()];
        let mut registers: [Vec<f64>; MAX_REGISTERS] = std::array::from_fn(|_| zeros.clone());
        registers[Reg::X.index()] = latents;
        for (number, step) in self.steps.iter().enumerate() {
            for op in &step.ops {
                match op {
                    Op::Denoise { sigma } => {
                        registers[Reg::DENOISED.index()] = network(&registers[Reg::X.index()], *sigma);
                    }
                    Op::Noise(draw) => registers[Reg::NOISE.index()] = noise(*draw),
                    Op::Mix(rows) => {
                        let mixed: Vec<Vec<f64>> = rows.iter().map(|(_, form)| mix(form, &registers)).collect();
                        rows.iter().zip(mixed).for_each(|((reg, _), values)| registers[reg.index()] = values);
                    }
                }
            }
            if !after(number, &registers[Reg::X.index()], &registers[Reg::DENOISED.index()]) {
                break;
            }
        }
        std::mem::take(&mut registers[Reg::X.index()])
    }
}

/// One combination of registers.
fn mix(form: &Form, registers: &[Vec<f64>; MAX_REGISTERS]) -> Vec<f64> {
    let mut sum = vec![0.0; registers[0].len()];
    for (reg, factor) in form.terms() {
        sum.iter_mut().zip(&registers[reg.index()]).for_each(|(sum, value)| *sum += factor * value);
    }
    sum
}
