//! A graph's recipe: from the sampler along the links to what it is given.

use serde_json::Value;

use super::graph::{Graph, Input, MOST_HOPS, Node};
use super::settings::{DENOISE, MASKED_CONTENT};
use super::{Batch, Dialect, NVIDIA, Recipe, Rng, no_recipe, template};
use crate::error::Result;
use crate::files::clipped;

/// Nodes that are read, or that have nothing to say.
const UNDERSTOOD: [&str; 28] = [
    "KSampler",
    "KSamplerAdvanced",
    "CheckpointLoaderSimple",
    "CheckpointLoader",
    "VAELoader",
    "CLIPTextEncode",
    "EmptyLatentImage",
    "LoadImage",
    "LoadImageMask",
    "VAEEncode",
    "VAEEncodeForInpaint",
    "SetLatentNoiseMask",
    "CLIPSetLastLayer",
    "RescaleCFG",
    "LoraLoader",
    "LoraLoaderModelOnly",
    "VAEDecode",
    "VAEDecodeTiled",
    "SaveImage",
    "PreviewImage",
    "Reroute",
    "Note",
    "MarkdownNote",
    "PrimitiveNode",
    "PrimitiveInt",
    "PrimitiveFloat",
    "PrimitiveString",
    "PrimitiveStringMultiline",
];

/// Nodes that are read where they are part of a second pass.
const ENLARGES: [&str; 4] = ["LatentUpscale", "LatentUpscaleBy", "ImageScale", "ImageScaleBy"];

/// Inputs under which nodes keep a value that others link to.
const VALUES: [&str; 7] = ["value", "text", "string", "int", "float", "seed", "noise_seed"];

/// Reads the recipe of the first picture a graph makes. What cannot be found stays open and is noted.
///
/// # Errors
/// [`crate::Code::NoRecipe`] if no KSampler is in it.
pub fn read(graph: &Graph) -> Result<Recipe> {
    let is_sampler = |node: &&Node| node.class.starts_with("KSampler") && node.inputs.contains_key("positive");
    let samplers: Vec<&Node> = graph.nodes.iter().filter(is_sampler).collect();
    let starts_empty = |node: &&&Node| {
        graph.origin(node.inputs.get("latent_image")).is_some_and(|latent| latent.class == "EmptyLatentImage")
    };
    let Some(sampler) = samplers.iter().find(starts_empty).or(samplers.first()) else {
        let classes: Vec<String> = graph.nodes.iter().take(8).map(|node| clipped(&node.class, 40)).collect();
        return Err(no_recipe(format!(
            "This ComfyUI workflow has no KSampler that makes a picture from a prompt; its nodes are {}.",
            classes.join(", ")
        )));
    };
    // The noise a KSampler starts from is made on the CPU, whatever computes the rest.
    let recipe = Recipe { dialect: Some(Dialect::Comfy), rng: Some(Rng::Cpu), ..Recipe::default() };
    let mut reader = Reader { graph, recipe };
    reader.sampler(sampler);
    let worked_out = reader.prompts(sampler);
    reader.models(sampler);
    reader.guidance(sampler);
    reader.size(sampler);
    let second = reader.second_pass(sampler, &samplers);
    let (count, read) = (samplers.len(), if second { "node {} and a second pass over it are" } else { "node {} is" });
    if count > 1 + usize::from(second) {
        let read = read.replace("{}", &clipped(&sampler.id, 20));
        reader.recipe.note(format!("The workflow has {count} samplers; only {read} read."));
    }
    reader.not_understood(second);
    if let Some(ours) = &graph.ours {
        beyond(&mut reader.recipe, ours);
    }
    if let (Some(Batch { size, place: None }), Some(Dialect::Comfy)) = (reader.recipe.batch, reader.recipe.dialect) {
        reader
            .recipe
            .note(format!("The workflow makes {size} pictures at once and does not say which of them this is."));
    }
    template::settle(&mut reader.recipe, worked_out);
    Ok(reader.recipe)
}

