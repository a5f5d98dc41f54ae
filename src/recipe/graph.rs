//! ComfyUI's graph, whichever of its two JSON forms it came in.
//!
//! The API form maps ids to `{"class_type", "inputs"}`, where an input is a value or `["id", slot]`. The workflow form
//! is the editor's: a list of nodes whose widgets are values by position, and a list of links.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Links are followed so far and no farther: a graph may be a circle.
pub const MOST_HOPS: usize = 32;

/// The editor's modes of a node that does nothing, and of one that passes its input on.
const MUTED: u64 = 2;
const BYPASSED: u64 = 4;

/// Where a node gets something from.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A constant.
    Value(Value),
    /// A slot of another node, which may not exist.
    Link(String, u64),
}

/// A node that takes part.
#[derive(Debug, Default)]
pub struct Node {
    pub id: String,
    pub class: String,
    pub inputs: HashMap<String, Input>,
}

/// The nodes, smallest id first, and what a graph of ours says beside them.
#[derive(Debug, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
    places: HashMap<String, usize>,
    pub ours: Option<Value>,
    /// It is the editor's form: its prompts are templates, which the editor works out when it makes the API form.
    pub editor: bool,
}

impl Graph {
    /// The graph in a JSON value, if there is one.
    pub fn read(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let mut graph = Graph::default();
        if let Some(nodes) = object.get("nodes").and_then(Value::as_array) {
            graph.nodes = Editor::read(object, nodes).nodes();
            graph.editor = true;
            graph.ours = value.pointer("/extra/wordbrush").cloned();
        } else {
            for (id, node) in object {
                graph.nodes.extend(api_node(id, node));
                let ours = node.pointer("/_meta/wordbrush").cloned();
                graph.ours = graph.ours.take().or(ours);
            }
        }
        if graph.nodes.is_empty() {
            // The body of a request to ComfyUI has the graph under "prompt", some exports under "workflow".
            let inner = ["prompt", "workflow"].into_iter().filter_map(|key| object.get(key));
            return inner.filter(|inner| inner.is_object()).find_map(Graph::read);
        }
        graph.nodes.sort_by_key(|node| (node.id.parse().unwrap_or(u64::MAX), node.id.clone()));
        graph.places = graph.nodes.iter().enumerate().map(|(place, node)| (node.id.clone(), place)).collect();
        Some(graph)
    }

    /// The node that an input comes from.
    pub fn origin(&self, input: Option<&Input>) -> Option<&Node> {
        match input? {
            Input::Link(id, _) => self.nodes.get(*self.places.get(id)?),
            Input::Value(_) => None,
        }
    }
}

impl Node {
    /// A constant text among the inputs.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.inputs.get(name)? {
            Input::Value(value) => value.as_str(),
            Input::Link(..) => None,
        }
    }
}

fn api_node(id: &str, node: &Value) -> Option<Node> {
    let class = node.get("class_type")?.as_str()?.to_string();
    let inputs = node.get("inputs").and_then(Value::as_object);
    let input = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([from, Value::Number(slot)]) if !from.is_array() && !from.is_object() => {
            Input::Link(id_of(from), slot.as_u64().unwrap_or(0))
        }
        _ => Input::Value(value.clone()),
    };
    let inputs = inputs.into_iter().flatten().map(|(name, value)| (name.clone(), input(value))).collect();
    Some(Node { id: id.to_string(), class, inputs })
}

/// Ids are numbers in one form and strings in the other.
fn id_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// The editor's form.
struct Editor<'v> {
    nodes: Vec<(String, &'v Value)>,
    places: HashMap<String, usize>,
    /// Each link's origin.
    links: HashMap<u64, (String, u64)>,
}

impl<'v> Editor<'v> {
    fn read(object: &'v Map<String, Value>, nodes: &'v [Value]) -> Self {
        let nodes: Vec<_> = nodes.iter().filter_map(|node| Some((id_of(node.get("id")?), node))).collect();
        let links = object.get("links").and_then(Value::as_array);
        let link = |link: &Value| {
            // A list in the usual version 0.4 of the form, an object in version 1.
            let part = |at: usize, name: &str| link.get(at).or_else(|| link.get(name));
            Some((part(0, "id")?.as_u64()?, (id_of(part(1, "origin_id")?), part(2, "origin_slot")?.as_u64()?)))
        };
        Editor {
            places: nodes.iter().enumerate().map(|(place, (id, _))| (id.clone(), place)).collect(),
            links: links.into_iter().flatten().filter_map(link).collect(),
            nodes,
        }
    }

    fn nodes(&self) -> Vec<Node> {
        self.nodes
            .iter()
            .filter(|(_, node)| !matches!(mode(node), MUTED | BYPASSED))
            .map(|(id, node)| self.node(id, node))
            .collect()
    }

