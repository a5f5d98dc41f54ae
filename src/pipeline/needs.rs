//! What a model is going to take, told from its header alone: before anything is loaded, and without a GPU.

use crate::files::{ArrayInfo, Checkpoint};
use crate::weights::SLICE_BYTES;

/// Blocks of a network and layers of a block are counted up to here.
const MOST: usize = 64;

/// Bytes that a model takes, and a picture made with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Read from the file.
    pub file: u64,
    /// Numbers in the networks.
    pub parameters: u64,
    /// Numbers per token: the width an embedding must have.
    pub text_width: usize,
    /// Weights on the GPU, and what they come in through.
    pub weights: u64,
    /// The token table, which stays in the tab's own memory.
    pub tokens: u64,
    /// Activations of a step, with guidance: about.
    pub step: u64,
    /// Activations of the decoder at its largest: about.
    pub decode: u64,
}

impl Needs {
    /// The most that is taken on the GPU at once: the activations of steps and of decoding are not there together.
    pub fn peak(&self) -> u64 {
        self.weights + self.step.max(self.decode)
    }
}

/// What `checkpoint` needs for `batch` pictures of `width` × `height` at once, at `size` bytes a number.
pub fn needs(checkpoint: &Checkpoint, [width, height, batch]: [usize; 3], size: usize) -> Needs {
    let shapes = Shapes { checkpoint };
    let mut needs = Needs {
        file: 0,
        parameters: 0,
        text_width: shapes.of(TOKENS).get(1).copied().unwrap_or(0),
        weights: SLICE_BYTES as u64,
        tokens: 0,
        step: shapes.unet([height / 8, width / 8]) * (2 * batch * size) as u64 * 7 / 6,
        decode: shapes.decoder([height / 8, width / 8]) * size as u64,
    };
    for (name, array) in &checkpoint.arrays {
        // The encoder comes in for a picture to start from, and goes again.
        if name.starts_with("vae.encoder.") || name.starts_with("vae.quant_conv.") {
            continue;
        }
        needs.file += array.length;
        needs.parameters += array.numel() as u64;
        if name.contains("_embedding.weight") && name.starts_with("text_encoder.") {
            needs.tokens += array.numel() as u64 * array.dtype.size().min(size) as u64;
        } else {
            needs.weights += weight(array, size);
        }
    }
    needs
}

const TOKENS: &str = "text_encoder.text_model.embeddings.token_embedding.weight";

/// Bytes of a tensor on the GPU: vectors are f32, and every axis that a kernel reads is a multiple of four.
fn weight(array: &ArrayInfo, size: usize) -> u64 {
    let bytes = match array.shape.as_slice() {
        [n] => n.next_multiple_of(4) * 4,
        [n, channels, filter @ ..] => {
            n.next_multiple_of(4) * channels.next_multiple_of(4) * filter.iter().product::<usize>() * size
        }
        [] => 0,
    };
    bytes as u64
}

struct Shapes<'a> {
    checkpoint: &'a Checkpoint,
}

impl Shapes<'_> {
    fn of(&self, name: &str) -> &[usize] {
        self.checkpoint.arrays.get(name).map_or(&[], |array| array.shape.as_slice())
    }

    /// Channels that come out of a convolution, or `None` where there is none.
    fn channels(&self, conv: &str) -> Option<u64> {
        self.of(&format!("{conv}.weight")).first().map(|&channels| channels as u64)
    }

    /// Channels of each ResnetBlock of a block.
    fn resnets(&self, block: &str) -> Vec<u64> {
        (0..MOST).map_while(|i| self.channels(&format!("{block}.resnets.{i}.conv2"))).collect()
    }

    /// Numbers alive at once in the UNet, of one item of the batch, with latents of h×w: what the way up takes back, and
    /// what the block at work has under its hands. A plan's arena is about a sixth larger.
    fn unet(&self, [h, w]: [usize; 2]) -> u64 {
        let pixels = |[h, w]: [usize; 2]| (h * w) as u64;
        let (mut size, mut channels) = ([h, w], self.channels("unet.conv_in").unwrap_or(0));
        let mut skips = vec![(size, channels)];
        let kept = |skips: &[([usize; 2], u64)]| skips.iter().map(|&(size, c)| pixels(size) * c).sum::<u64>();
        let mut most = 0;
        let blocks = |way: &str| {
            let way = way.to_string();
            (0..MOST).map(move |i| format!("unet.{way}.{i}")).map_while(|block| {
                let resnets = self.resnets(&block);
                (!resnets.is_empty()).then_some((block, resnets))
            })
        };
        let attends = |block: &str| self.channels(&format!("{block}.attentions.0.proj_in")).is_some();
        for (block, resnets) in blocks("down_blocks") {
            for c in resnets {
                let work = resnet(channels, c).max(if attends(&block) { transformer(c) } else { 0 });
                most = most.max(kept(&skips) + pixels(size) * work);
                channels = c;
                skips.push((size, c));
            }
            if let Some(c) = self.channels(&format!("{block}.downsamplers.0.conv")) {
                (size, channels) = (size.map(|side| side.div_ceil(2)), c);
                skips.push((size, c));
            }
        }
        most = most.max(kept(&skips) + pixels(size) * resnet(channels, channels).max(transformer(channels)));
        for (block, resnets) in blocks("up_blocks") {
            for c in resnets {
                let skip = skips.pop().unwrap_or((size, 0));
                size = skip.0;
                let work = resnet(channels + skip.1, c).max(if attends(&block) { transformer(c) } else { 0 });
                most = most.max(kept(&skips) + pixels(size) * work);
                channels = c;
            }
        }
        most
    }

    /// Numbers alive at once in the VAE's decoder: the input of a ResnetBlock, the same normalised, and what the first
    /// convolution makes of it (measured: exactly that for SD 1.5 at 512²).
    fn decoder(&self, [h, w]: [usize; 2]) -> u64 {
        let mut pixels = (h * w) as u64;
        let mut channels = self.channels("vae.decoder.conv_in").unwrap_or(0);
        let mut most = pixels * 3 * channels;
        for block in (0..MOST).map(|i| format!("vae.decoder.up_blocks.{i}")) {
            for c in self.resnets(&block) {
                most = most.max(pixels * (2 * channels + c));
                channels = c;
            }
            if let Some(c) = self.channels(&format!("{block}.upsamplers.0.conv")) {
                (pixels, channels) = (pixels * 4, c);
            }
        }
        most
    }
}

/// Numbers per pixel while a ResnetBlock of the UNet brings `from` channels to `to`: its input waits for the residual, beside what was
/// normalised and what the convolution makes of it.
fn resnet(from: u64, to: u64) -> u64 {
    from + (from + to).max(2 * to)
}

/// The same for a transformer: two residuals, what was normalised, and the inside of the feed-forward.
fn transformer(channels: u64) -> u64 {
    (1 + 1 + 1 + 4) * channels
}
