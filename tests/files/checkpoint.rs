//! Checkpoints told from headers alone: whole ones of both layouts, incomplete ones, and other families.

use std::rc::Rc;

use wordbrush::error::{Code, Error};
use wordbrush::files::{Checkpoint, DType, Source};

use crate::names::lines;
use crate::sparse::SparseSource;

/// Names and shapes of a checkpoint.
type Tensors = Vec<(String, Vec<usize>)>;

fn tensors(network: &str, names: &str) -> Tensors {
    let shapes =
        lines(&format!("{network}shapes.txt")).into_iter().map(|s| s.split('x').map(|n| n.parse().unwrap()).collect());
    lines(&format!("{network}{names}.txt")).into_iter().zip(shapes).collect()
}

/// A single file; the VAE's attention is stored as convolutions, as LDM does.
fn single(network: &str) -> Tensors {
    let mut all = tensors(network, "ldm");
    for (name, shape) in &mut all {
        if name.contains("mid.attn_1") && shape.len() == 2 {
            shape.extend([1, 1]);
        }
    }
    all
}

fn source(name: &str, dtype: &str, tensors: &Tensors) -> Rc<SparseSource> {
    Rc::new(SparseSource::safetensors(
        name,
        dtype,
        tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())),
    ))
}

fn open(sources: Vec<Rc<SparseSource>>) -> Result<Checkpoint, Error> {
    pollster::block_on(Checkpoint::open(sources.into_iter().map(|source| source as Rc<dyn Source>).collect()))
}

fn open_single(tensors: &Tensors) -> Result<Checkpoint, Error> {
    open(vec![source("model.safetensors", "F16", tensors)])
}

fn refused(tensors: &Tensors) -> (Code, String) {
    let error = open_single(tensors).err().expect("refused");
    assert!(error.message.contains("model.safetensors") && error.message.len() < 1000, "{error}");
    (error.code, error.message)
}

/// The files of a diffusers folder.
fn folder(network: &str, files: [(&str, &str); 3]) -> Vec<Rc<SparseSource>> {
    let all = tensors(network, "diffusers");
    let part = |(component, file): (&str, &str)| {
        let prefix = format!("{component}.");
        let inside =
            all.iter().filter_map(|(name, shape)| Some((name.strip_prefix(&prefix)?.to_string(), shape.clone())));
        source(&format!("my-model/{component}/{file}"), "F16", &inside.collect())
    };
    files.map(part).to_vec()
}

const USUAL: [(&str, &str); 3] = [
    ("unet", "diffusion_pytorch_model.safetensors"),
    ("vae", "diffusion_pytorch_model.safetensors"),
    ("text_encoder", "model.safetensors"),
];

#[test]
fn both_layouts_give_one_set_of_names_and_shapes() {
    for network in ["", "small_", "odd_"] {
        let expected: std::collections::BTreeMap<_, _> = tensors(network, "diffusers").into_iter().collect();
        let from_file = open_single(&single(network)).unwrap();
        let from_folder = open(folder(network, USUAL)).unwrap();
        for checkpoint in [&from_file, &from_folder] {
            let found: Vec<_> = checkpoint.arrays.iter().map(|(name, array)| (name, &array.shape)).collect();
            assert!(found.iter().copied().eq(expected.iter()), "{network}");
        }
        assert_eq!(from_file.arrays["unet.conv_in.weight"].name, "model.diffusion_model.input_blocks.0.0.weight");
        assert_eq!((from_file.sources.len(), from_folder.sources.len()), (1, 3));
        let unet = &from_folder.arrays["unet.conv_in.weight"];
        assert!(from_folder.sources[unet.source].name().contains("/unet/"));
    }
}

