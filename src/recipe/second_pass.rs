//! A second pass at a larger size, among an infotext's settings and as ComfyUI's nodes: latents or pixels are made larger, and
//! another KSampler goes on.

use serde_json::Value;

use super::graph::Node;
use super::graph_reader::{Reader, number_of, whole};
use super::settings::{
    DENOISE, HIRES_CFG, HIRES_NEGATIVE_PROMPT, HIRES_PROMPT, HIRES_RESIZE, HIRES_SAMPLER, HIRES_SCALE, HIRES_SCHEDULE,
    HIRES_SEED, HIRES_STEPS, HIRES_UPSCALER,
};
use super::{Dialect, Recipe, names, template};
use crate::files::clipped;

/// A way to enlarge.
pub(super) struct Way {
    /// A1111's name, or what an infotext of ours says.
    a1111: &'static str,
    /// The nodes LatentUpscale and LatentUpscaleBy, or ImageScale and ImageScaleBy.
    pub(super) pixels: bool,
    /// What those call it.
    pub(super) method: &'static str,
}

/// A1111's antialiased ones and its "Latent (nearest)" are no node's.
const WAYS: [Way; 10] = [
    Way { a1111: "Latent", pixels: false, method: "bilinear" },
    Way { a1111: "Latent (bicubic)", pixels: false, method: "bicubic" },
    Way { a1111: "Latent (nearest-exact)", pixels: false, method: "nearest-exact" },
    Way { a1111: "Latent (area)", pixels: false, method: "area" },
    Way { a1111: "Latent (bislerp)", pixels: false, method: "bislerp" },
    Way { a1111: "Lanczos", pixels: true, method: "lanczos" },
    Way { a1111: "Nearest", pixels: true, method: "nearest-exact" },
    Way { a1111: "Bilinear", pixels: true, method: "bilinear" },
    Way { a1111: "Bicubic", pixels: true, method: "bicubic" },
    Way { a1111: "Area", pixels: true, method: "area" },
];

/// What a recipe says of a second pass.
pub(super) struct SecondPass {
    scale: f64,
    pub(super) way: &'static Way,
    /// As many as the first pass has if `None`.
    pub(super) steps: Option<usize>,
    pub(super) denoise: f64,
    pub(super) own: Own,
}

/// What a second pass has instead of the first one's, in ComfyUI's names; `None` is the same.
#[derive(Debug, Default, PartialEq)]
pub struct Own {
    /// The prompt, as the text model gets it.
    pub prompt: Option<String>,
    /// The negative prompt, likewise.
    pub negative_prompt: Option<String>,
    /// The seed.
    pub seed: Option<u64>,
    /// The sampler.
    pub sampler: Option<String>,
    /// The noise levels.
    pub scheduler: Option<String>,
    /// Strength of guidance.
    pub cfg: Option<f64>,
}

impl Own {
    /// That of a recipe.
    pub fn of(recipe: &Recipe) -> Self {
        let value = |key: &str| recipe.extra.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
        // A1111's menus begin with "Use same sampler" and "Use same scheduler".
        let named = |key: &str| value(key).filter(|name| !name.starts_with("Use same"));
        let (sampler, suffix) = named(HIRES_SAMPLER).map(|name| names::sampler_of_a1111(&name)).unzip();
        let automatic = || names::automatic_scheduler(sampler.as_deref().or(recipe.sampler.as_deref())?);
        let scheduler = named(HIRES_SCHEDULE)
            .and_then(|name| names::scheduler_of_a1111(&name).or_else(|| automatic().map(str::to_string)));
        Self {
            prompt: value(HIRES_PROMPT),
            negative_prompt: value(HIRES_NEGATIVE_PROMPT),
            seed: value(HIRES_SEED).and_then(|seed| seed.parse().ok()),
            scheduler: scheduler.or_else(|| suffix.flatten().map(str::to_string)),
            sampler,
            cfg: value(HIRES_CFG).and_then(|cfg| cfg.parse().ok()).filter(|cfg: &f64| cfg.is_finite()),
        }
    }

    /// With the templates that give its prompts, for who uses it again.
    pub fn with_templates(mut self, dialect: Option<Dialect>) -> Self {
        for prompt in [&mut self.prompt, &mut self.negative_prompt].into_iter().flatten() {
            *prompt = template::giving(prompt, dialect);
        }
        self
    }