    fn node(&self, id: &str, node: &Value) -> Node {
        let class = node.get("type").and_then(Value::as_str).unwrap_or_default().to_string();
        let mut inputs = HashMap::new();
        for (name, value) in widgets(&class, node) {
            inputs.insert(name, Input::Value(value.clone()));
        }
        // A linked widget keeps its value in the list; the link counts.
        for slot in slots(node, "inputs") {
            if let (Some(name), Some(link)) =
                (slot.get("name").and_then(Value::as_str), slot.get("link").and_then(Value::as_u64))
            {
                if let Some((from, slot)) = self.origin(link) {
                    inputs.insert(name.to_string(), Input::Link(from, slot));
                }
            }
        }
        Node { id: id.to_string(), class, inputs }
    }

    /// Where a link begins, past the nodes that only pass on.
    fn origin(&self, link: u64) -> Option<(String, u64)> {
        let mut link = link;
        for _ in 0..MOST_HOPS {
            let (id, slot) = self.links.get(&link)?;
            let (_, node) = *self.nodes.get(*self.places.get(id)?).as_ref()?;
            let reroute = node.get("type").and_then(Value::as_str) == Some("Reroute");
            if !reroute && mode(node) != BYPASSED {
                return Some((id.clone(), *slot));
            }
            // A bypassed node gives what comes in first with the type of what should go out.
            let kind = slots(node, "outputs").nth(*slot as usize).and_then(|output| output.get("type"));
            let mut through = slots(node, "inputs").filter(|input| reroute || input.get("type") == kind);
            link = through.find_map(|input| input.get("link")?.as_u64())?;
        }
        None
    }
}

fn mode(node: &Value) -> u64 {
    node.get("mode").and_then(Value::as_u64).unwrap_or(0)
}

fn slots<'v>(node: &'v Value, side: &str) -> impl Iterator<Item = &'v Value> {
    node.get(side).and_then(Value::as_array).into_iter().flatten()
}

/// The names of a class's widgets, in the editor's order. "control" stands for what happens to the seed afterwards,
/// which old files lack.
fn widget_names(class: &str) -> Option<&'static [&'static str]> {
    Some(match class {
        "KSampler" => &["seed", "control", "steps", "cfg", "sampler_name", "scheduler", "denoise"],
        "LoadImage" => &["image", "upload"],
        "LoadImageMask" => &["image", "channel", "upload"],
        "VAEEncodeForInpaint" => &["grow_mask_by"],
        "LatentUpscale" | "ImageScale" => &["upscale_method", "width", "height", "crop"],
        "LatentUpscaleBy" | "ImageScaleBy" => &["upscale_method", "scale_by"],
        "KSamplerAdvanced" => &[
            "add_noise",
            "noise_seed",
            "control",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "start_at_step",
            "end_at_step",
            "return_with_leftover_noise",
        ],
        "CheckpointLoaderSimple" => &["ckpt_name"],
        "VAELoader" => &["vae_name"],
        "CLIPTextEncode" => &["text"],
        "EmptyLatentImage" => &["width", "height", "batch_size"],
        "CLIPSetLastLayer" => &["stop_at_clip_layer"],
        "RescaleCFG" => &["multiplier"],
        "LoraLoader" => &["lora_name", "strength_model", "strength_clip"],
        "LoraLoaderModelOnly" => &["lora_name", "strength_model"],
        "PrimitiveNode" => &["value", "control"],
        _ => return None,
    })
}

/// The widgets' values by name.
fn widgets<'v>(class: &str, node: &'v Value) -> Vec<(String, &'v Value)> {
    let values = match node.get("widgets_values") {
        // Some extensions name the values themselves.
        Some(Value::Object(named)) => return named.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Some(Value::Array(values)) => values,
        _ => return Vec::new(),
    };
    let known = widget_names(class).map(|names| names.iter().map(|name| name.to_string()).collect());
    let names: Vec<String> = known.unwrap_or_else(|| {
        // New files say which inputs are widgets; of others a lone value is all that can be told.
        let widget = |input: &Value| Some(input.get("widget")?.get("name")?.as_str()?.to_string());
        let named: Vec<String> = slots(node, "inputs").filter_map(widget).collect();
        let with_control = named.into_iter().flat_map(|name| {
            let control = name.ends_with("seed").then(|| "control".to_string());
            [Some(name), control].into_iter().flatten()
        });
        let named: Vec<String> = with_control.collect();
        if named.is_empty() && values.len() == 1 { vec!["value".to_string()] } else { named }
    });
    let mut pairs = Vec::new();
    let mut values = values.iter().peekable();
    for name in names {
        let Some(value) = values.peek() else { break };
        let is_control = value.is_boolean()
            || value.as_str().is_some_and(|word| ["fixed", "increment", "decrement", "randomize"].contains(&word));
        if name != "control" || is_control {
            pairs.extend(values.next().map(|value| (name, value)));
        }
    }
    pairs
}