#[test]
fn a_seven_gigabyte_file_with_averages_is_read_by_its_header() {
    let mut all = single("");
    let averages: Tensors =
        all.iter().map(|(name, shape)| (format!("model_ema.{}", name.replace('.', "")), shape.clone())).collect();
    all.extend(averages);
    for buffer in [
        "betas",
        "alphas_cumprod",
        "posterior_mean_coef1",
        "model_ema.decay",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
    ] {
        all.push((buffer.to_string(), vec![1]));
    }
    let file = source("full.safetensors", "F32", &all);
    assert!(file.size() > 7 << 30);
    let checkpoint = open(vec![file.clone()]).unwrap();
    assert_eq!(checkpoint.arrays.len(), 1130);
    assert!(file.read.get() < 1 << 20);
    assert!(checkpoint.arrays.values().all(|array| array.dtype == DType::F32));
    assert_eq!(checkpoint.config, Default::default());
}

#[test]
fn older_spellings_and_a_vae_without_encoder() {
    let rename = |all: Tensors, pairs: &[(&str, &str)]| -> Tensors {
        let renamed = |name: String| pairs.iter().fold(name, |name, (from, to)| name.replace(from, to));
        all.into_iter().map(|(name, shape)| (renamed(name), shape)).collect()
    };
    let mut bare = rename(single("small_"), &[("transformer.text_model.", "transformer.")]);
    bare.retain(|(name, _)| !name.contains("first_stage_model.encoder") && !name.contains("_model.quant_conv"));
    assert!(open_single(&bare).is_ok());
    let old = [
        ("attn_1.q.", "attn_1.query."),
        ("attn_1.k.", "attn_1.key."),
        ("attn_1.v.", "attn_1.value."),
        ("attn_1.proj_out.", "attn_1.proj_attn."),
    ];
    let checkpoint = open_single(&rename(single("small_"), &old)).unwrap();
    assert_eq!(checkpoint.arrays["vae.decoder.mid_block.attentions.0.to_out.0.weight"].shape.len(), 2);
}

#[test]
fn missing_tensors_are_listed() {
    let mut all = single("");
    all.retain(|(name, _)| name != "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_v.weight");
    let (code, message) = refused(&all);
    assert_eq!(code, Code::MissingTensors);
    assert!(
        message.contains("1 of ")
            && message.contains("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.weight"),
        "{message}"
    );
    all.retain(|(name, _)| !name.contains("decoder.mid.") && !name.contains("output_blocks.7.0"));
    let (_, message) = refused(&all);
    assert!(
        message.contains(" and ") && message.contains(" more)") && message.matches(".weight").count() <= 5,
        "{message}"
    );
    // Whole blocks: each of these is seen from what is left of the others.
    for gone in [
        "model.diffusion_model.input_blocks.3.",
        "model.diffusion_model.input_blocks.2.",
        "model.diffusion_model.input_blocks.8.1.",
        "model.diffusion_model.output_blocks.5.2.",
        "model.diffusion_model.output_blocks.11.",
        "model.diffusion_model.middle_block.1.",
        "model.diffusion_model.time_embed.2.",
        "model.diffusion_model.output_blocks.3.0.skip_connection.",
        "first_stage_model.decoder.up.1.block.2.",
        "first_stage_model.decoder.up.2.upsample.",
        "first_stage_model.post_quant_conv.",
        "cond_stage_model.transformer.text_model.encoder.layers.4.",
        "cond_stage_model.transformer.text_model.final_layer_norm.",
    ] {
        let mut all = single("");
        all.retain(|(name, _)| !name.starts_with(gone));
        assert_eq!(refused(&all).0, Code::MissingTensors, "{gone}");
    }
}

#[test]
fn made_up_numbers_do_not_make_the_list_long() {
    let mut all = single("small_");
    for i in 0..90 {
        for j in 1..90 {
            let name = format!("model.diffusion_model.input_blocks.{i}.1.transformer_blocks.{j}.norm1.weight");
            all.push((name, vec![1]));
        }
    }
    all.push(("model.diffusion_model.input_blocks.18446744073709551615.0.op.weight".to_string(), vec![1]));
    all.push(("first_stage_model.decoder.up.99.block.99.norm1.weight".to_string(), vec![1]));
    assert_eq!(refused(&all).0, Code::MissingTensors);
}

