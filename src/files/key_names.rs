//! The two names of every tensor: as CompVis' single file (LDM) spells it, and as diffusers does.
//!
//! A checkpoint's modules are listed once, as pairs of prefixes, and looked up from either side; what follows the prefix
//! is renamed by a small table per kind of module. The numbering differs: LDM counts `input_blocks` through, diffusers
//! counts levels and layers, so the list is laid out from the names that exist and any number of levels and layers will do.

use std::collections::{BTreeMap, HashMap};

/// Where the UNet's names start in a single file.
pub const LDM_UNET: &str = "model.diffusion_model.";
/// Where the VAE's names start in a single file.
pub const LDM_VAE: &str = "first_stage_model.";
/// Where the text encoder's names start in a single file.
pub const LDM_TEXT: &str = "cond_stage_model.transformer.";

/// Blocks of a sequence beyond this number are not looked at: Stable Diffusion has 12.
const MOST_BLOCKS: usize = 100;

/// What follows a module's prefix: (LDM, diffusers). The first row of a diffusers name is the one used on the way back.
type Tails = &'static [(&'static str, &'static str)];

/// The names below the prefix are the same on both sides.
const SAME: Tails = &[];

const UNET_RESNET: Tails = &[
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];

const VAE_RESNET: Tails = &[
    ("norm1", "norm1"),
    ("conv1", "conv1"),
    ("norm2", "norm2"),
    ("conv2", "conv2"),
    ("nin_shortcut", "conv_shortcut"),
    ("conv_shortcut", "conv_shortcut"),
];

/// LDM's spelling, then both spellings diffusers has used.
const VAE_ATTENTION: Tails = &[
    ("norm", "group_norm"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
    ("group_norm", "group_norm"),
    ("query", "to_q"),
    ("key", "to_k"),
    ("value", "to_v"),
    ("proj_attn", "to_out.0"),
    ("to_q", "to_q"),
    ("to_k", "to_k"),
    ("to_v", "to_v"),
    ("to_out.0", "to_out.0"),
];

/// Modules whose place does not depend on the number of levels and layers.
const FIXED: &[(&str, &str, Tails)] = &[
    ("model.diffusion_model.time_embed.0", "unet.time_embedding.linear_1", SAME),
    ("model.diffusion_model.time_embed.2", "unet.time_embedding.linear_2", SAME),
    ("model.diffusion_model.time_embed.cond_proj", "unet.time_embedding.cond_proj", SAME),
    ("model.diffusion_model.input_blocks.0.0", "unet.conv_in", SAME),
    ("model.diffusion_model.middle_block.0", "unet.mid_block.resnets.0", UNET_RESNET),
    ("model.diffusion_model.middle_block.1", "unet.mid_block.attentions.0", SAME),
    ("model.diffusion_model.middle_block.2", "unet.mid_block.resnets.1", UNET_RESNET),
    ("model.diffusion_model.out.0", "unet.conv_norm_out", SAME),
    ("model.diffusion_model.out.2", "unet.conv_out", SAME),
    ("first_stage_model.quant_conv", "vae.quant_conv", SAME),
    ("first_stage_model.post_quant_conv", "vae.post_quant_conv", SAME),
    ("cond_stage_model.transformer.text_model", "text_encoder.text_model", SAME),
];

/// The text encoder saved without its outer module; only read, never written.
const WITHOUT_OUTER: &[&str] = &["embeddings", "encoder", "final_layer_norm"];

/// The modules of each half of the VAE.
const VAE_HALF: &[(&str, &str, Tails)] = &[
    ("conv_in", "conv_in", SAME),
    ("mid.block_1", "mid_block.resnets.0", VAE_RESNET),
    ("mid.attn_1", "mid_block.attentions.0", VAE_ATTENTION),
    ("mid.block_2", "mid_block.resnets.1", VAE_RESNET),
    ("norm_out", "conv_norm_out", SAME),
    ("conv_out", "conv_out", SAME),
];

/// What one level of the UNet holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Level {
    layers: usize,
    attention: bool,
    sampler: bool,
}

/// How many levels and layers the parts of a checkpoint have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Layout {
    down: Vec<Level>,
    up: Vec<Level>,
    encoder: BTreeMap<usize, usize>,
    decoder: BTreeMap<usize, usize>,
}

/// The pairs of names for one checkpoint.
pub struct KeyNames {
    modules: Vec<(String, String, Tails)>,
    by_ldm: HashMap<String, usize>,
    by_diffusers: HashMap<String, usize>,
}