    /// As an infotext tells of a pass that has these settings besides.
    pub fn settings_of(&self, scale: f64, upscaler: &str, denoise: f64, steps: Option<usize>) -> Vec<(String, String)> {
        let told =
            [(DENOISE, denoise.to_string()), (HIRES_SCALE, scale.to_string()), (HIRES_UPSCALER, upscaler.into())];
        let steps = steps.map(|steps| (HIRES_STEPS, steps.to_string()));
        let told = told.into_iter().chain(steps).map(|(key, value)| (key.to_string(), value));
        told.chain(self.settings()).collect()
    }

    /// As an infotext tells it.
    pub fn settings(&self) -> Vec<(String, String)> {
        // Some of ComfyUI's samplers share A1111's name: where that would be read as another, ComfyUI's stays.
        let sampler = self.sampler.as_deref().map(|name| {
            let there = names::a1111_sampler(name);
            if names::sampler_of_a1111(there).0 == name { there } else { name }
        });
        let told = [
            (HIRES_PROMPT, self.prompt.clone()),
            (HIRES_NEGATIVE_PROMPT, self.negative_prompt.clone()),
            (HIRES_SEED, self.seed.map(|seed| seed.to_string())),
            (HIRES_SAMPLER, sampler.map(str::to_string)),
            (HIRES_SCHEDULE, self.scheduler.as_deref().map(|name| names::a1111_scheduler(name).to_string())),
            (HIRES_CFG, self.cfg.map(|cfg| cfg.to_string())),
        ];
        told.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect()
    }
}

/// Turns a second pass's size into the factor it is of the first one's.
pub(super) fn settle_size(recipe: &mut Recipe) {
    let Some(at) = recipe.extra.iter().position(|(key, _)| key == HIRES_RESIZE) else { return };
    let sides = recipe.extra[at].1.split_once('x').and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    let Some((to, from)) = sides.zip(recipe.width.zip(recipe.height)) else { return };
    let Some((scale, alike)) = factor(to, [from.0, from.1]) else { return };
    recipe.extra[at] = (HIRES_SCALE.to_string(), scale.to_string());
    // Where it is known, what `keep` said of the size does not hold.
    recipe.notes.retain(|note| !note.contains(HIRES_RESIZE));
    if !alike {
        recipe.note(OTHER_SHAPE);
    }
}

const OTHER_SHAPE: &str = "The second pass has another shape than the first: here both sides grow alike.";

/// How many times as large `to` is, and whether both sides grow alike; a side of 0 follows the other one.
fn factor(to: [f64; 2], from: [usize; 2]) -> Option<(f64, bool)> {
    let sides = to.into_iter().zip(from).filter(|(to, _)| *to > 0.0);
    let factors: Vec<f64> = sides.map(|(to, from)| to / from.max(1) as f64).collect();
    let scale = *factors.first()?;
    Some((scale, factors.iter().all(|other| (other / scale - 1.0).abs() <= 0.02)))
}

impl SecondPass {
    /// That of a recipe, if it has one that can be told by nodes.
    pub(super) fn of(recipe: &Recipe) -> Option<Self> {
        let value = |key: &str| recipe.extra.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        let name = value(HIRES_UPSCALER)?;
        Some(Self {
            scale: value(HIRES_SCALE)?.parse().ok().filter(|scale| (1.0..=8.0).contains(scale))?,
            way: WAYS.iter().find(|way| way.a1111 == if name == "None" { "Lanczos" } else { name })?,
            steps: value(HIRES_STEPS).and_then(|steps| steps.parse().ok()),
            denoise: value(DENOISE)?.parse().ok().filter(|denoise| (0.0..=1.0).contains(denoise))?,
            own: Own::of(recipe),
        })
    }

    /// A side in pixels, made larger.
    pub(super) fn larger(&self, side: usize) -> usize {
        (side as f64 * self.scale / 8.0 + 1e-6) as usize * 8
    }

    fn settings(&self) -> Vec<(String, String)> {
        self.own.settings_of(self.scale, self.way.a1111, self.denoise, self.steps)
    }
}

