//! Recipes in pictures: which texts a picture carries, which of them counts, and putting them into a PNG.

use super::{Recipe, comfy, exif, from_text, infotext, jpeg, no_recipe, png, webp};
use crate::error::{Code, Error, Result};

/// The longest text that is taken out of a picture.
pub(super) const LONGEST_TEXT: usize = 1 << 20;
/// All its texts together.
pub(super) const LONGEST_TEXTS: usize = 4 << 20;

/// The keywords of the texts that matter, A1111's first.
pub(super) const KEYWORDS: [&str; 3] = ["parameters", "prompt", "workflow"];

/// The texts of a picture, within their budget.
#[derive(Default)]
pub(super) struct Texts {
    found: [Option<String>; KEYWORDS.len()],
    spent: usize,
    pub notes: Vec<String>,
}

impl Texts {
    /// Whether a text of this keyword is still looked for.
    pub fn wants(&self, keyword: &str) -> bool {
        let slot = KEYWORDS.iter().position(|known| known.eq_ignore_ascii_case(keyword));
        slot.is_some_and(|slot| self.found[slot].is_none())
    }

    /// How long the next text may be.
    pub fn room(&self) -> usize {
        LONGEST_TEXT.min(LONGEST_TEXTS - self.spent)
    }

    /// Takes a text if its keyword is wanted; one that is too long is noted.
    pub fn offer(&mut self, keyword: &str, text: String) {
        if !self.wants(keyword) {
            return;
        }
        if text.len() > self.room() {
            return self.too_long(keyword);
        }
        self.spent += text.len();
        let slot = KEYWORDS.iter().position(|known| known.eq_ignore_ascii_case(keyword));
        if let Some(slot) = slot {
            self.found[slot] = Some(text);
        }
    }

    /// Notes a text that is over the budget.
    pub fn too_long(&mut self, keyword: &str) {
        let keyword = crate::files::clipped(keyword, 40);
        let megabytes = LONGEST_TEXT >> 20;
        self.notes.push(format!(
            "The text \u{201c}{keyword}\u{201d} in the picture is too long to be a recipe (the most is {megabytes} MiB) and was not read."
        ));
    }

    /// The recipe of the first text that has one.
    fn recipe(self, picture: &str) -> Result<Recipe> {
        let mut notes = self.notes;
        let mut prompt_only = None;
        let mut reason = None;
        for (keyword, text) in KEYWORDS.iter().zip(self.found) {
            let Some(text) = text else { continue };
            match from_text(&text) {
                Ok(mut recipe) => {
                    notes.into_iter().for_each(|note| recipe.note(note));
                    return Ok(recipe);
                }
                // A1111 leaves the parameters out when told to: then the text is the prompt.
                Err(_) if *keyword == "parameters" && !text.trim_start().starts_with('{') => {
                    prompt_only = Some(infotext::parse(&text)).filter(|recipe| !recipe.prompt.is_empty());
                }
                Err(e) => {
                    notes.push(e.message.clone());
                    reason = reason.or(Some(e.message));
                }
            }
        }
        if let Some(mut recipe) = prompt_only {
            notes.into_iter().for_each(|note| recipe.note(note));
            return Ok(recipe);
        }
        let reason = reason
            .or(notes.into_iter().next())
            .unwrap_or_else(|| "It was saved without one, or a site or a program removed it.".to_string());
        Err(no_recipe(format!("This {picture} carries no recipe. {reason}")))
    }
}

/// Reads the recipe in a picture (PNG, JPEG, WebP) or in a text file, whichever the bytes are.
///
/// # Errors
/// [`Code::NoRecipe`] with the reason.
pub fn read(bytes: &[u8]) -> Result<Recipe> {
    let mut texts = Texts::default();
    if bytes.starts_with(png::SIGNATURE) {
        png::read(bytes, &mut texts);
        return texts.recipe("PNG picture");
    }
    if bytes.starts_with(jpeg::SIGNATURE) {
        jpeg::read(bytes, &mut texts);
        return texts.recipe("JPEG picture");
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        webp::read(bytes, &mut texts);
        return texts.recipe("WebP picture");
    }
    if bytes.is_empty() {
        return Err(Error::new(Code::EmptyFile, "The file is empty (0 bytes)."));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= LONGEST_TEXTS && !text.contains('\0') => from_text(text),
        _ => Err(no_recipe("This file is no PNG, JPEG or WebP picture and no text, so it carries no recipe.")),
    }
}

/// What a PNG of ours carries: A1111's `parameters`, ComfyUI's `prompt` and `workflow`, as keyword and text.
///
/// A prompt in A1111's grammar means something else to ComfyUI, which would make another picture of it without a word;
/// so ComfyUI's two texts go with ComfyUI's grammar only.
pub fn png_chunks(recipe: &Recipe) -> Vec<(&'static str, String)> {
    let mut chunks = vec![(KEYWORDS[0], infotext::write(recipe))];
    if recipe.dialect != Some(super::Dialect::A1111) {
        chunks.push((KEYWORDS[1], comfy::api_json(recipe)));
        chunks.push((KEYWORDS[2], comfy::workflow_json(recipe)));
    }
    chunks
}

/// The same picture with these texts before its pixels, in place of earlier ones of the same keywords.
///
/// # Errors
/// [`Code::UnknownFormat`] if the bytes are no PNG, [`Code::Truncated`] if they end before the pixels begin,
/// [`Code::BadOption`] for a keyword that PNG does not allow.
pub fn embed_in_png(picture: &[u8], chunks: &[(&str, String)]) -> Result<Vec<u8>> {
    png::embed(picture, chunks)
}

/// The same picture without anything that it says: no texts, no EXIF.
///
/// # Errors
/// As [`embed_in_png`].
pub fn bare_png(picture: &[u8]) -> Result<Vec<u8>> {
    png::bare(picture)
}

/// Offers the texts that an EXIF block carries.
pub(super) fn offer_exif(block: &[u8], texts: &mut Texts) {
    if block.len() > LONGEST_TEXT {
        return texts.too_long("EXIF");
    }
    for (keyword, text) in exif::texts(block) {
        texts.offer(&keyword, text);
    }
}
