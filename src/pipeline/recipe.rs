//! What a picture was made from, for the file it is saved in.

use crate::error::Result;
use crate::prompt::{Syntax, expand};
use crate::recipe::{Dialect, Recipe, images};

use super::{Generation, Image, Params, StableDiffusion};

/// How an infotext says that embeddings were kept whole: other programs pass over a key they do not know.
pub const KEEP_WHOLE: (&str, &str) = ("Keep embeddings whole", "True");

impl Generation {
    /// The recipe of the picture.
    pub fn recipe(&self, sd: &StableDiffusion) -> Recipe {
        let params = self.params();
        // What the text model got, and what that was made of where it is something else.
        let worked_out = |template: &String| match params.syntax {
            Syntax::Comfy => {
                let text = expand(template, params.seed);
                let template = (text != *template).then(|| template.clone());
                (text, template)
            }
            Syntax::A1111 => (template.clone(), None),
        };
        let (prompt, raw_prompt) = worked_out(&params.prompt);
        let (negative_prompt, raw_negative_prompt) = worked_out(&params.negative_prompt);
        let used = self.used_embeddings().into_iter().filter_map(|name| {
            let (known, embedding) = sd.library.get(&name)?;
            Some((known.to_string(), embedding.sha256.get(..12).unwrap_or_default().to_string()))
        });
        Recipe {
            prompt,
            raw_prompt,
            negative_prompt,
            raw_negative_prompt,
            embeddings: used.collect(),
            dialect: Some(match params.syntax {
                Syntax::Comfy => Dialect::Comfy,
                Syntax::A1111 => Dialect::A1111,
            }),
            model: Some(sd.model.name.clone()),
            model_hash: sd.model.sha256.as_ref().and_then(|hash| hash.get(..10)).map(str::to_string),
            vae: sd.model.vae.clone(),
            extra: if params.keep_embeddings_whole { vec![KEEP_WHOLE] } else { vec![] }
                .into_iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            ..of_params(params)
        }
    }
}

/// The numbers of a recipe.
fn of_params(params: &Params) -> Recipe {
    Recipe {
        steps: Some(params.steps),
        sampler: Some(params.sampler.name().to_string()),
        scheduler: Some(params.schedule.name().to_string()),
        // By way of its shortest text: 7.1 must not become 7.099999904632568.
        cfg: params.cfg.to_string().parse().ok(),
        seed: Some(params.seed),
        width: Some(params.width),
        height: Some(params.height),
        clip_skip: Some(params.clip_skip),
        ..Recipe::default()
    }
}

impl Image {
    /// The picture as a PNG that carries its recipe, for A1111 and ComfyUI to read.
    ///
    /// # Errors
    /// [`Code::Internal`](crate::Code::Internal) if an encoder refuses, which it has no reason to.
    pub fn png_with(&self, recipe: &Recipe) -> Result<Vec<u8>> {
        images::embed_in_png(&self.png()?, &images::png_chunks(recipe))
    }
}
