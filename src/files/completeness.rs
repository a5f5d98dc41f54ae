//! Which tensors a checkpoint must hold, told from the blocks it shows: nothing here knows how many there should be.

use std::collections::BTreeMap;

use super::array::ArrayInfo;
use crate::error::{Code, Error, Result};

/// The arrays of a checkpoint by their canonical names.
pub type Arrays = BTreeMap<String, ArrayInfo>;

/// Numbers from here on are not taken for a block's: an outsider's name must not make us count to a billion.
const MOST_BLOCKS: usize = 32;
/// Names listed at most; a header has fewer, so whoever needs more lacks some.
const MOST_NAMES: usize = 20_000;
/// How many missing names a sentence lists.
const LISTED: usize = 5;

/// Every tensor the text encoder, the UNet and the VAE's decoder need, given the blocks `arrays` shows.
pub fn expected(arrays: &Arrays) -> Vec<String> {
    let mut needs = Needs { arrays, names: Vec::new() };
    needs.text_encoder();
    needs.unet();
    needs.vae_decoder();
    needs.names
}

/// Every tensor the VAE's decoder needs, given the blocks `arrays` shows.
pub fn expected_vae(arrays: &Arrays) -> Vec<String> {
    let mut needs = Needs { arrays, names: Vec::new() };
    needs.vae_decoder();
    needs.names
}

/// Refuses a checkpoint that lacks some of `expected`, naming a few.
pub fn check(file: &str, arrays: &Arrays, expected: &[String]) -> Result<()> {
    let missing: Vec<&str> = expected.iter().filter(|name| !arrays.contains_key(*name)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    let more = match missing.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "{file} is incomplete: {} of {} tensors are missing ({list}{more}). Download it again, or take another file of the model.",
        missing.len(),
        expected.len()
    );
    Err(Error::new(Code::MissingTensors, message))
}

struct Needs<'a> {
    arrays: &'a Arrays,
    names: Vec<String>,
}

impl Needs<'_> {
    fn weight(&mut self, name: &str) {
        if self.names.len() < MOST_NAMES {
            self.names.push(format!("{name}.weight"));
        }
    }

    fn both(&mut self, at: &str, names: &[&str]) {
        for name in names {
            if self.names.len() < MOST_NAMES {
                self.names.push(format!("{at}{name}.weight"));
                self.names.push(format!("{at}{name}.bias"));
            }
        }
    }

    /// One more than the highest number that follows `prefix` in a name; 0 when there is none.
    fn count(&self, prefix: &str) -> usize {
        let names = self.arrays.range(prefix.to_string()..).map(|(name, _)| name);
        let numbers = names.map_while(|name| name.strip_prefix(prefix)).filter_map(|rest| {
            let (number, _) = rest.split_once('.')?;
            number.parse::<usize>().ok().filter(|n| *n < MOST_BLOCKS)
        });
        numbers.max().map_or(0, |highest| highest + 1)
    }

    fn has(&self, prefix: &str) -> bool {
        self.arrays.range(prefix.to_string()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// The first two axes of a convolution: how many channels it writes and reads.
    fn channels(&self, name: &str) -> Option<(usize, usize)> {
        let shape = &self.arrays.get(name)?.shape;
        Some((*shape.first()?, *shape.get(1)?))
    }

    fn text_encoder(&mut self) {
        let at = "text_encoder.text_model.";
        self.weight(&format!("{at}embeddings.token_embedding"));
        self.weight(&format!("{at}embeddings.position_embedding"));
        for i in 0..self.count(&format!("{at}encoder.layers.")).max(1) {
            let layer = format!("{at}encoder.layers.{i}.");
            self.both(&layer, &["layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"]);
            self.both(&layer, &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"]);
        }
        self.both(at, &["final_layer_norm"]);
    }

    fn unet(&mut self) {
        self.both(
            "unet.",
            &["conv_in", "time_embedding.linear_1", "time_embedding.linear_2", "conv_norm_out", "conv_out"],
        );
        let levels = self.count("unet.down_blocks.").max(self.count("unet.up_blocks.")).max(1);
        for i in 0..levels {
            let (down, up) = (format!("unet.down_blocks.{i}."), format!("unet.up_blocks.{}.", levels - 1 - i));
            // A level has one more layer on the way up than on the way down, and attention on both ways or on none.
            let below = self.count(&format!("{down}resnets.")).max(self.count(&format!("{down}attentions.")));
            let above = self.count(&format!("{up}resnets.")).max(self.count(&format!("{up}attentions.")));
            let layers = below.max(above.saturating_sub(1)).max(1);
            let attention = self.has(&format!("{down}attentions.")) || self.has(&format!("{up}attentions."));
            for (at, layers) in [(&down, layers), (&up, layers + 1)] {
                for j in 0..layers {
                    self.unet_resnet(&format!("{at}resnets.{j}."));
                    if attention {
                        self.transformer(&format!("{at}attentions.{j}."));
                    }
                }
            }
            if i + 1 < levels {
                self.both(&down, &["downsamplers.0.conv"]);
            }
            if i > 0 {
                self.both(&up, &["upsamplers.0.conv"]);
            }
        }
        self.unet_resnet("unet.mid_block.resnets.0.");
        self.transformer("unet.mid_block.attentions.0.");
        self.unet_resnet("unet.mid_block.resnets.1.");
    }

    fn unet_resnet(&mut self, at: &str) {
        self.both(at, &["time_emb_proj"]);
        self.vae_resnet(at);
    }

    fn vae_resnet(&mut self, at: &str) {
        self.both(at, &["norm1", "conv1", "norm2", "conv2"]);
        if self.channels(&format!("{at}conv1.weight")).is_some_and(|(out, into)| out != into) {
            self.both(at, &["conv_shortcut"]);
        }
    }

    fn transformer(&mut self, at: &str) {
        self.both(at, &["norm", "proj_in", "proj_out"]);
        for k in 0..self.count(&format!("{at}transformer_blocks.")).max(1) {
            let block = format!("{at}transformer_blocks.{k}.");
            for attention in ["attn1", "attn2"] {
                for projection in ["to_q", "to_k", "to_v"] {
                    self.weight(&format!("{block}{attention}.{projection}"));
                }
                self.both(&block, &[&format!("{attention}.to_out.0")]);
            }
            self.both(&block, &["norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2"]);
        }
    }

    fn vae_decoder(&mut self) {
        self.both("vae.", &["post_quant_conv", "decoder.conv_in", "decoder.conv_norm_out", "decoder.conv_out"]);
        let levels = self.count("vae.decoder.up_blocks.").max(1);
        let resnets = |i: usize| self.count(&format!("vae.decoder.up_blocks.{i}.resnets."));
        let layers = (0..levels).map(resnets).max().unwrap_or(1).max(1);
        for i in 0..levels {
            let at = format!("vae.decoder.up_blocks.{i}.");
            for j in 0..layers {
                self.vae_resnet(&format!("{at}resnets.{j}."));
            }
            if i + 1 < levels {
                self.both(&at, &["upsamplers.0.conv"]);
            }
        }
        let mid = "vae.decoder.mid_block.";
        self.vae_resnet(&format!("{mid}resnets.0."));
        self.both(
            mid,
            &[
                "attentions.0.group_norm",
                "attentions.0.to_q",
                "attentions.0.to_k",
                "attentions.0.to_v",
                "attentions.0.to_out.0",
            ],
        );
        self.vae_resnet(&format!("{mid}resnets.1."));
    }
}
