//! ComfyUI's graphs, read and written: the API form, which its server runs, and the workflow form, which its editor
//! opens.

use serde_json::{Map, Value, json};

use super::graph::Graph;
use super::second_pass::{Own, SecondPass};
use super::settings::{DENOISE, HIRES_SCALE, MASKED_CONTENT};
use super::{Dialect, NVIDIA, Recipe, Rng, graph_reader, json, no_recipe, template};
use crate::error::Result;

/// Reads either form of a graph, also wrapped as a request to ComfyUI's server or as a JSON string.
///
/// # Errors
/// [`crate::Code::NoRecipe`] for damaged JSON, for other JSON, and for a graph without a KSampler.
pub fn parse(text: &str) -> Result<Recipe> {
    let value = json::parse(text).map_err(no_recipe)?;
    let graph = Graph::read(&value).ok_or_else(|| no_recipe("This JSON text is no ComfyUI workflow."))?;
    graph_reader::read(&graph)
}

/// A recipe as ComfyUI's server takes it and its pictures carry it in the text `prompt`: ASCII, node ids of ComfyUI's
/// default graph. What a recipe leaves open gets ComfyUI's default.
///
/// Its prompts are worked out, since the server works nothing out.
pub fn api_json(recipe: &Recipe) -> String {
    let mut graph = Map::new();
    for node in nodes(recipe, [&recipe.prompt, &recipe.negative_prompt], str::to_string) {
        let mut inputs = Map::new();
        inputs.extend(node.widgets.into_iter().map(|(name, value)| (name.to_string(), value)));
        inputs
            .extend(node.links.iter().map(|link| (link.input.to_string(), json!([link.from.to_string(), link.slot]))));
        let mut written = json!({ "class_type": node.class, "inputs": inputs });
        if let (Some(ours), SAMPLER) = (beyond(recipe, false), node.id) {
            written["_meta"] = json!({ "title": "KSampler", "wordbrush": ours });
        }
        graph.insert(node.id.to_string(), written);
    }
    json::ascii(&Value::Object(graph))
}

/// A recipe as ComfyUI's editor opens it and its pictures carry it in the text `workflow`: ASCII.
///
/// Its prompts are the templates, since the editor works them out itself. With dice of its own: ComfyUI may choose
/// otherwise, but a brace that is meant as one stays one, and read by us the seed chooses again what it chose.
pub fn workflow_json(recipe: &Recipe) -> String {
    let [prompt, negative] =
        templates(recipe).map(|(_, prompt, template)| template::for_editor(prompt, template, recipe.dialect));
    // Those of a second pass are known worked out.
    let nodes = nodes(recipe, [&prompt, &negative], |prompt| template::giving(prompt, Some(Dialect::Comfy)));
    // Links are numbered through the nodes: (id, origin, its slot, target, its slot, type).
    let mut links = Vec::new();
    for node in &nodes {
        for (slot, link) in node.links.iter().enumerate() {
            let id = links.len() + 1;
            links.push((id, link.from, link.slot, node.id, slot, type_of(link.input)));
        }
    }
    let written: Vec<Value> = nodes.iter().enumerate().map(|(order, node)| editor_node(node, order, &links)).collect();
    let mut extra = Map::new();
    extra.extend(beyond(recipe, true).map(|ours| ("wordbrush".to_string(), ours)));
    json::ascii(&json!({
        "last_node_id": nodes.iter().map(|node| node.id).max(),
        "last_link_id": links.len(),
        "nodes": written,
        "links": links,
        "groups": [],
        "config": {},
        "extra": extra,
        "version": 0.4,
    }))
}

