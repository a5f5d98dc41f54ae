//! From two read prompts to what the UNet sees of them.

use crate::error::{Code, Error, Result};
use crate::gpu::{Storage, Tensor};
use crate::kernels::weigh_tokens;
use crate::models::Clip;
use crate::prompt::{BOS, EOS, Parsed, Piece, Token, WINDOW, Window};

use super::StableDiffusion;

/// Longer prompts are refused: their rows alone take more than 60 MB of wasm memory, a trap not far away.
const MOST_WINDOWS: usize = 256;

/// The encoded prompts.
pub struct Conditioning {
    /// (B, S, C): the negative prompt first, then the prompt; or the prompt alone where there is no guidance. The
    /// shorter one is followed by rows that nothing looks at.
    pub context: Tensor,
    /// Tokens of each batch item; both the same for one.
    pub tokens: [usize; 2],
}

impl Conditioning {
    /// Encodes `prompts` (one, or the negative and the positive) in one batch.
    ///
    /// # Errors
    /// When the model's vocabulary lacks a token, or the GPU fails.
    pub fn encode(sd: &StableDiffusion, prompts: &[&Parsed], clip_skip: usize) -> Result<Self> {
        for prompt in prompts {
            if prompt.windows.len() > MOST_WINDOWS {
                let sentence = format!(
                    "a prompt takes {} windows of 75 tokens; at most {MOST_WINDOWS} fit into memory: shorten it",
                    prompt.windows.len()
                );
                return Err(Error::new(Code::BadOption, sentence));
            }
        }
        let mut windows: Vec<&Window> = prompts.iter().flat_map(|prompt| &prompt.windows).collect();
        let empty = empty_window();
        let weighed = windows.iter().any(|window| window.tokens.iter().any(|token| token.weight != 1.0));
        if weighed {
            windows.push(&empty);
        }
        let rows = rows(&sd.clip, &windows)?;
        let width = sd.clip.width();
        let tokens: Vec<usize> = prompts.iter().map(|prompt| prompt.windows.len() * WINDOW).collect();
        let longest = tokens.iter().copied().max().unwrap_or(WINDOW);
        let table = table(prompts, longest, windows.len() - 1);

        let gpu = &sd.gpu;
        let rows = gpu.upload("rows", &[windows.len(), WINDOW, width], gpu.storage(), &rows);
        let table = gpu.upload("table", &[table.len() / 4, 4], Storage::F32, &table);
        let (plan, context) = gpu.record("clip", || {
            let hidden = sd.clip.forward(&rows, clip_skip);
            weigh_tokens(&hidden, &table, &[prompts.len(), longest, width]).keep()
        });
        plan.run();
        Ok(Self { context, tokens: [tokens[0], tokens[tokens.len() - 1]] })
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
                    embedding.values[row * embedding.width..(row + 1) * embedding.width].to_vec()
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

/// For each row of the context: its row among the encoded windows, the same position of the empty window, its weight.
fn table(prompts: &[&Parsed], longest: usize, empty: usize) -> Vec<f32> {
    let mut table = Vec::new();
    let mut source = 0;
    for prompt in prompts {
        let tokens = prompt.windows.iter().flat_map(|window| &window.tokens);
        let before = table.len();
        for (i, token) in tokens.enumerate() {
            table.extend([source as f32, (empty * WINDOW + i % WINDOW) as f32, token.weight, 0.0]);
            source += 1;
        }
        while table.len() < before + longest * 4 {
            table.extend([-1.0, 0.0, 1.0, 0.0]);
        }
    }
    table
}
