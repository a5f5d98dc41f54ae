//! A second pass at a larger size, among an infotext's settings and as ComfyUI's nodes: latents or pixels are made larger, and
//! another KSampler goes on.

use serde_json::Value;

use super::Recipe;
use super::graph::Node;
use super::graph_reader::{Reader, number_of};
use super::settings::{DENOISE, HIRES_SCALE, HIRES_STEPS, HIRES_UPSCALER};
use crate::files::clipped;

/// A way to enlarge.
pub struct Way {
    /// A1111's name.
    a1111: &'static str,
    /// The nodes LatentUpscale and LatentUpscaleBy, or ImageScale and ImageScaleBy.
    pub pixels: bool,
    /// What those call it.
    pub method: &'static str,
}

const WAYS: [Way; 3] = [
    Way { a1111: "Latent", pixels: false, method: "bilinear" },
    Way { a1111: "Latent (nearest-exact)", pixels: false, method: "nearest-exact" },
    Way { a1111: "Lanczos", pixels: true, method: "lanczos" },
];

/// What a recipe says of a second pass.
pub struct SecondPass {
    scale: f64,
    pub way: &'static Way,
    /// As many as the first pass has if `None`.
    pub steps: Option<usize>,
    pub denoise: f64,
}

impl SecondPass {
    /// That of a recipe, if it has one that can be told by nodes.
    pub fn of(recipe: &Recipe) -> Option<Self> {
        let value = |key: &str| recipe.extra.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        let name = value(HIRES_UPSCALER)?;
        Some(Self {
            scale: value(HIRES_SCALE)?.parse().ok().filter(|scale| (1.0..=8.0).contains(scale))?,
            way: WAYS.iter().find(|way| way.a1111 == name)?,
            steps: value(HIRES_STEPS).and_then(|steps| steps.parse().ok()),
            denoise: value(DENOISE)?.parse().ok().filter(|denoise| (0.0..=1.0).contains(denoise))?,
        })
    }

    /// A side in pixels, made larger.
    pub fn larger(&self, side: usize) -> usize {
        (side as f64 * self.scale / 8.0 + 1e-6) as usize * 8
    }

    fn settings(&self) -> Vec<(String, String)> {
        let steps = self.steps.map(|steps| (HIRES_STEPS, steps.to_string()));
        let told = [
            (DENOISE, self.denoise.to_string()),
            (HIRES_SCALE, self.scale.to_string()),
            (HIRES_UPSCALER, self.way.a1111.to_string()),
        ];
        told.into_iter().chain(steps).map(|(key, value)| (key.to_string(), value)).collect()
    }
}

impl<'g> Reader<'g> {
    /// Reads a sampler that goes on with what the first one made, enlarged; whether there is one.
    pub fn second_pass(&mut self, first: &'g Node, samplers: &[&'g Node]) -> bool {
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
        let pass = SecondPass { scale, way: way.unwrap_or(&WAYS[0]), steps, denoise };
        self.recipe.extra.extend(pass.settings());
        self.own_settings(first, second);
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
        let sides = [(number("width")?, self.recipe.width?), (number("height")?, self.recipe.height?)];
        let factors: Vec<f64> =
            sides.iter().filter(|(to, _)| *to > 0.0).map(|(to, from)| to / (*from).max(1) as f64).collect();
        let scale = *factors.first()?;
        if factors.iter().any(|other| (other / scale - 1.0).abs() > 0.02) {
            self.recipe.note("The second pass has another shape than the first: here both sides grow alike.");
        }
        Some(scale)
    }

    /// Notes what the second sampler has of its own.
    fn own_settings(&mut self, first: &'g Node, second: &'g Node) {
        let named = [("seed", "seed"), ("cfg", "cfg"), ("sampler_name", "sampler"), ("scheduler", "scheduler")];
        let values = named.into_iter().filter(|(key, _)| self.value(first, key) != self.value(second, key));
        let linked = [("model", "model"), ("positive", "prompt"), ("negative", "negative prompt")];
        let links = linked.into_iter().filter(|(key, _)| first.inputs.get(*key) != second.inputs.get(*key));
        let own: Vec<&str> = values.chain(links).map(|(_, name)| name).collect();
        if !own.is_empty() {
            self.recipe
                .note(format!("The second pass has its own {}: here it goes on with the first one's.", own.join(", ")));
        }
    }
}
