//! What the UNet sees of the prompts, on the GPU.

use std::ops::Range;

use crate::gpu::{Gpu, Plan, Storage, Tensor};
use crate::kernels::weigh_tokens;
use crate::prompt::{Syntax, WINDOW};

/// The encoded prompts, and those of them that count now.
pub struct Prompts {
    pub context: Tensor, // (prompts, S, C): shorter prompts are followed by zeros, which nothing looks at
    pub lengths: Tensor, // (prompts, padded to a multiple of four), f32: how many rows of `context` are each one's
    table: Tensor,       // (prompts · S, 4): rows of the bank
    gather: Plan,
}

impl Prompts {
    /// `bank` is (windows, 77, C), every prompt of every step, weighed already.
    pub fn new(bank: Tensor, count: usize, longest: usize) -> Self {
        let gpu = bank.gpu();
        let context = gpu.empty("context", &[count, longest, bank.shape()[2]], gpu.storage());
        let lengths = gpu.empty("lengths", &[count.next_multiple_of(4)], Storage::F32);
        let table = gpu.empty("table", &[count * longest, 4], Storage::F32);
        let (gather, ()) = gpu.record("context", || weigh_tokens(&bank, &table, &context));
        Self { context, lengths, table, gather }
    }

    /// From now on the prompts are these rows of the bank.
    pub fn show(&mut self, prompts: &[Range<usize>]) {
        let longest = self.context.shape()[1];
        let mut table = Vec::with_capacity(self.table.len());
        let mut lengths = vec![0.0; self.lengths.len()];
        for (length, rows) in lengths.iter_mut().zip(prompts) {
            *length = rows.len() as f32;
            table.extend(rows.clone().flat_map(|row| [row as f32, 0.0, 1.0, 0.0]));
            table.extend((rows.len()..longest).flat_map(|_| [-1.0, 0.0, 1.0, 0.0]));
        }
        self.table.write(&table);
        self.lengths.write(&lengths);
        self.gather.run();
    }
}

/// The weights of all rows, as the kernel of the dialect wants them: (windows · 77, 4).
///
/// ComfyUI weighs each row against the same position of the encoded empty prompt, which is the last window.
pub fn table(gpu: &Gpu, syntax: Syntax, weights: &[f32]) -> Tensor {
    let empty = weights.len() - WINDOW;
    let table: Vec<f32> = weights
        .iter()
        .enumerate()
        .flat_map(|(row, &weight)| match syntax {
            Syntax::Comfy => [row as f32, (empty + row % WINDOW) as f32, weight, 0.0],
            Syntax::A1111 => [weight, 0.0, 0.0, 0.0],
        })
        .collect();
    gpu.upload("weights", &[weights.len(), 4], Storage::F32, &table)
}
