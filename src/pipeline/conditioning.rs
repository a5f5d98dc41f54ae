//! From prompts that were read to what the UNet sees of them at each step.
//!
//! Everything the prompts say over all steps is encoded once, into a bank of rows on the GPU. Where a prompt changes from
//! one step to the next (A1111's schedules and alternations), rows are picked from the bank anew.

use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::gpu::{Gpu, Plan, Storage, Tensor};
use crate::kernels::{weigh_tokens, weigh_windows};
use crate::models::Clip;
use crate::prompt::{BOS, EOS, Parsed, Piece, Scenario, Syntax, Token, WINDOW, Window};

use super::StableDiffusion;

/// Longer prompts are refused: their rows alone take more than 60 MB of wasm memory, a trap not far away.
const MOST_WINDOWS: usize = 256;

/// The encoded prompts.
pub struct Conditioning {
    /// (B, S, C): the negative prompt first if there is guidance, then the parts of the prompt. Shorter ones are
    /// followed by rows that nothing looks at.
    pub context: Tensor,
    /// (B, padded to a multiple of four), f32: how many rows of `context` each batch item sees.
    pub lengths: Tensor,
    /// Guidance weight of each batch item against the first.
    pub weights: Vec<f32>,
    scenarios: Vec<Scenario>,
    bank: Bank,
    /// What stands in `context` now, per batch item.
    current: Vec<Rc<Parsed>>,
    table: Tensor, // (B · S, 4): rows of the bank
    gather: Plan,
}

/// Every prompt of every step, encoded and weighed.
struct Bank {
    prompts: Vec<Rc<Parsed>>,
    rows: Tensor, // (windows, 77, C)
}

impl Conditioning {
    /// Encodes `scenarios`: the prompt alone, or the negative prompt and the prompt.
    ///
    /// # Errors
    /// When a prompt is too long, or the model's vocabulary lacks a token.
    pub fn encode(sd: &StableDiffusion, scenarios: Vec<Scenario>, syntax: Syntax, clip_skip: usize) -> Result<Self> {
        let bank = Bank::encode(sd, &scenarios, syntax, clip_skip)?;
        let weights: Vec<f32> =
            scenarios.iter().flat_map(|scenario| scenario.at(1).map(|(weight, _)| weight)).collect();
        let longest = bank.prompts.iter().map(|prompt| prompt.windows.len() * WINDOW).max().unwrap_or(WINDOW);
        let (gpu, batch) = (&sd.gpu, weights.len());
        let context = gpu.empty("context", &[batch, longest, sd.clip.width()], gpu.storage());
        let lengths = gpu.empty("lengths", &[batch.next_multiple_of(4)], Storage::F32);
        let table = gpu.empty("table", &[batch * longest, 4], Storage::F32);
        let (gather, ()) = gpu.record("context", || weigh_tokens(&bank.rows, &table, &context));
        let mut conditioning = Self { context, lengths, weights, scenarios, bank, current: Vec::new(), table, gather };
        conditioning.turn_to(1);
        Ok(conditioning)
    }

    /// Brings what the prompts say at a step, counted from 1, into `context`; false if it stands there already.
    pub fn turn_to(&mut self, step: usize) -> bool {
        let prompts: Vec<Rc<Parsed>> =
            self.scenarios.iter().flat_map(|scenario| scenario.at(step).map(|(_, prompt)| prompt.clone())).collect();
        let same = prompts.len() == self.current.len()
            && prompts.iter().zip(&self.current).all(|(prompt, current)| Rc::ptr_eq(prompt, current));
        if same {
            return false;
        }
        let longest = self.context.shape()[1];
        let mut table = Vec::with_capacity(self.table.len());
        let mut lengths = vec![0.0; self.lengths.len()];
        for (item, prompt) in prompts.iter().enumerate() {
            let (first, rows) = (self.bank.first_row(prompt), prompt.windows.len() * WINDOW);
            lengths[item] = rows as f32;
            table.extend((0..rows).flat_map(|row| [(first + row) as f32, 0.0, 1.0, 0.0]));
            table.extend((rows..longest).flat_map(|_| [-1.0, 0.0, 1.0, 0.0]));
        }
        self.table.write(&table);
        self.lengths.write(&lengths);
        self.gather.run();
        self.current = prompts;
        true
    }

    /// How many rows of `context` each batch item sees now.
    pub fn tokens(&self) -> Vec<usize> {
        self.current.iter().map(|prompt| prompt.windows.len() * WINDOW).collect()
    }
}

