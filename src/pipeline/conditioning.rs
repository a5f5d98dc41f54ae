//! From prompts that were read to what the UNet sees of them at each step.
//!
//! Everything the prompts say over all steps is encoded once, into one bank of rows. Where a prompt changes from one step to
//! the next (A1111's schedules and alternations), other rows of the bank are shown.

use std::ops::Range;
use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::prompt::{BOS, EOS, Parsed, Piece, Scenario, Syntax, Token, WINDOW, Window};

use super::networks::{Networks, Windows};

/// Longer prompts are refused: their rows alone take more than 60 MB of wasm memory, a trap not far away.
const MOST_WINDOWS: usize = 256;

/// The prompts of a picture, and which of them count now.
pub struct Conditioning {
    /// Guidance weight of each prompt against the first: the negative prompt first if there is guidance, then the
    /// parts of the prompt.
    pub weights: Vec<f32>,
    scenarios: Vec<Scenario>,
    /// Every prompt of every step, none twice, in the order of the bank.
    prompts: Vec<Rc<Parsed>>,
    /// Each prompt as it is now.
    current: Vec<Rc<Parsed>>,
}

impl Conditioning {
    /// Takes `scenarios`: the prompt alone, or the negative prompt and the prompt.
    ///
    /// # Errors
    /// When the prompts are too long.
    pub(super) fn new(scenarios: Vec<Scenario>) -> Result<Self> {
        let mut prompts: Vec<Rc<Parsed>> = Vec::new();
        for span in scenarios.iter().flat_map(|scenario| &scenario.parts).flat_map(|part| &part.spans) {
            if !prompts.iter().any(|prompt| Rc::ptr_eq(prompt, &span.parsed)) {
                prompts.push(span.parsed.clone());
            }
        }
        let weights = scenarios.iter().flat_map(|scenario| scenario.at(1).map(|(weight, _)| weight)).collect();
        let conditioning = Self { weights, scenarios, prompts, current: Vec::new() };
        conditioning.check_length()?;
        Ok(conditioning)
    }

    fn check_length(&self) -> Result<()> {
        let count: usize = self.prompts.iter().map(|prompt| prompt.windows.len()).sum();
        if count > MOST_WINDOWS {
            let sentence = format!(
                "the prompts take {count} windows of 75 tokens over all steps; at most {MOST_WINDOWS} fit into memory: shorten them"
            );
            return Err(Error::new(Code::BadOption, sentence));
        }
        let (batch, longest) = (self.weights.len(), self.longest() / WINDOW);
        if batch * longest > MOST_WINDOWS * 2 {
            let sentence = format!(
                "{batch} prompts side by side, of up to {longest} windows of 75 tokens each, do not fit into memory: use fewer parts or shorter ones"
            );
            return Err(Error::new(Code::BadOption, sentence));
        }
        Ok(())
    }

    /// Rows of the longest prompt.
    pub(super) fn longest(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.windows.len() * WINDOW).max().unwrap_or(WINDOW)
    }

    /// The bank before it is encoded.
    ///
    /// # Errors
    /// When the model's vocabulary lacks a token.
    pub(super) fn windows(&self, networks: &dyn Networks, syntax: Syntax) -> Result<Windows> {
        let empty = empty_window();
        let mut windows: Vec<&Window> = self.prompts.iter().flat_map(|prompt| &prompt.windows).collect();
        let weighed = windows.iter().any(|window| window.is_weighted());
        if weighed && syntax == Syntax::Comfy {
            windows.push(&empty);
        }
        let weights = || windows.iter().flat_map(|window| window.weights()).collect();
        Ok(Windows {
            rows: rows(networks, &windows)?,
            count: windows.len(),
            weights: weighed.then(|| (syntax, weights())),
        })
    }

    /// The rows of the bank that are each prompt's at a step, counted from 1; `None` if they are those of before.
    pub(super) fn turn_to(&mut self, step: usize) -> Option<Vec<Range<usize>>> {
        let prompts: Vec<Rc<Parsed>> =
            self.scenarios.iter().flat_map(|scenario| scenario.at(step).map(|(_, prompt)| prompt.clone())).collect();
        let same = prompts.len() == self.current.len()
            && prompts.iter().zip(&self.current).all(|(prompt, current)| Rc::ptr_eq(prompt, current));
        if same {
            return None;
        }
        self.current = prompts;
        Some(self.current.iter().map(|prompt| self.place(prompt)).collect())
    }

    /// Where a prompt's rows lie in the bank.
    fn place(&self, prompt: &Rc<Parsed>) -> Range<usize> {
        let before = self.prompts.iter().take_while(|known| !Rc::ptr_eq(known, prompt));
        let first = before.map(|known| known.windows.len() * WINDOW).sum();
        first..first + prompt.windows.len() * WINDOW
    }

    /// How many rows each prompt has now.
    pub fn tokens(&self) -> Vec<usize> {
        self.current.iter().map(|prompt| prompt.windows.len() * WINDOW).collect()
    }
}

fn empty_window() -> Window {
    let id = |id| Token { piece: Piece::Id(id), weight: 1.0 };
    let mut tokens = vec![id(BOS)];
    tokens.resize(WINDOW, id(EOS));
    Window { tokens }
}

/// Rows of the text encoder, positions not yet added: (windows, 77, C).
fn rows(networks: &dyn Networks, windows: &[&Window]) -> Result<Vec<f32>> {
    let mut rows = Vec::with_capacity(windows.len() * WINDOW * networks.text_width());
    for token in windows.iter().flat_map(|window| &window.tokens) {
        rows.extend(match &token.piece {
            Piece::Id(id) => networks.token(*id).ok_or_else(|| outside("token", *id as usize))?,
            Piece::Row { embedding, row } => {
                networks.word(&embedding.values[row * embedding.width..(row + 1) * embedding.width])
            }
        });
    }
    Ok(rows)
}

/// The error for a prompt that needs what the text encoder does not have.
pub(super) fn outside(what: &str, number: usize) -> Error {
    let sentence = format!("the prompt needs {what} {number}, which this checkpoint's text encoder does not have");
    Error::new(Code::WrongShape, sentence)
}