impl<'g> Reader<'g> {
    /// Reads a sampler that goes on with what the first one made, enlarged; whether there is one.
    pub(super) fn second_pass(&mut self, first: &'g Node, samplers: &[&'g Node]) -> bool {
        let found = samplers.iter().find_map(|second| Some((*second, self.enlarges(second, first)?)));
        let Some((second, scaler)) = found else { return false };
        let Some(scale) = self.scale(scaler) else {
            self.recipe.note("How large the second pass is could not be found in the workflow: it is left out.");
            return true;
        };
        let pixels = scaler.class.starts_with("Image");
        let method = self.value(scaler, "upscale_method").and_then(Value::as_str).unwrap_or_default();
        let way = WAYS.iter().find(|way| way.pixels == pixels && way.method == method);
        if way.is_none() {
            let method = clipped(method, 40);
            self.recipe.note(format!(
                "The way to enlarge \u{201c}{method}\u{201d} is not known: latents are enlarged linearly."
            ));
        }
        let steps = self.value(second, "steps").and_then(number_of).map(|steps| steps as usize);
        let denoise = self.value(second, "denoise").and_then(number_of).unwrap_or(1.0);
        let steps = steps.filter(|steps| Some(*steps) != self.recipe.steps);
        let own = self.own_settings(first, second);
        let pass = SecondPass { scale, way: way.unwrap_or(&WAYS[0]), steps, denoise, own };
        self.recipe.extra.extend(pass.settings());
        true
    }

    /// The node that enlarges what `first` made for `second`.
    fn enlarges(&self, second: &'g Node, first: &Node) -> Option<&'g Node> {
        let from = |node: &'g Node, input: &str| self.graph.origin(node.inputs.get(input));
        let latent = from(second, "latent_image")?;
        let (scaler, source) = match latent.class.as_str() {
            "LatentUpscale" | "LatentUpscaleBy" => (latent, from(latent, "samples")?),
            "VAEEncode" => {
                let scaler = from(latent, "pixels").filter(|node| node.class.starts_with("ImageScale"))?;
                (scaler, from(from(scaler, "image")?, "samples")?)
            }
            _ => return None,
        };
        (source.id == first.id && second.id != first.id).then_some(scaler)
    }

    /// How many times as large it becomes; a side of 0 follows the other one.
    fn scale(&mut self, scaler: &'g Node) -> Option<f64> {
        let number = |name: &str| self.value(scaler, name).and_then(number_of);
        if let Some(scale) = number("scale_by") {
            return Some(scale);
        }
        let (scale, alike) = factor([number("width")?, number("height")?], [self.recipe.width?, self.recipe.height?])?;
        if !alike {
            self.recipe.note(OTHER_SHAPE);
        }
        Some(scale)
    }

    /// What the second sampler has of its own.
    fn own_settings(&mut self, first: &'g Node, second: &'g Node) -> Own {
        // KSamplerAdvanced calls its seed otherwise.
        let seed = |node: &'g Node| ["seed", "noise_seed"].iter().find_map(|name| self.value(node, name));
        let name = |key: &str| {
            let here = self.value(second, key).filter(|value| Some(*value) != self.value(first, key))?;
            here.as_str().map(str::to_string)
        };
        let mut open = false;
        let mut prompt = |role: &str| {
            let text = (first.inputs.get(role) != second.inputs.get(role)).then(|| self.prompt_of(second, role));
            let text = text.flatten()?;
            let worked_out = if self.graph.editor { template::undone(&text) } else { Some(text) };
            open |= worked_out.is_none();
            worked_out
        };
        let cfg = self.value(second, "cfg").and_then(number_of).filter(|cfg| cfg.is_finite());
        let own = Own {
            prompt: prompt("positive").filter(|text| *text != self.recipe.prompt),
            negative_prompt: prompt("negative").filter(|text| *text != self.recipe.negative_prompt),
            seed: seed(second).and_then(whole).filter(|seed| Some(*seed) != self.recipe.seed),
            sampler: name("sampler_name"),
            scheduler: name("scheduler"),
            cfg: cfg.filter(|cfg| Some(*cfg) != self.recipe.cfg),
        };
        if open {
            self.recipe
                .note("The second pass's prompt leaves choices ({a|b}) open: here it goes on with the first one's.");
        }
        if first.inputs.get("model") != second.inputs.get("model") {
            self.recipe.note("The second pass has its own model: here it goes on with the first one's.");
        }
        own
    }
}