impl KeyNames {
    /// The pairs for a single file with these (LDM) names.
    pub fn from_ldm<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        let half = |prefix: &str| layers_by_level(&names, prefix, ".block.");
        Self::new(&Layout {
            down: ldm_levels(&names, "model.diffusion_model.input_blocks."),
            up: ldm_levels(&names, "model.diffusion_model.output_blocks."),
            encoder: half("first_stage_model.encoder.down."),
            decoder: half("first_stage_model.decoder.up."),
        })
    }

    /// The pairs for a checkpoint with these (diffusers) names, `unet.`, `vae.` or `text_encoder.` before each.
    pub fn from_diffusers<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        let half = |prefix: &str| {
            let layers = layers_by_level(&names, prefix, ".resnets.");
            let last = layers.keys().next_back().copied().unwrap_or(0);
            // The decoder's levels are numbered from the other end; LDM's number is what a layout holds.
            let reversed = prefix.contains("up_blocks");
            layers.into_iter().map(|(level, n)| (if reversed { last - level } else { level }, n)).collect()
        };
        Self::new(&Layout {
            down: diffusers_levels(&names, "unet.down_blocks.", ".downsamplers."),
            up: diffusers_levels(&names, "unet.up_blocks.", ".upsamplers."),
            encoder: half("vae.encoder.down_blocks."),
            decoder: half("vae.decoder.up_blocks."),
        })
    }

    fn new(layout: &Layout) -> Self {
        let mut names = Self { modules: Vec::new(), by_ldm: HashMap::new(), by_diffusers: HashMap::new() };
        for (ldm, diffusers, tails) in FIXED {
            names.pair(ldm.to_string(), diffusers.to_string(), tails);
        }
        for module in WITHOUT_OUTER {
            names.by_ldm.insert(format!("{LDM_TEXT}{module}"), names.modules.len());
            names.modules.push((String::new(), format!("text_encoder.text_model.{module}"), SAME));
        }
        names.unet_down(&layout.down);
        names.unet_up(&layout.up);
        names.vae("encoder", "down", "downsample", &layout.encoder);
        names.vae("decoder", "up", "upsample", &layout.decoder);
        names
    }

    fn pair(&mut self, ldm: String, diffusers: String, tails: Tails) {
        self.by_ldm.insert(ldm.clone(), self.modules.len());
        self.by_diffusers.insert(diffusers.clone(), self.modules.len());
        self.modules.push((ldm, diffusers, tails));
    }

    /// `input_blocks.0` is the first convolution; then each layer and each downsampler is one more block.
    fn unet_down(&mut self, levels: &[Level]) {
        let mut block = 1;
        for (i, level) in levels.iter().enumerate() {
            let at = format!("unet.down_blocks.{i}");
            for j in 0..level.layers {
                self.pair(format!("{LDM_UNET}input_blocks.{block}.0"), format!("{at}.resnets.{j}"), UNET_RESNET);
                self.pair(format!("{LDM_UNET}input_blocks.{block}.1"), format!("{at}.attentions.{j}"), SAME);
                block += 1;
            }
            if level.sampler {
                self.pair(format!("{LDM_UNET}input_blocks.{block}.0.op"), format!("{at}.downsamplers.0.conv"), SAME);
                block += 1;
            }
        }
    }

    /// An upsampler has no block of its own: it follows the last layer, after its attention if it has one.
    fn unet_up(&mut self, levels: &[Level]) {
        let mut block = 0;
        for (i, level) in levels.iter().enumerate() {
            let at = format!("unet.up_blocks.{i}");
            for j in 0..level.layers {
                if level.sampler && j + 1 == level.layers {
                    let slot = if level.attention { 2 } else { 1 };
                    self.pair(
                        format!("{LDM_UNET}output_blocks.{block}.{slot}.conv"),
                        format!("{at}.upsamplers.0.conv"),
                        SAME,
                    );
                }
                self.pair(format!("{LDM_UNET}output_blocks.{block}.0"), format!("{at}.resnets.{j}"), UNET_RESNET);
                if level.attention {
                    self.pair(format!("{LDM_UNET}output_blocks.{block}.1"), format!("{at}.attentions.{j}"), SAME);
                }
                block += 1;
            }
        }
    }

    /// LDM numbers the decoder's levels by resolution, diffusers in the order they run: from the other end.
    fn vae(&mut self, half: &str, way: &str, sampler: &str, levels: &BTreeMap<usize, usize>) {
        for (ldm, diffusers, tails) in VAE_HALF {
            self.pair(format!("{LDM_VAE}{half}.{ldm}"), format!("vae.{half}.{diffusers}"), tails);
        }
        let last = levels.keys().next_back().copied().unwrap_or(0);
        for (&level, &layers) in levels {
            let i = if way == "up" { last - level } else { level };
            let (ldm, diffusers) = (format!("{LDM_VAE}{half}.{way}.{level}"), format!("vae.{half}.{way}_blocks.{i}"));
            for j in 0..layers {
                self.pair(format!("{ldm}.block.{j}"), format!("{diffusers}.resnets.{j}"), VAE_RESNET);
            }
            self.pair(format!("{ldm}.{sampler}.conv"), format!("{diffusers}.{sampler}rs.0.conv"), SAME);
        }
    }

    /// The diffusers name of an LDM name; `None` for what the network does not use (EMA copies, schedule buffers).
    pub fn to_diffusers(&self, ldm: &str) -> Option<String> {
        let (module, tail) = module_of(&self.by_ldm, ldm)?;
        let (_, prefix, tails) = self.modules.get(module)?;
        Some(format!("{prefix}{}", renamed(tail, tails, |(ldm, diffusers)| (ldm, diffusers))?))
    }

    /// The LDM name of a diffusers name.
    pub fn to_ldm(&self, diffusers: &str) -> Option<String> {
        let (module, tail) = module_of(&self.by_diffusers, diffusers)?;
        let (prefix, _, tails) = self.modules.get(module)?;
        Some(format!("{prefix}{}", renamed(tail, tails, |(ldm, diffusers)| (diffusers, ldm))?))
    }
}

