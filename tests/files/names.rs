//! The table of names against diffusers' own conversion (tests/golden/names, written by make_names.py).

use std::collections::HashSet;
use std::path::PathBuf;

use wordbrush::files::key_names::{KeyNames, canonical};

/// The lines of a file in tests/golden/names.
pub fn lines(file: &str) -> Vec<String> {
    let path = PathBuf::from(golden()).join("names").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(str::to_string).collect()
}

/// The folder of golden files.
pub fn golden() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")
}

fn pairs(network: &str) -> Vec<(String, String)> {
    lines(&format!("{network}ldm.txt")).into_iter().zip(lines(&format!("{network}diffusers.txt"))).collect()
}

#[test]
fn every_name_of_three_networks_converts_both_ways() {
    for network in ["", "small_", "odd_"] {
        let pairs = pairs(network);
        let from_ldm = KeyNames::from_ldm(pairs.iter().map(|(ldm, _)| ldm.as_str()));
        let from_diffusers = KeyNames::from_diffusers(pairs.iter().map(|(_, diffusers)| diffusers.as_str()));
        let mut seen = HashSet::new();
        for (ldm, diffusers) in &pairs {
            for names in [&from_ldm, &from_diffusers] {
                assert_eq!(names.to_diffusers(ldm).as_ref(), Some(diffusers), "{network}{ldm}");
                assert_eq!(names.to_ldm(diffusers).as_ref(), Some(ldm), "{network}{diffusers}");
            }
            assert_eq!(canonical(diffusers).as_ref(), Some(diffusers));
            assert!(seen.insert(diffusers), "{diffusers} twice");
        }
    }
    assert_eq!(pairs("").len(), 1130);
}

#[test]
fn buffers_and_copies_have_no_name() {
    let names = KeyNames::from_ldm(lines("ldm.txt").iter().map(String::as_str).collect::<Vec<_>>());
    for ignored in [
        "betas",
        "alphas_cumprod",
        "posterior_variance",
        "model_ema.decay",
        "model_ema.diffusion_modelinput_blocks00weight",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
        "model.diffusion_model.input_blocks.1.0.unknown.weight",
        "model.diffusion_model.input_blocks.99999999999999999999.0.in_layers.0.weight",
        "first_stage_model.loss.logvar",
    ] {
        assert_eq!(names.to_diffusers(ignored), None, "{ignored}");
    }
}

#[test]
fn older_spellings_become_the_canonical_one() {
    let ldm = lines("ldm.txt");
    let names = KeyNames::from_ldm(ldm.iter().map(String::as_str));
    let attention = "first_stage_model.decoder.mid.attn_1";
    for (old, new) in
        [("query", "to_q"), ("to_k", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"), ("to_out.0", "to_out.0")]
    {
        let found = names.to_diffusers(&format!("{attention}.{old}.weight"));
        assert_eq!(found, Some(format!("vae.decoder.mid_block.attentions.0.{new}.weight")));
        let found = canonical(&format!("vae.decoder.mid_block.attentions.0.{old}.weight"));
        assert_eq!(found, Some(format!("vae.decoder.mid_block.attentions.0.{new}.weight")));
    }
    let bare = names.to_diffusers("cond_stage_model.transformer.encoder.layers.3.mlp.fc1.bias");
    assert_eq!(bare.as_deref(), Some("text_encoder.text_model.encoder.layers.3.mlp.fc1.bias"));
    assert_eq!(
        canonical("text_encoder.final_layer_norm.bias").as_deref(),
        Some("text_encoder.text_model.final_layer_norm.bias")
    );
}
