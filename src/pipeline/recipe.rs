//! What a picture was made from, for the file it is saved in.

use crate::error::Result;
use crate::prompt::{Syntax, expand};
use crate::recipe::settings::{
    self, DENOISE, GUIDANCE_END, GUIDANCE_START, HIRES_SCALE, HIRES_STEPS, HIRES_UPSCALER, KEEP_WHOLE, MASK_BLUR,
    MASKED_CONTENT, MASKED_PADDING, ONLY_MASKED, SEED_DELTA, SIGMA_CHURN, SIGMA_NOISE, SIGMA_TMAX, SIGMA_TMIN,
    VARIATION_SEED, VARIATION_STRENGTH,
};
use crate::recipe::{Batch, Dialect, Recipe, Rng, images, second_pass};
use crate::samplers::{Generator, Options, Variation};

use super::{Decoder, Generation, Hires, Image, MaskedContent, Params, StableDiffusion};

/// How an infotext says that TAESD decoded.
const BY_TAESD: (&str, &str) = ("VAE Decoder", "TAESD");

impl Generation {
    /// The recipe of the picture, or of the first of a batch.
    pub fn recipe(&self, sd: &StableDiffusion) -> Recipe {
        self.recipe_of(0, sd)
    }

    /// The recipe of one picture of the batch, counted from 0.
    pub fn recipe_of(&self, picture: usize, sd: &StableDiffusion) -> Recipe {
        let (params, seed) = (&self.params_of(picture), self.first_params().seed);
        // What the text model got, and what that was made of where it is something else.
        let worked_out = |template: &str| match params.syntax {
            Syntax::Comfy => {
                let text = expand(template, seed);
                let template = (text != template).then(|| template.to_string());
                (text, template)
            }
            Syntax::A1111 => (template.to_string(), None),
        };
        let (prompt, raw_prompt) = worked_out(&params.prompt);
        let (negative_prompt, raw_negative_prompt) = worked_out(&params.negative_prompt);
        let told = |template: &str| worked_out(template).0;
        let hires = self.enlarged.as_ref().map(|(_, hires)| hires.settings(told)).unwrap_or_default();
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
            batch: (params.batch > 1).then_some(Batch { size: params.batch, place: Some(picture) }),
            extra: extra(params, self.enlarged.is_some()).chain(hires).collect(),
            ..of_params(params)
        }
    }
}

impl Generation {
    /// A second pass is told with the first one's numbers, as A1111 does.
    fn first_params(&self) -> &Params {
        self.enlarged.as_ref().map_or(self.params(), |(first, _)| first)
    }

    /// With the seeds of one picture of the batch.
    fn params_of(&self, picture: usize) -> Params {
        let params = self.first_params();
        let (seed, second) = self.seeds_of(picture);
        // A second pass with a seed of its own counts from there.
        let seed = seed.wrapping_sub(self.params().seed).wrapping_add(params.seed);
        let variation = params.variation.zip(second).map(|(of, seed)| Variation { seed, ..of });
        Params { seed, variation, ..params.clone() }
    }
}

/// What an infotext says of settings that are not as usual.
fn extra(params: &Params, hires: bool) -> impl Iterator<Item = (String, String)> {
    let (sampling, usual) = (params.sampling, Options::default());
    let changed = |value: f64, usual: f64| (value != usual).then(|| value.to_string());
    let variation = params.variation.filter(|variation| variation.strength != 0.0);
    let mask = params.init.as_ref().and_then(|init| init.mask.as_ref());
    let content = mask.map(|mask| mask.content).filter(|content| *content != MaskedContent::Original);
    let padding = mask.and_then(|mask| mask.only_masked);
    let settings = [
        (VARIATION_SEED, variation.map(|variation| variation.seed.to_string())),
        (VARIATION_STRENGTH, variation.map(|variation| variation.strength.to_string())),
        (SEED_DELTA, (params.seed_delta != 0).then(|| params.seed_delta.to_string())),
        (settings::eta(params.sampler.name()), sampling.eta.map(|eta| eta.to_string())),
        (SIGMA_NOISE, changed(sampling.s_noise, usual.s_noise)),
        (SIGMA_CHURN, changed(sampling.churn, usual.churn)),
        (SIGMA_TMIN, changed(sampling.churn_min, usual.churn_min)),
        (SIGMA_TMAX, changed(sampling.churn_max, usual.churn_max)),
        (GUIDANCE_START, changed(params.guidance_start, 0.0)),
        (GUIDANCE_END, changed(params.guidance_end, 1.0)),
        // A second pass says its own under the same key.
        (DENOISE, params.init.as_ref().filter(|_| !hires).map(|init| init.denoise.to_string())),
        (MASK_BLUR, mask.filter(|mask| mask.blur != 0.0).map(|mask| mask.blur.to_string())),
        (ONLY_MASKED.0, padding.map(|_| ONLY_MASKED.1.to_string())),
        (MASKED_PADDING, padding.map(|padding| padding.to_string())),
        (MASKED_CONTENT, content.map(|content| content.name().to_string())),
        (BY_TAESD.0, (params.decoder == Decoder::Taesd).then(|| BY_TAESD.1.to_string())),
        (KEEP_WHOLE.0, params.keep_embeddings_whole.then(|| KEEP_WHOLE.1.to_string())),
    ];
    settings.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?)))
}

impl Hires {
    /// What an infotext says of it; `worked_out` gives the text that a prompt's template stands for.
    pub fn settings(&self, worked_out: impl Fn(&str) -> String) -> Vec<(String, String)> {
        let own = second_pass::Own {
            prompt: self.own.prompt.as_deref().map(&worked_out),
            negative_prompt: self.own.negative_prompt.as_deref().map(&worked_out),
            seed: self.own.seed,
            sampler: self.own.sampler.map(|sampler| sampler.name().to_string()),
            scheduler: self.own.schedule.map(|schedule| schedule.name().to_string()),
            cfg: self.own.cfg.and_then(|cfg| cfg.to_string().parse().ok()),
        };
        let steps = self.steps.map(|steps| (HIRES_STEPS, steps.to_string()));
        let told = [
            (DENOISE, self.denoise.to_string()),
            (HIRES_SCALE, self.scale.to_string()),
            (HIRES_UPSCALER, self.upscaler.a1111_name().to_string()),
        ];
        let told = told.into_iter().chain(steps).map(|(key, value)| (key.to_string(), value));
        told.chain(own.settings()).collect()
    }
}

/// The numbers of a recipe.
fn of_params(params: &Params) -> Recipe {
    Recipe {
        steps: Some(params.steps),
        sampler: Some(params.sampler.name().to_string()),
        scheduler: Some(params.schedule.unwrap_or(params.sampler.automatic(params.tool)).name().to_string()),
        // By way of its shortest text: 7.1 must not become 7.099999904632568.
        cfg: params.cfg.to_string().parse().ok(),
        cfg_rescale: params.cfg_rescale.to_string().parse().ok().filter(|multiplier| *multiplier != 0.0),
        seed: Some(params.seed),
        rng: Some(params.generator.into()),
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

impl From<Generator> for Rng {
    fn from(generator: Generator) -> Self {
        match generator {
            Generator::Cpu => Rng::Cpu,
            Generator::Nvidia => Rng::Nvidia,
        }
    }
}