/// One spelling for what diffusers and transformers have spelled in several ways: today's attention in the VAE, and the
/// text encoder inside its outer module. `None` for the buffer of position numbers.
pub fn canonical(diffusers: &str) -> Option<String> {
    if diffusers.ends_with(".position_ids") {
        return None;
    }
    if let Some(rest) = diffusers.strip_prefix("text_encoder.") {
        let rest = rest.strip_prefix("text_model.").unwrap_or(rest);
        return Some(format!("text_encoder.text_model.{rest}"));
    }
    if let Some((at, tail)) = diffusers.split_once("mid_block.attentions.0").filter(|_| diffusers.starts_with("vae.")) {
        let tail = renamed(tail, VAE_ATTENTION, |(ldm, diffusers)| (ldm, diffusers));
        return tail.map(|tail| format!("{at}mid_block.attentions.0{tail}"));
    }
    Some(diffusers.to_string())
}

/// The longest known prefix of a name, and what follows it (with its dot).
fn module_of<'a>(modules: &HashMap<String, usize>, name: &'a str) -> Option<(usize, &'a str)> {
    if name.ends_with(".position_ids") {
        return None;
    }
    let dots = name.rmatch_indices('.').map(|(at, _)| at);
    dots.map(|at| name.split_at(at)).find_map(|(prefix, tail)| Some((*modules.get(prefix)?, tail)))
}

/// A tail such as `.in_layers.0.weight` under the other side's name.
fn renamed(
    tail: &str,
    tails: Tails,
    side: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Option<String> {
    if tails.is_empty() {
        return Some(tail.to_string());
    }
    tails.iter().find_map(|row| {
        let (from, to) = side(*row);
        let rest = tail.strip_prefix('.')?.strip_prefix(from)?;
        rest.starts_with('.').then(|| format!(".{to}{rest}"))
    })
}

/// The number after `prefix`, and what follows it.
fn numbered<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let rest = name.strip_prefix(prefix)?;
    let digits = rest.find('.').unwrap_or(rest.len());
    let (number, rest) = rest.split_at(digits);
    Some((number.parse().ok().filter(|n| *n < MOST_BLOCKS)?, rest))
}

/// The UNet's levels from LDM's blocks: a block with an `op` (down) or a second `conv` (up) ends its level.
fn ldm_levels(names: &[&str], prefix: &str) -> Vec<Level> {
    let down = prefix.contains("input_blocks");
    let mut blocks: BTreeMap<usize, Level> = BTreeMap::new();
    for (block, rest) in names.iter().filter_map(|name| numbered(name, prefix)) {
        let seen = blocks.entry(block).or_default();
        seen.sampler |= rest.starts_with(".0.op.") || rest.starts_with(".1.conv.") || rest.starts_with(".2.conv.");
        seen.attention |= rest.starts_with(".1.transformer_blocks.") || rest.starts_with(".1.proj_in.");
    }
    let Some(last) = blocks.keys().next_back() else { return Vec::new() };
    let mut levels = vec![Level::default()];
    for block in usize::from(down)..=*last {
        let seen = blocks.get(&block).copied().unwrap_or_default();
        let n = levels.len();
        let Some(level) = levels.last_mut() else { break };
        level.layers += usize::from(!(down && seen.sampler));
        level.attention |= seen.attention;
        level.sampler |= seen.sampler;
        if seen.sampler && block < *last && n < MOST_BLOCKS {
            levels.push(Level::default());
        }
    }
    levels
}

fn diffusers_levels(names: &[&str], prefix: &str, sampler: &str) -> Vec<Level> {
    let layers = layers_by_level(names, prefix, ".resnets.");
    let Some(last) = layers.keys().next_back() else { return Vec::new() };
    let mut levels = vec![Level::default(); last + 1];
    for (i, rest) in names.iter().filter_map(|name| numbered(name, prefix)) {
        let Some(level) = levels.get_mut(i) else { continue };
        level.layers = layers.get(&i).copied().unwrap_or(0);
        level.attention |= rest.starts_with(".attentions.");
        level.sampler |= rest.starts_with(sampler);
    }
    levels
}

/// For each level named under `prefix`: how many layers it has.
fn layers_by_level(names: &[&str], prefix: &str, layer: &str) -> BTreeMap<usize, usize> {
    let mut levels = BTreeMap::new();
    for (level, rest) in names.iter().filter_map(|name| numbered(name, prefix)) {
        let layers: &mut usize = levels.entry(level).or_default();
        *layers = (*layers).max(numbered(rest, layer).map_or(0, |(j, _)| j + 1));
    }
    levels
}