/// The fields that a graph of ours carries beside its nodes; [`super::comfy`] writes them.
fn beyond(recipe: &mut Recipe, ours: &Value) {
    let text = |key: &str| ours.get(key).and_then(Value::as_str).map(str::to_string);
    let pairs =
        |key: &str| ours.get(key).and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default();
    recipe.dialect = text("dialect").and_then(|name| Dialect::from_name(&name)).or(recipe.dialect);
    recipe.model_hash = text("model_hash");
    if text("rng").as_deref() == Some(NVIDIA) {
        recipe.rng = Some(Rng::Nvidia);
    }
    if let Some((size, place)) = ours.get("batch").and_then(|batch| serde_json::from_value(batch.clone()).ok()) {
        recipe.batch = (size > 1).then_some(Batch { size, place });
    }
    recipe.embeddings = pairs("embeddings");
    let side = |key: &str| ours.get(key).and_then(Value::as_u64).and_then(|side| side.try_into().ok());
    (recipe.width, recipe.height) = (recipe.width.or(side("width")), recipe.height.or(side("height")));
    let extra: Vec<(String, String)> = pairs("extra");
    recipe.extra.retain(|(key, _)| !extra.iter().any(|(known, _)| known == key));
    recipe.extra.extend(extra);
    let a1111 = recipe.dialect == Some(Dialect::A1111);
    let prompts = [
        ("prompt", &mut recipe.prompt, "raw_prompt", &mut recipe.raw_prompt),
        ("negative_prompt", &mut recipe.negative_prompt, "raw_negative_prompt", &mut recipe.raw_negative_prompt),
    ];
    for (key, prompt, raw_key, raw) in prompts {
        *raw = text(raw_key);
        if let Some(worked_out) = text(key) {
            let held = std::mem::replace(prompt, worked_out);
            // What the editor holds of an A1111 prompt was made for it and is nobody's template.
            *raw = raw.take().or((!a1111).then_some(held));
        }
    }
}

/// A picture to start from.
struct Start<'g> {
    /// Its file's name.
    picture: &'g str,
    masked: bool,
    /// What is masked is gray at first.
    gray: bool,
}

/// Goes through a graph and fills a recipe.
pub struct Reader<'g> {
    pub graph: &'g Graph,
    pub recipe: Recipe,
}

