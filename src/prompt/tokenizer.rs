//! CLIP's byte-pair encoding: the vocabulary is in the program, the algorithm is the crate `tokenizers`.
//!
//! The settings are those of Hugging Face's `CLIPTokenizer` (transformers 5, which is `tokenizers` underneath): NFC,
//! whitespace runs to one space, lower case, CLIP's regular expression, byte-level pairs with `</w>` at the end of words.
//! The older Python class of transformers 4 differs on control characters, on the Greek final sigma, and, where the
//! package `ftfy` is missing, on Han characters and joined emoji.

use std::ops::Range;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, NormalizerWrapper, Replace, Sequence, replace::ReplacePattern};
use tokenizers::pre_tokenizers::{
    PreTokenizerWrapper,
    byte_level::ByteLevel,
    sequence::Sequence as PreTokenizers,
    split::{Split, SplitPattern},
};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::error::{Code, Error, Result};

use super::byte_level::{END_OF_WORD, byte_of, byte_tokens};

/// `<|startoftext|>`, before every window.
pub const BOS: u32 = 49406;

/// `<|endoftext|>`, after every window, and CLIP's padding.
pub const EOS: u32 = 49407;

/// The 48 894 merges of CLIP's vocabulary, strongest first, each a pair of ids: `build.rs` makes them of `clip_merges.txt`, as a
/// page that is downloaded is 28 kB smaller with ids than with the text.
const MERGES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clip_merges.bin"));

/// The words of a prompt, before pairs are merged (OpenAI CLIP, `simple_tokenizer.py`).
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Turns text into CLIP's token ids.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// The tokenizer of CLIP ViT-L/14, which is the one of SD 1.x. Takes about a tenth of a second: make one and keep it.
    ///
    /// # Errors
    /// [`Code::Internal`] if the vocabulary in the program is damaged.
    pub fn clip() -> Result<Self> {
        build().map(|inner| Self { inner }).map_err(|error| {
            Error::new(Code::Internal, format!("CLIP's vocabulary in this program is damaged: {error}"))
        })
    }

    /// The ids of a text, without begin and end. `<|endoftext|>` typed by a user is the end token, as everywhere.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        // Every byte is in the vocabulary and the expression has no backtracking, so there is nothing that can fail.
        self.inner.encode_fast(text, false).map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default()
    }

    /// The same with where in the text each stands, in bytes.
    pub(super) fn encode_places(&self, text: &str) -> Vec<(u32, Range<usize>)> {
        let Ok(encoding) = self.inner.encode(text, false) else { return Vec::new() };
        let places = encoding.get_offsets().iter().map(|(start, end)| *start..*end);
        encoding.get_ids().iter().copied().zip(places).collect()
    }

    /// The text of one id, for display: the end of a word is a space. Pieces of characters show as U+FFFD; an id that
    /// is not in the vocabulary is the empty string.
    pub fn decode(&self, id: u32) -> String {
        let Some(token) = self.inner.id_to_token(id) else { return String::new() };
        if id >= BOS {
            return token;
        }
        let (body, space) = match token.strip_suffix(END_OF_WORD) {
            Some(body) => (body, " "),
            None => (token.as_str(), ""),
        };
        let bytes: Vec<u8> = body.chars().filter_map(byte_of).collect();
        String::from_utf8_lossy(&bytes).into_owned() + space
    }
}

fn build() -> tokenizers::Result<tokenizers::Tokenizer> {
    let (vocabulary, merges) = vocabulary()?;
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix(END_OF_WORD.into())
        .unk_token("<|endoftext|>".into())
        .build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let whitespace = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ")?;
    let normalizers: Vec<NormalizerWrapper> = vec![NFC.into(), whitespace.into(), Lowercase.into()];
    tokenizer.with_normalizer(Some(Sequence::new(normalizers)))?;
    let words = Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::default().add_prefix_space(false);
    let pre_tokenizers: Vec<PreTokenizerWrapper> = vec![words.into(), bytes.into()];
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(pre_tokenizers)));
    // The begin token is matched after lower-casing and the end token before: so are they in SD 1.5's tokenizer files.
    tokenizer.add_special_tokens([
        AddedToken::from("<|startoftext|>", true).normalized(true),
        AddedToken::from("<|endoftext|>", true).normalized(false),
    ])?;
    Ok(tokenizer)
}

/// The vocabulary follows from the merges: 256 bytes, the same with `</w>`, one token per merge, begin and end.
fn vocabulary() -> tokenizers::Result<(Vocab, Vec<(String, String)>)> {
    let mut tokens = byte_tokens();
    // All low bytes of the left ids, all high bytes, then the right ids: so they compress best.
    let count = MERGES.len() / 4;
    let id = |plane: usize, i: usize| {
        usize::from(MERGES[plane * count + i]) + 256 * usize::from(MERGES[(plane + 1) * count + i])
    };
    let mut merges = Vec::with_capacity(count);
    for i in 0..count {
        let [left, right] = [id(0, i), id(2, i)].map(|id| tokens.get(id).cloned());
        let (left, right) = left.zip(right).ok_or_else(|| format!("the merge {i} names a token that comes later"))?;
        tokens.push(format!("{left}{right}"));
        merges.push((left, right));
    }
    tokens.extend(["<|startoftext|>".into(), "<|endoftext|>".into()]);
    if tokens.len() != EOS as usize + 1 {
        return Err(format!("{} tokens instead of {}", tokens.len(), EOS + 1).into());
    }
    Ok(((0u32..).zip(tokens).map(|(id, token)| (token, id)).collect(), merges))
}