#[test]
fn other_families_are_called_by_their_names() {
    let with = |name: &str, shape: &[usize]| {
        let mut all = single("");
        all.push((name.to_string(), shape.to_vec()));
        all
    };
    let resized = |end: &str, axis: usize, size: usize| {
        let mut all = single("");
        all.iter_mut().filter(|(name, _)| name.ends_with(end)).for_each(|(_, shape)| shape[axis] = size);
        all
    };
    let only = |prefix: &str, strip: &str| -> Tensors {
        let kept = single("").into_iter().filter(|(name, _)| name.starts_with(prefix));
        kept.map(|(name, shape)| (name.strip_prefix(strip).unwrap().to_string(), shape)).collect()
    };
    let without =
        |prefix: &str| -> Tensors { single("").into_iter().filter(|(name, _)| !name.starts_with(prefix)).collect() };
    let cases = [
        (with("conditioner.embedders.0.transformer.x", &[1]), "SDXL", "conditioner.embedders"),
        (resized("attn2.to_k.weight", 1, 2048), "SDXL", "context width 2048, expected 768"),
        (with("cond_stage_model.model.ln_final.weight", &[1]), "Stable Diffusion 2", "cond_stage_model.model."),
        (resized("attn2.to_k.weight", 1, 1024), "Stable Diffusion 2", "context width 1024, expected 768"),
        (vec![("lora_te_x.alpha".to_string(), vec![])], "LoRA", "lora_te_x"),
        (vec![("x.lora_up.weight".to_string(), vec![1, 4])], "LoRA", "lora_up"),
        (resized("input_blocks.0.0.weight", 1, 5), "depth-to-image", "5 channels, expected 4"),
        (resized("input_blocks.0.0.weight", 1, 8), "instruct-pix2pix", "8 channels"),
        (with("model.diffusion_model.joint_blocks.0.x", &[1]), "Stable Diffusion 3", "joint_blocks"),
        (with("double_blocks.0.img_attn.qkv.weight", &[1]), "Flux", "double_blocks"),
        (with("control_model.input_blocks.0.0.weight", &[1]), "ControlNet", "control_model"),
        (only("first_stage_model.", ""), "a VAE alone", "first_stage_model"),
        (only("first_stage_model.", "first_stage_model."), "a VAE alone", "conv"),
        (only("model.diffusion_model.", ""), "a UNet alone", "no text encoder"),
        (only("model.diffusion_model.", "model.diffusion_model."), "a UNet alone", "no VAE"),
        (only("cond_stage_model.", "cond_stage_model.transformer."), "a text encoder alone", "text_model."),
        (vec![("emb_params".to_string(), vec![2, 768])], "embedding", "embeddings zone"),
        (vec![("<cat>".to_string(), vec![768])], "embedding", "[768]"),
        (vec![("foo".to_string(), vec![3, 3])], "no checkpoint", "\"foo\""),
        (vec![], "no checkpoint", "no arrays"),
    ];
    for (tensors, family, evidence) in cases {
        let (code, message) = refused(&tensors);
        assert_eq!(code, Code::WrongFamily, "{message}");
        assert!(message.contains(family) && message.contains(evidence), "{family}: {message}");
    }
    // An inpainting checkpoint is one of ours.
    assert!(open_single(&resized("input_blocks.0.0.weight", 1, 9)).is_ok());
    let (code, message) = refused(&without("cond_stage_model."));
    assert!(code == Code::MissingTensors && message.contains("text encoder"), "{message}");
    let (code, message) = refused(&without("first_stage_model."));
    assert!(code == Code::MissingTensors && message.contains("VAE"), "{message}");
}