impl Bank {
    fn encode(sd: &StableDiffusion, scenarios: &[Scenario], syntax: Syntax, clip_skip: usize) -> Result<Self> {
        let mut prompts: Vec<Rc<Parsed>> = Vec::new();
        for span in scenarios.iter().flat_map(|scenario| &scenario.parts).flat_map(|part| &part.spans) {
            if !prompts.iter().any(|prompt| Rc::ptr_eq(prompt, &span.parsed)) {
                prompts.push(span.parsed.clone());
            }
        }
        let count: usize = prompts.iter().map(|prompt| prompt.windows.len()).sum();
        if count > MOST_WINDOWS {
            let sentence = format!(
                "the prompts take {count} windows of 75 tokens over all steps; at most {MOST_WINDOWS} fit into memory: shorten them"
            );
            return Err(Error::new(Code::BadOption, sentence));
        }
        let longest = prompts.iter().map(|prompt| prompt.windows.len()).max().unwrap_or(1);
        let batch: usize = scenarios.iter().map(|scenario| scenario.parts.len()).sum();
        if batch * longest > MOST_WINDOWS * 2 {
            let sentence = format!(
                "{batch} prompts side by side, of up to {longest} windows of 75 tokens each, do not fit into memory: use fewer parts or shorter ones"
            );
            return Err(Error::new(Code::BadOption, sentence));
        }
        let empty = empty_window();
        let mut windows: Vec<&Window> = prompts.iter().flat_map(|prompt| &prompt.windows).collect();
        let weighed = windows.iter().any(|window| window.tokens.iter().any(|token| token.weight != 1.0));
        if weighed && syntax == Syntax::Comfy {
            windows.push(&empty);
        }
        let (gpu, shape) = (&sd.gpu, [windows.len(), WINDOW, sd.clip.width()]);
        let rows = gpu.upload("rows", &shape, gpu.storage(), &rows(&sd.clip, &windows)?);
        let weights = weights(gpu, &windows, syntax);
        let (plan, rows) = gpu.record("clip", || {
            let hidden = sd.clip.forward(&rows, clip_skip);
            let rows = match (weighed, syntax) {
                (false, _) => hidden,
                (true, Syntax::A1111) => weigh_windows(&hidden, &weights),
                (true, Syntax::Comfy) => {
                    let rows = gpu.result(&shape, gpu.storage());
                    weigh_tokens(&hidden, &weights, &rows);
                    rows
                }
            };
            rows.keep()
        });
        plan.run();
        Ok(Self { prompts, rows })
    }

    /// Where a prompt's rows begin.
    fn first_row(&self, prompt: &Rc<Parsed>) -> usize {
        let before = self.prompts.iter().take_while(|known| !Rc::ptr_eq(known, prompt));
        before.map(|known| known.windows.len() * WINDOW).sum()
    }
}

fn empty_window() -> Window {
    let id = |id| Token { piece: Piece::Id(id), weight: 1.0 };
    let mut tokens = vec![id(BOS)];
    tokens.resize(WINDOW, id(EOS));
    Window { tokens }
}

/// Rows of the text encoder, positions added: (windows, 77, C).
fn rows(clip: &Clip, windows: &[&Window]) -> Result<Vec<f32>> {
    let mut rows = Vec::with_capacity(windows.len() * WINDOW * clip.width());
    for window in windows {
        for (position, token) in window.tokens.iter().enumerate() {
            let word = match &token.piece {
                Piece::Id(id) => clip.token(*id).ok_or_else(|| outside("token", *id as usize))?,
                Piece::Row { embedding, row } => {
                    clip.word(&embedding.values[row * embedding.width..(row + 1) * embedding.width])
                }
            };
            let place = clip.position(position).ok_or_else(|| outside("position", position))?;
            rows.extend(word.iter().zip(place).map(|(word, place)| word + place));
        }
    }
    Ok(rows)
}

fn outside(what: &str, number: usize) -> Error {
    let sentence = format!("the prompt needs {what} {number}, which this checkpoint's text encoder does not have");
    Error::new(Code::WrongShape, sentence)
}

/// The weights of all rows, as the kernel of the dialect wants them: (windows · 77, 4).
///
/// ComfyUI weighs each row against the same position of the encoded empty prompt, which is the last window.
fn weights(gpu: &Gpu, windows: &[&Window], syntax: Syntax) -> Tensor {
    let empty = (windows.len() - 1) * WINDOW;
    let tokens = windows.iter().flat_map(|window| &window.tokens).enumerate();
    let table: Vec<f32> = tokens
        .flat_map(|(row, token)| match syntax {
            Syntax::Comfy => [row as f32, (empty + row % WINDOW) as f32, token.weight, 0.0],
            Syntax::A1111 => [token.weight, 0.0, 0.0, 0.0],
        })
        .collect();
    gpu.upload("weights", &[windows.len() * WINDOW, 4], Storage::F32, &table)
}
