//! What a diffusers folder's `config.json` files say that no tensor's shape does.

use serde_json::Value;

/// Overrides of Stable Diffusion 1.5's rules; a single file has none of them, and all stay `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelConfig {
    /// Attention heads of the text encoder (else its width / 64).
    pub text_heads: Option<usize>,
    /// The text encoder's activation: `quick_gelu` (the default) or `gelu`.
    pub text_activation: Option<String>,
    /// Attention heads of the UNet: one number for all levels, or one for each (else 8).
    pub unet_heads: Option<Vec<usize>>,
    /// Groups of the UNet's group norms (else 32).
    pub unet_groups: Option<usize>,
    /// Groups of the VAE's group norms (else 32).
    pub vae_groups: Option<usize>,
    /// What latents are multiplied with before the UNet (else 0.18215).
    pub vae_scaling: Option<f64>,
    /// The UNet was trained to predict v instead of ε (Salimans and Ho 2022).
    pub v_prediction: bool,
    /// It was trained on noise levels that end in noise alone (Lin et al. 2023).
    pub zero_terminal_snr: bool,
}

impl ModelConfig {
    /// Heads at a level of the UNet, 0 being the finest, when the folder says so.
    pub fn unet_heads_at(&self, level: usize) -> Option<usize> {
        let heads = self.unet_heads.as_ref()?;
        heads.get(level).or(heads.last()).copied()
    }

    /// Takes what `json`, the `config.json` of `component`, says. What it says in another form than expected is passed
    /// over: a config is a hint, the tensors are the checkpoint.
    pub fn read(&mut self, component: &str, json: &str) {
        let Ok(json) = serde_json::from_str::<Value>(json) else { return };
        let number = |key: &str| positive(json.get(key)?);
        match component {
            "text_encoder" => {
                self.text_heads = number("num_attention_heads");
                self.text_activation = json.get("hidden_act").and_then(Value::as_str).map(str::to_string);
            }
            "unet" => {
                // diffusers calls the number of heads by the name of their width, for old configs' sake.
                self.unet_heads = match json.get("attention_head_dim") {
                    Some(Value::Array(levels)) => {
                        levels.iter().map(positive).collect::<Option<Vec<_>>>().filter(|l| !l.is_empty())
                    }
                    Some(one) => positive(one).map(|heads| vec![heads]),
                    None => None,
                };
                self.unet_groups = number("norm_num_groups");
            }
            "vae" => {
                self.vae_groups = number("norm_num_groups");
                self.vae_scaling = json.get("scaling_factor").and_then(Value::as_f64).filter(|scale| *scale > 0.0);
            }
            "scheduler" => {
                self.v_prediction = json.get("prediction_type").and_then(Value::as_str) == Some("v_prediction");
                self.zero_terminal_snr = json.get("rescale_betas_zero_snr").and_then(Value::as_bool) == Some(true);
            }
            _ => {}
        }
    }
}

/// A number that can count something: positive, and small enough that nothing multiplied with it overflows.
fn positive(value: &Value) -> Option<usize> {
    value.as_u64().filter(|n| (1..=65_536).contains(n)).map(|n| n as usize)
}