#[test]
fn element_types_and_containers() {
    let error = open(vec![source("x.safetensors", "I16", &single("small_"))]).err().unwrap();
    assert!(error.code == Code::WrongDtype && error.message.contains("I16"), "{error}");
    for (bytes, code, words) in [
        (&b"PK\x03\x04rest of a ckpt"[..], Code::UnknownFormat, "save it as .safetensors"),
        (b"\x80\x02}q\0.", Code::UnknownFormat, "pickle"),
        (b"<!DOCTYPE html>", Code::HtmlPage, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", Code::LfsPointer, "LFS"),
        (b"", Code::EmptyFile, "empty"),
        (b"GGUF\x03\0\0\0", Code::UnknownFormat, "GGUF"),
    ] {
        let error = open(vec![Rc::new(SparseSource::of_bytes("v1-5.ckpt", bytes))]).err().unwrap();
        assert!(error.code == code && error.message.contains(words), "{error}");
    }
    assert!(open(vec![]).is_err());
}

#[test]
fn a_folder_chooses_among_versions_and_reads_configs() {
    let json = |name: &str, text: &str| Rc::new(SparseSource::of_bytes(&format!("my-model/{name}"), text.as_bytes()));
    let others = [
        json("unet/config.json", r#"{"attention_head_dim": [2, 4], "norm_num_groups": 16}"#),
        json("vae/config.json", r#"{"norm_num_groups": 8, "scaling_factor": 0.5}"#),
        json("text_encoder/config.json", r#"{"num_attention_heads": 4, "hidden_act": "gelu"}"#),
        json("safety_checker/model.safetensors", "junk"),
        json("tokenizer/vocab.json", "{}"),
        json("model_index.json", "{}"),
        json("unet/diffusion_pytorch_model.fp16.safetensors", "junk that is not read"),
    ];
    let mut sources = folder("small_", USUAL);
    sources.extend(others);
    sources.reverse();
    let checkpoint = open(sources).unwrap();
    let config = &checkpoint.config;
    assert_eq!(
        (config.unet_heads_at(0), config.unet_heads_at(1), config.unet_heads_at(5)),
        (Some(2), Some(4), Some(4))
    );
    assert_eq!((config.unet_groups, config.vae_groups, config.text_heads), (Some(16), Some(8), Some(4)));
    assert_eq!((config.vae_scaling, config.text_activation.as_deref()), (Some(0.5), Some("gelu")));
    let names: Vec<_> = checkpoint.sources.iter().map(|source| source.name().to_string()).collect();
    assert_eq!(names.len(), 3);

    let half =
        [("unet", "diffusion_pytorch_model.fp16.safetensors"), USUAL[1], ("text_encoder", "model.fp16.safetensors")];
    assert!(open(folder("small_", half)).is_ok());
}

#[test]
fn shards_and_their_absence() {
    let parts = |count: usize, take: usize| {
        let mut sources = folder("small_", USUAL);
        sources.remove(0);
        let unet: Tensors = tensors("small_", "diffusers")
            .into_iter()
            .filter_map(|(name, shape)| Some((name.strip_prefix("unet.")?.to_string(), shape)))
            .collect();
        let chunk = unet.len().div_ceil(count);
        for (i, part) in unet.chunks(chunk).enumerate().take(take) {
            let name = format!("m/unet/diffusion_pytorch_model-{:05}-of-{count:05}.safetensors", i + 1);
            sources.push(source(&name, "F16", &part.to_vec()));
        }
        sources
    };
    let whole = open(parts(3, 3)).unwrap();
    assert_eq!((whole.sources.len(), whole.arrays.len()), (5, 396));
    let error = open(parts(3, 2)).err().unwrap();
    assert!(error.code == Code::MissingTensors && error.message.contains("2 of the 3"), "{error}");
    let mut sources = folder("small_", USUAL);
    sources.remove(2);
    let error = open(sources.clone()).err().unwrap();
    assert!(error.message.contains("text_encoder"), "{error}");
    sources.push(Rc::new(SparseSource::of_bytes("m/text_encoder/pytorch_model.bin", b"PK")));
    let error = open(sources.clone()).err().unwrap();
    assert!(error.message.contains("pytorch_model.bin"), "{error}");
    sources.push(Rc::new(SparseSource::of_bytes("m/text_encoder_2/model.safetensors", b"")));
    let error = open(sources).err().unwrap();
    assert!(error.code == Code::WrongFamily && error.message.contains("SDXL"), "{error}");
}
