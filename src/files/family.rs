//! Files that are not a Stable Diffusion 1 checkpoint, called by their names, with the evidence in the sentence.

use super::array::ArrayInfo;
use super::completeness::Arrays;
use super::key_names::{LDM_TEXT, LDM_UNET, LDM_VAE};
use super::shown;
use crate::error::{Code, Error, Result};

/// Where a name that gives a family away has its mark.
enum Mark {
    Start(&'static str),
    End(&'static str),
    Within(&'static str),
}
use Mark::{End, Start, Within};

/// Names that only other families have, the most telling first.
const MARKS: &[(Mark, &str)] = &[
    (Start("control_model."), "a ControlNet, which steers a checkpoint but is none"),
    (Within("controlnet_cond_embedding."), "a ControlNet, which steers a checkpoint but is none"),
    (Within("input_hint_block."), "a ControlNet, which steers a checkpoint but is none"),
    (Within("lora_up."), "a LoRA, a change to a checkpoint; Wordbrush cannot apply it yet"),
    (Within("lora_down."), "a LoRA, a change to a checkpoint; Wordbrush cannot apply it yet"),
    (Start("lora_"), "a LoRA, a change to a checkpoint; Wordbrush cannot apply it yet"),
    (End(".lora_A.weight"), "a LoRA, a change to a checkpoint; Wordbrush cannot apply it yet"),
    (Within("_lora."), "a LoRA, a change to a checkpoint; Wordbrush cannot apply it yet"),
    (Within(".hada_w1_a"), "a LyCORIS, a change to a checkpoint; Wordbrush cannot apply it yet"),
    (Within("joint_blocks."), "a Stable Diffusion 3 checkpoint"),
    (Within("double_blocks."), "a Flux checkpoint"),
    (Start("conditioner.embedders."), "an SDXL checkpoint"),
    (Start("model.diffusion_model.label_emb."), "an SDXL checkpoint"),
    (Start("add_embedding.linear_1."), "the UNet of an SDXL checkpoint"),
    (Start("cond_stage_model.model."), "a Stable Diffusion 2 checkpoint (its text encoder is OpenCLIP)"),
    (Within("motion_modules."), "an AnimateDiff motion module, an addition to a checkpoint"),
];

/// The error for a file of another family.
pub fn refused(file: &str, what: &str, evidence: &str) -> Error {
    let message = format!("{file} is {what}: {evidence}. Expected a Stable Diffusion 1.5 checkpoint.");
    Error::new(Code::WrongFamily, message)
}

/// Refuses a file by a name that gives its family away.
pub fn check_names<'a>(file: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
    for (mark, what) in MARKS {
        let found = |name: &&str| match mark {
            Start(mark) => name.starts_with(mark),
            End(mark) => name.ends_with(mark),
            Within(mark) => name.contains(mark),
        };
        if let Some(name) = names.clone().find(found) {
            return Err(refused(file, what, &format!("it has \"{}\"", shown(name))));
        }
    }
    Ok(())
}

/// Refuses a single file without the three parts of a checkpoint, saying what it is instead.
pub fn check_parts(file: &str, arrays: &[ArrayInfo]) -> Result<()> {
    let find = |prefixes: &[&str]| {
        arrays
            .iter()
            .map(|array| array.name.as_str())
            .find(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
    };
    let (unet, vae) = (find(&[LDM_UNET]), find(&[LDM_VAE]));
    if let (Some(_), Some(_)) = (unet, vae) {
        return match find(&[LDM_TEXT]) {
            Some(_) => Ok(()),
            None => Err(absent(file, "text encoder", "cond_stage_model.transformer.")),
        };
    }
    if let Some(name) = unet.or_else(|| find(&["input_blocks.", "down_blocks.", "middle_block.", "time_embed"])) {
        return Err(match find(&[LDM_TEXT]) {
            Some(_) => absent(file, "VAE", LDM_VAE),
            None => {
                refused(file, "a UNet alone", &format!("it has \"{}\" but no text encoder and no VAE", shown(name)))
            }
        });
    }
    if let Some(name) =
        vae.or_else(|| find(&["decoder.", "encoder.down", "encoder.conv_in", "post_quant_conv.", "quant_conv."]))
    {
        return Err(refused(file, "a VAE alone", &format!("it has \"{}\" but no UNet", shown(name))));
    }
    if let Some(name) = find(&[LDM_TEXT, "text_model.", "embeddings.token_embedding", "encoder.layers."]) {
        return Err(refused(file, "a text encoder alone", &format!("it has \"{}\" but no UNet", shown(name))));
    }
    if let Some(array) = embedding_array(arrays) {
        let evidence = format!("its array \"{}\" has the shape {:?}", shown(&array.name), array.shape);
        return Err(refused(file, "a Textual Inversion embedding; drop it on the embeddings zone", &evidence));
    }
    let evidence = match arrays.first() {
        Some(array) => {
            format!("none of its {} arrays has a name we know (the first is \"{}\")", arrays.len(), shown(&array.name))
        }
        None => "it has no arrays".to_string(),
    };
    Err(refused(file, "no checkpoint", &evidence))
}

/// The array that makes a file an embedding: by its name, or because the file is nothing but a few rows.
fn embedding_array(arrays: &[ArrayInfo]) -> Option<&ArrayInfo> {
    let known = |array: &&ArrayInfo| {
        ["emb_params", "clip_l", "clip_g"].contains(&array.name.as_str()) || array.name.starts_with("string_to_param")
    };
    let rows = |array: &ArrayInfo| {
        matches!(array.shape.len(), 1 | 2) && [768, 1024, 1280].contains(array.shape.last().unwrap_or(&0))
    };
    let few = arrays.len() <= 100 && arrays.iter().all(rows);
    arrays.iter().find(known).or_else(|| arrays.first().filter(|_| few))
}

fn absent(file: &str, part: &str, prefix: &str) -> Error {
    let message = format!(
        "{file} has no {part}: no tensor's name starts with {prefix} Take the full checkpoint, not one saved without its {part}."
    );
    Error::new(Code::MissingTensors, message)
}

/// Refuses a UNet that reads something else than latents and this text encoder's rows.
pub fn check_shapes(file: &str, arrays: &Arrays) -> Result<()> {
    let second_axis = |name: &str| Some((name.to_string(), *arrays.get(name)?.shape.get(1)?));
    if let Some((name, channels)) = second_axis("unet.conv_in.weight") {
        let latent = second_axis("vae.post_quant_conv.weight").map_or(4, |(_, channels)| channels);
        let what = match channels {
            8 => "an instruct-pix2pix checkpoint",
            5 => "a depth-to-image checkpoint",
            7 => "an upscaler",
            _ => "a checkpoint of another kind",
        };
        // A mask and the masked picture's latents besides: an inpainting checkpoint.
        let inpaints = channels == 2 * latent + 1;
        if channels != latent && !inpaints {
            return Err(refused(file, what, &format!("\"{name}\" reads {channels} channels, expected {latent}")));
        }
    }
    let mut contexts = arrays.keys().filter(|name| name.starts_with("unet.") && name.ends_with(".attn2.to_k.weight"));
    let context = contexts.find_map(|name| second_axis(name));
    let text = second_axis("text_encoder.text_model.embeddings.token_embedding.weight");
    let sentence = |width: usize, expected: usize, name: &str| {
        let what = match width {
            2048 => "an SDXL checkpoint",
            1024 => "a Stable Diffusion 2 checkpoint",
            _ => "a checkpoint of another family",
        };
        refused(file, what, &format!("context width {width}, expected {expected} (\"{name}\")"))
    };
    match (context, text) {
        (Some((name, width)), Some((_, expected))) if width != expected => Err(sentence(width, expected, &name)),
        (_, Some((name, 1024))) => Err(sentence(1024, 768, &name)),
        (Some((name, width @ (1024 | 2048))), _) => Err(sentence(width, 768, &name)),
        _ => Ok(()),
    }
}