/// A link between two nodes, as (id, origin, its slot, target, its slot, type).
type EditorLink = (usize, u32, usize, u32, usize, &'static str);

fn editor_node(node: &Node, order: usize, links: &[EditorLink]) -> Value {
    let inputs = node.links.iter().enumerate().map(|(slot, link)| {
        let id = links.iter().find(|it| it.3 == node.id && it.4 == slot).map(|it| it.0);
        json!({ "name": link.input, "type": type_of(link.input), "link": id })
    });
    let outputs = outputs(node.class).iter().enumerate().map(|(slot, kind)| {
        let from: Vec<usize> = links.iter().filter(|it| it.1 == node.id && it.2 == slot).map(|it| it.0).collect();
        json!({ "name": kind, "type": kind, "slot_index": slot, "links": from })
    });
    let mut values: Vec<Value> = node.widgets.iter().map(|(_, value)| value.clone()).collect();
    if node.class == "KSampler" {
        // What the editor does with the seed after a picture.
        values.insert(1, json!("fixed"));
    }
    json!({
        "id": node.id,
        "type": node.class,
        "pos": node.place,
        "size": node.size,
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
        "properties": { "Node name for S&R": node.class },
        "widgets_values": values,
    })
}

/// The prompts: name, text, template.
fn templates(recipe: &Recipe) -> [(&'static str, &str, Option<&str>); 2] {
    [
        ("prompt", &recipe.prompt, recipe.raw_prompt.as_deref()),
        ("negative_prompt", &recipe.negative_prompt, recipe.raw_negative_prompt.as_deref()),
    ]
}

/// The fields no node has a place for, if there are any; [`graph_reader`] reads them. `editor`: the graph's prompts are
/// the templates, so what was made of them is here.
fn beyond(recipe: &Recipe, editor: bool) -> Option<Value> {
    let mut ours = Map::new();
    let mut add = |key: &str, value: Option<Value>| ours.extend(value.map(|value| (key.to_string(), value)));
    let dialect = recipe.dialect.filter(|dialect| *dialect != Dialect::Comfy);
    add("dialect", dialect.map(|dialect| json!(dialect.name())));
    add("rng", recipe.rng.filter(|rng| *rng == Rng::Nvidia).map(|_| json!(NVIDIA)));
    add("model_hash", recipe.model_hash.as_ref().map(|hash| json!(hash)));
    if denoise(recipe).is_some() {
        add("width", recipe.width.map(|side| json!(side)));
        add("height", recipe.height.map(|side| json!(side)));
    }
    add("embeddings", (!recipe.embeddings.is_empty()).then(|| json!(recipe.embeddings)));
    // The graph says how many; with A1111's conventions it makes one, by its own seed.
    let batch = recipe.batch.filter(|batch| batch.place.is_some() || recipe.dialect == Some(Dialect::A1111));
    add("batch", batch.map(|batch| json!([batch.size, batch.place])));
    add("extra", (!recipe.extra.is_empty()).then(|| json!(recipe.extra)));
    for (name, prompt, raw) in templates(recipe) {
        let held = template::for_editor(prompt, raw, recipe.dialect);
        let (prompt, raw) = match editor {
            false => (None, template::beside(prompt, raw, recipe.dialect)),
            true => {
                let told = raw.filter(|_| recipe.dialect == Some(Dialect::A1111));
                ((held != prompt || raw.is_some()).then_some(prompt), told.map(str::to_string))
            }
        };
        add(name, prompt.map(|prompt| json!(prompt)));
        add(&format!("raw_{name}"), raw.map(|raw| json!(raw)));
    }
    (!ours.is_empty()).then_some(Value::Object(ours))
}

/// A node to be written in either form.
struct Node {
    id: u32,
    class: &'static str,
    widgets: Vec<(&'static str, Value)>,
    links: Vec<Link>,
    /// Where the editor draws it, and how large.
    place: [i32; 2],
    size: [i32; 2],
}

struct Link {
    input: &'static str,
    from: u32,
    slot: usize,
}

fn node(id: u32, class: &'static str, place: [i32; 2], size: [i32; 2]) -> Node {
    Node { id, class, place, size, widgets: Vec::new(), links: Vec::new() }
}

fn link(input: &'static str, from: u32, slot: usize) -> Link {
    Link { input, from, slot }
}

/// Ids of the nodes: up to 9 as in ComfyUI's default graph.
const SAMPLER: u32 = 3;
const CHECKPOINT: u32 = 4;
const LATENT: u32 = 5;
const POSITIVE: u32 = 6;
const NEGATIVE: u32 = 7;
const DECODER: u32 = 8;
const PICTURE: u32 = 9;
const VAE: u32 = 10;
const LAST_LAYER: u32 = 11;
const RESCALE: u32 = 12;
const START: u32 = 13;
const LARGER: u32 = 14;
const AGAIN: u32 = 15;
const FIRST_PICTURE: u32 = 16;
const SCALED: u32 = 17;
const OWN_POSITIVE: u32 = 18;
const OWN_NEGATIVE: u32 = 19;

/// The graph of a recipe with these texts as its prompts, and those of a second pass as they are held: ComfyUI's default
/// one, with more nodes where they are needed.
fn nodes(recipe: &Recipe, [prompt, negative]: [&str; 2], held: impl Fn(&str) -> String) -> Vec<Node> {
    let text = |value: Option<&String>, default: &str| json!(value.map_or(default, String::as_str));
    let together = recipe.batch.filter(|_| recipe.dialect != Some(Dialect::A1111));
    let batch = together.map_or(1, |batch| batch.size);
    let rescale = recipe.cfg_rescale;
    let skip = recipe.clip_skip.filter(|skip| *skip > 1);
    let clip = || if skip.is_some() { link("clip", LAST_LAYER, 0) } else { link("clip", CHECKPOINT, 1) };
    let vae = || if recipe.vae.is_some() { link("vae", VAE, 0) } else { link("vae", CHECKPOINT, 2) };
    let second = SecondPass::of(recipe);
    let latent = match denoise(recipe) {
        Some(_) if recipe.extra.contains(&(MASKED_CONTENT.to_string(), "gray".to_string())) => Node {
            widgets: vec![("grow_mask_by", json!(6))],
            links: vec![link("pixels", START, 0), vae(), link("mask", START, 1)],
            ..node(LATENT, "VAEEncodeForInpaint", [473, 609], [210, 98])
        },
        Some(_) => {
            Node { links: vec![link("pixels", START, 0), vae()], ..node(LATENT, "VAEEncode", [473, 609], [210, 46]) }
        }
        None => Node {
            widgets: vec![
                ("width", json!(recipe.width.unwrap_or(512))),
                ("height", json!(recipe.height.unwrap_or(512))),
                ("batch_size", json!(batch)),
            ],
            ..node(LATENT, "EmptyLatentImage", [473, 609], [315, 106])
        },
    };
    let steps = recipe.steps.unwrap_or(20);
    let sampler = |id, latent, [steps, denoise]: [Value; 2], own: &Own, place| Node {
        widgets: vec![
            ("seed", json!(own.seed.or(recipe.seed).unwrap_or(0))),
            ("steps", steps),
            ("cfg", number(own.cfg.or(recipe.cfg).unwrap_or(8.0))),
            ("sampler_name", text(own.sampler.as_ref().or(recipe.sampler.as_ref()), "euler")),
            ("scheduler", text(own.scheduler.as_ref().or(recipe.scheduler.as_ref()), "normal")),
            ("denoise", denoise),
        ],
        links: vec![
            link("model", if rescale.is_some() { RESCALE } else { CHECKPOINT }, 0),
            link("positive", if own.prompt.is_some() { OWN_POSITIVE } else { POSITIVE }, 0),
            link("negative", if own.negative_prompt.is_some() { OWN_NEGATIVE } else { NEGATIVE }, 0),
            link("latent_image", latent, 0),
        ],
        ..node(id, "KSampler", place, [315, 262])
    };
    let encode = |id, prompt: &str, place, size| Node {
        widgets: vec![("text", json!(prompt))],
        links: vec![clip()],
        ..node(id, "CLIPTextEncode", place, size)
    };
    let last = if second.is_some() { AGAIN } else { SAMPLER };
    let mut nodes = vec![
        sampler(SAMPLER, LATENT, [json!(steps), number(denoise(recipe).unwrap_or(1.0))], &Own::default(), [863, 186]),
        Node {
            widgets: vec![("ckpt_name", text(recipe.model.as_ref(), "model.safetensors"))],
            ..node(CHECKPOINT, "CheckpointLoaderSimple", [26, 474], [315, 98])
        },
        latent,
        encode(POSITIVE, prompt, [415, 186], [423, 164]),
        encode(NEGATIVE, negative, [413, 389], [425, 180]),
        Node { links: vec![link("samples", last, 0), vae()], ..node(DECODER, "VAEDecode", [1209, 188], [210, 46]) },
        Node {
            widgets: vec![("filename_prefix", json!("ComfyUI"))],
            links: vec![link("images", DECODER, 0)],
            ..node(PICTURE, "SaveImage", [1451, 189], [354, 433])
        },
    ];
    nodes.extend(recipe.vae.as_ref().map(|name| Node {
        widgets: vec![("vae_name", json!(name))],
        ..node(VAE, "VAELoader", [863, 500], [315, 58])
    }));
    nodes.extend(denoise(recipe).map(|_| Node {
        widgets: vec![("image", json!("picture.png")), ("upload", json!("image"))],
        ..node(START, "LoadImage", [26, 640], [315, 314])
    }));
    if let Some(pass) = second {
        nodes.extend(enlarging(recipe, &pass, vae));
        let run = [json!(pass.steps.unwrap_or(steps)), number(pass.denoise)];
        nodes.push(sampler(AGAIN, LARGER, run, &pass.own, [1209, 640]));
        let prompts = [(OWN_POSITIVE, &pass.own.prompt, 980), (OWN_NEGATIVE, &pass.own.negative_prompt, 1190)];
        let own = prompts.into_iter().filter_map(|(id, prompt, y)| Some((id, held(prompt.as_deref()?), y)));
        nodes.extend(own.map(|(id, prompt, y)| encode(id, &prompt, [413, y], [425, 180])));
    }
    nodes.extend(skip.map(|skip| Node {
        widgets: vec![("stop_at_clip_layer", json!(0_i64.saturating_sub_unsigned(skip as u64)))],
        links: vec![link("clip", CHECKPOINT, 1)],
        ..node(LAST_LAYER, "CLIPSetLastLayer", [26, 330], [315, 58])
    }));
    nodes.extend(rescale.map(|multiplier| Node {
        widgets: vec![("multiplier", number(multiplier))],
        links: vec![link("model", CHECKPOINT, 0)],
        ..node(RESCALE, "RescaleCFG", [473, 60], [315, 58])
    }));
    nodes
}

/// What the first pass made, larger, as latents.
fn enlarging(recipe: &Recipe, pass: &SecondPass, vae: impl Fn() -> Link) -> Vec<Node> {
    let [width, height] = [recipe.width, recipe.height].map(|side| json!(pass.larger(side.unwrap_or(512))));
    let method = ("upscale_method", json!(pass.way.method));
    let widgets = vec![method, ("width", width), ("height", height), ("crop", json!("disabled"))];
    let samples = vec![link("samples", SAMPLER, 0)];
    if !pass.way.pixels {
        return vec![Node { widgets, links: samples, ..node(LARGER, "LatentUpscale", [863, 640], [315, 130]) }];
    }
    let decode = Node {
        links: samples.into_iter().chain([vae()]).collect(),
        ..node(FIRST_PICTURE, "VAEDecode", [863, 640], [210, 46])
    };
    let links = vec![link("image", FIRST_PICTURE, 0)];
    let scale = Node { widgets, links, ..node(SCALED, "ImageScale", [863, 740], [315, 130]) };
    let links = vec![link("pixels", SCALED, 0), vae()];
    vec![decode, scale, Node { links, ..node(LARGER, "VAEEncode", [863, 920], [210, 46]) }]
}

/// How much is left of the picture that the recipe starts from, if it is a picture. A second pass has a denoise of its own.
fn denoise(recipe: &Recipe) -> Option<f64> {
    let value = |key: &str| recipe.extra.iter().find(|(known, _)| known == key).map(|(_, value)| value);
    value(DENOISE)
        .filter(|_| value(HIRES_SCALE).is_none())?
        .parse()
        .ok()
        .filter(|denoise| (0.0..=1.0).contains(denoise))
}

/// 7 rather than 7.0, as ComfyUI writes it.
fn number(value: f64) -> Value {
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    if whole { json!(value as i64) } else { json!(value) }
}

/// The editor's type of what goes into an input.
fn type_of(input: &str) -> &'static str {
    match input {
        "model" => "MODEL",
        "clip" => "CLIP",
        "vae" => "VAE",
        "positive" | "negative" => "CONDITIONING",
        "images" | "image" | "pixels" => "IMAGE",
        "mask" => "MASK",
        _ => "LATENT",
    }
}

/// The editor's types of what comes out of a node.
fn outputs(class: &str) -> &'static [&'static str] {
    match class {
        "KSampler" | "EmptyLatentImage" | "VAEEncode" | "VAEEncodeForInpaint" | "LatentUpscale" => &["LATENT"],
        "ImageScale" => &["IMAGE"],
        "LoadImage" => &["IMAGE", "MASK"],
        "CheckpointLoaderSimple" => &["MODEL", "CLIP", "VAE"],
        "CLIPTextEncode" => &["CONDITIONING"],
        "CLIPSetLastLayer" => &["CLIP"],
        "RescaleCFG" => &["MODEL"],
        "VAEDecode" => &["IMAGE"],
        "VAELoader" => &["VAE"],
        _ => &[],
    }
}