impl<'g> Reader<'g> {
    /// Goes from an input to its origin and on through the first of the inputs `through` that the node there has,
    /// until `found` is satisfied.
    fn walk<T>(&self, from: Option<&'g Input>, through: &[&str], found: impl Fn(&'g Node) -> Option<T>) -> Option<T> {
        let mut input = from;
        for _ in 0..MOST_HOPS {
            let node = self.graph.origin(input)?;
            if let Some(found) = found(node) {
                return Some(found);
            }
            input = through.iter().find_map(|name| node.inputs.get(*name));
        }
        None
    }

    /// The value of an input, here or where its link leads.
    pub fn value(&self, node: &'g Node, name: &str) -> Option<&'g Value> {
        self.held(node, name).map(|(_, value)| value)
    }

    /// The same, with the node that holds it.
    fn held(&self, node: &'g Node, name: &str) -> Option<(&'g Node, &'g Value)> {
        match node.inputs.get(name)? {
            Input::Value(value) => Some((node, value)),
            link => self.walk(Some(link), &VALUES, |node| {
                VALUES.iter().find_map(|name| match node.inputs.get(*name)? {
                    Input::Value(value) => Some((node, value)),
                    Input::Link(..) => None,
                })
            }),
        }
    }

    fn whole(&mut self, node: &'g Node, name: &str, what: &str) -> Option<u64> {
        let value = self.value(node, name);
        let whole = value.and_then(whole);
        if whole.is_none() {
            self.missing(what, value);
        }
        whole
    }

    fn missing(&mut self, what: &str, value: Option<&Value>) {
        self.recipe.note(match value {
            Some(value) => format!("{what} {} cannot be used and was left out.", clipped(&value.to_string(), 60)),
            None => format!("{what} could not be found in the workflow."),
        });
    }

    fn sampler(&mut self, node: &'g Node) {
        let advanced = node.class == "KSamplerAdvanced";
        self.recipe.seed = self.whole(node, if advanced { "noise_seed" } else { "seed" }, "The seed");
        self.recipe.steps = self.whole(node, "steps", "The number of steps").and_then(|steps| steps.try_into().ok());
        let cfg = self.value(node, "cfg");
        self.recipe.cfg = cfg.and_then(number_of).filter(|cfg| cfg.is_finite());
        if self.recipe.cfg.is_none() {
            self.missing("The strength of guidance (cfg)", cfg);
        }
        let text = |name: &str| self.value(node, name).and_then(Value::as_str).map(str::to_string);
        (self.recipe.sampler, self.recipe.scheduler) = (text("sampler_name"), text("scheduler"));
        if self.recipe.sampler.is_none() {
            self.missing("The sampler", None);
        }
        if self.recipe.scheduler.is_none() {
            self.missing("The scheduler", None);
        }
        self.recipe.note_unknown_names();
        let number = |name: &str| self.value(node, name).and_then(Value::as_f64);
        let (denoise, start, end) = (number("denoise"), number("start_at_step"), number("end_at_step"));
        let steps = self.recipe.steps.map_or(0.0, |steps| steps as f64);
        let cut = start.is_some_and(|start| start > 0.0) || end.is_some_and(|end| end < steps);
        if let Some(encoder) = self.picture(node) {
            self.recipe.extra.push((DENOISE.to_string(), denoise.unwrap_or(1.0).to_string()));
            let mask = if encoder.masked { " and mark in it what is painted anew" } else { "" };
            self.recipe.note(format!(
                "It starts from the picture \u{201c}{}\u{201d}: choose that picture to start from{mask}.",
                clipped(encoder.picture, 80)
            ));
            if encoder.gray {
                self.recipe.extra.push((MASKED_CONTENT.to_string(), "gray".to_string()));
            }
        }
        let part = denoise.is_some_and(|denoise| denoise < 1.0) && self.picture(node).is_none();
        if cut || part || node.text("add_noise") == Some("disable") {
            self.recipe.note(
                "The sampler runs only a part of its steps (denoise, start or end step); here it runs all of them.",
            );
        }
    }

    /// The picture that the sampler starts from.
    fn picture(&self, sampler: &'g Node) -> Option<Start<'g>> {
        let latent = self.graph.origin(sampler.inputs.get("latent_image"))?;
        let mask = latent.class == "SetLatentNoiseMask";
        let encoder = if mask { self.graph.origin(latent.inputs.get("samples"))? } else { latent };
        let gray = encoder.class == "VAEEncodeForInpaint";
        let image = self.graph.origin(encoder.inputs.get("pixels")).filter(|node| node.class == "LoadImage")?;
        let start = Start { picture: image.text("image").unwrap_or("?"), masked: mask || gray, gray };
        (gray || encoder.class == "VAEEncode").then_some(start)
    }

    /// Reads the prompts, and tells of each whether choices and comments in it were worked out already: in the API form,
    /// and where the editor does not do it.
    fn prompts(&mut self, sampler: &'g Node) -> [bool; 2] {
        [("positive", "The prompt"), ("negative", "The negative prompt")].map(|(name, what)| {
            let encoder = self.text_encoder(sampler, name);
            let found = encoder.and_then(|(node, key)| Some((node, self.held(node, key)?)));
            let text = found.and_then(|(_, (_, value))| value.as_str());
            match text {
                Some(text) if name == "positive" => self.recipe.prompt = text.to_string(),
                Some(text) => self.recipe.negative_prompt = text.to_string(),
                None => self.missing(what, None),
            }
            if let (Some((node, _)), "positive") = (encoder, name) {
                self.clip_skip(node);
            }
            // The editor works out a text encoder's own text, and what its PrimitiveNode puts there; any other node's
            // text arrives over the link as it is.
            let by_editor =
                found.is_some_and(|(encoder, (holder, _))| holder.id == encoder.id || holder.class == "PrimitiveNode");
            !(self.graph.editor && by_editor)
        })
    }

    /// The text of a sampler's prompt.
    pub fn prompt_of(&self, sampler: &'g Node, role: &str) -> Option<String> {
        let (node, key) = self.text_encoder(sampler, role)?;
        self.value(node, key)?.as_str().map(str::to_string)
    }

    /// The node that a prompt's text lies in or is linked to, and the input's name.
    fn text_encoder(&self, sampler: &'g Node, role: &str) -> Option<(&'g Node, &'static str)> {
        let through = [role, "conditioning", "conditioning_1", "conditioning_to"];
        // The text of a zeroed conditioning does not count, and the empty prompt is something else.
        let found = |node: &'g Node| match node.class.as_str() {
            "ConditioningZeroOut" => Some(None),
            _ => ["text", "text_g", "prompt"]
                .into_iter()
                .find(|key| node.inputs.contains_key(*key))
                .map(|key| Some((node, key))),
        };
        self.walk(sampler.inputs.get(role), &through, found).flatten()
    }

    fn clip_skip(&mut self, encoder: &'g Node) {
        let ends = |node: &'g Node| {
            (node.inputs.contains_key("stop_at_clip_layer") || node.inputs.contains_key("ckpt_name")).then_some(node)
        };
        let Some(node) = self.walk(encoder.inputs.get("clip"), &["clip"], ends) else { return };
        if !node.inputs.contains_key("stop_at_clip_layer") {
            self.recipe.clip_skip = Some(1);
            return;
        }
        let layer = self.value(node, "stop_at_clip_layer");
        let skip = layer.and_then(Value::as_i64).filter(|layer| *layer < 0);
        match skip.and_then(|layer| usize::try_from(layer.unsigned_abs()).ok()) {
            Some(skip) => self.recipe.clip_skip = Some(skip),
            None => self.missing("The text encoder's last layer", layer),
        }
    }

    fn models(&mut self, sampler: &'g Node) {
        let name = |node: &'g Node, key: &str| node.inputs.contains_key(key).then(|| self.value(node, key)?.as_str());
        let model = self.walk(sampler.inputs.get("model"), &["model"], |node| name(node, "ckpt_name")).flatten();
        let decodes = |node: &&'g Node| {
            let is_it = |found: &Node| (found.id == sampler.id).then_some(());
            node.class.starts_with("VAEDecode")
                && self.walk(node.inputs.get("samples"), &["samples", "latent_image"], is_it).is_some()
        };
        let decoder = self.graph.nodes.iter().find(decodes);
        let vae = decoder.and_then(|node| self.walk(node.inputs.get("vae"), &["vae"], |node| name(node, "vae_name")));
        self.recipe.vae = vae.flatten().map(str::to_string);
        self.recipe.model = model.map(str::to_string);
        if model.is_none() {
            self.missing("The checkpoint's name", None);
        }
    }

    fn guidance(&mut self, sampler: &'g Node) {
        let rescales = |node: &'g Node| (node.class == "RescaleCFG").then(|| self.value(node, "multiplier"));
        let Some(found) = self.walk(sampler.inputs.get("model"), &["model"], rescales) else { return };
        let multiplier = found.and_then(number_of).filter(|multiplier| multiplier.is_finite());
        if multiplier.is_none() {
            self.missing("The multiplier of RescaleCFG", found);
        }
        self.recipe.cfg_rescale = multiplier.filter(|multiplier| *multiplier != 0.0);
    }

    fn size(&mut self, sampler: &'g Node) {
        let empty = |node: &'g Node| {
            let sized = node.inputs.contains_key("width") && node.inputs.contains_key("height");
            (node.class.starts_with("Empty") && sized).then_some(node)
        };
        let through = ["samples", "latent_image", "latent"];
        let Some(latent) = self.walk(sampler.inputs.get("latent_image"), &through, empty) else {
            // A picture that is started from gives the result its size.
            return if self.picture(sampler).is_none() {
                self.missing("The picture's size", None)
            };
        };
        self.recipe.width = self.whole(latent, "width", "The width").and_then(|side| side.try_into().ok());
        self.recipe.height = self.whole(latent, "height", "The height").and_then(|side| side.try_into().ok());
        let size = self.value(latent, "batch_size").and_then(whole).and_then(|size| size.try_into().ok());
        self.recipe.batch = size.filter(|size| *size > 1).map(|size| Batch { size, place: None });
    }

    fn not_understood(&mut self, second_pass: bool) {
        let enlarges = |class: &str| second_pass && ENLARGES.contains(&class);
        for node in &self.graph.nodes {
            if node.class.starts_with("LoraLoader") {
                let name = clipped(node.text("lora_name").unwrap_or("?"), 80);
                self.recipe.note(format!("The LoRA \u{201c}{name}\u{201d} is not used."));
            } else if !UNDERSTOOD.contains(&node.class.as_str()) && !enlarges(&node.class) {
                let class = clipped(&node.class, 60);
                self.recipe.note(format!("Nodes of the kind \u{201c}{class}\u{201d} are not known and were left out."));
            }
        }
    }
}

/// A number, also where a tool wrote it as a text.
pub fn number_of(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// A whole number from 0, also where a tool wrote it as `20.0` or `"20"`.
pub fn whole(value: &Value) -> Option<u64> {
    /// Above it, doubles are not exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || value.as_f64().filter(|float| float.fract() == 0.0 && (0.0..=EXACT).contains(float));
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).or_else(|| float().map(|float| float as u64))
}
