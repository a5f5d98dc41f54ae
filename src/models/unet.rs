//! The denoising UNet (Ronneberger et al. 2015; Rombach et al. 2022; diffusers' `UNet2DConditionModel`).

mod room;
mod time;

use crate::error::{Code, Error, Result};
use crate::gpu::{Plan, Storage, Tensor};
use crate::kernels::{Gemm, Measure, Measured, RowBias, Seen, gemm, gemm_measured};
use crate::layers::{Conv2d, GroupNorm};
use crate::weights::Weights;

use super::blocks::{ResnetBlock, Transformer2d, same_channels};
use time::TimeEmbedding;

/// Attention heads at every level (v1-inference.yaml, `num_heads: 8`).
const HEADS: usize = 8;
/// Groups of every group norm (CompVis, model.py `Normalize`).
const GROUPS: usize = 32;
const EPSILON: f32 = 1e-5;
/// Channels of the latents.
const LATENTS: usize = 4;
/// What a network that inpaints sees besides: a mask, and latents.
const CONDITION: usize = 1 + LATENTS;

/// The network.
pub struct Unet {
    time_embedding: TimeEmbedding,
    conv_in: Conv2d,
    inpaints: bool,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    context_width: usize,
}

struct DownBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>, // one per resnet, or none
    downsampler: Option<Conv2d>,
}

struct MidBlock {
    resnets: [ResnetBlock; 2],
    attention: Transformer2d,
}

struct UpBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    upsampler: Option<Conv2d>,
}

/// What does not change over the steps: the prompts' keys and values, the time embeddings of all steps.
pub struct Prepared {
    /// Per ResnetBlock, in the order of `forward`: (1, steps, N).
    time: Vec<Tensor>,
    /// Per transformer, in the order of `forward`, and per block in it: (prompts, S, 2C).
    context: Vec<Vec<Tensor>>,
    /// (prompts): tokens of each that count.
    lengths: Tensor,
    /// Computes `context` again.
    prompt: Plan,
}

impl Prepared {
    /// To be called when the numbers of the prompt changed where they lie.
    pub fn prompt_changed(&self) {
        self.prompt.run();
    }

    /// `times` prompts, from the `first` on, to each of which `each` items are shown. The latents are one part of that batch
    /// if all prompts see the same, or all of it: then `times` is 1.
    pub fn shown(&self, first: usize, each: usize, times: usize) -> Shown<'_> {
        Shown { prepared: self, first, each, times }
    }
}

/// Which of the prepared prompts the items of a batch see.
pub struct Shown<'a> {
    prepared: &'a Prepared,
    first: usize,
    each: usize,
    times: usize,
}

/// What all blocks need to know while they are loaded.
struct Loading {
    time: usize,
    context: usize,
    groups: usize,
}

impl Unet {
    /// The network at `w`, for a text encoder of `context` numbers per token.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, context: usize) -> Result<Self> {
        let config = &w.checkpoint().config;
        let inputs = w.shape("conv_in.weight")?.get(1).copied().unwrap_or(0);
        let inpaints = inputs == LATENTS + CONDITION;
        let conv_in = Conv2d::load(&w.at("conv_in"), if inpaints { inputs } else { LATENTS })?;
        let time_embedding = TimeEmbedding::load(&w.at("time_embedding"))?;
        let loading = Loading { time: time_embedding.width(), context, groups: config.unet_groups.unwrap_or(GROUPS) };

        let mut channels = conv_in.channels();
        let mut skips = vec![channels];
        let places = w.list("down_blocks");
        let levels = places.len();
        let heads = |level: usize| config.unet_heads_at(level).unwrap_or(HEADS);
        let mut down_blocks = Vec::new();
        for (level, place) in places.iter().enumerate() {
            down_blocks.push(DownBlock::load(place, &loading, heads(level), &mut channels, &mut skips)?);
        }
        let mid_block = MidBlock::load(&w.at("mid_block"), &loading, heads(levels.saturating_sub(1)), channels)?;
        let mut up_blocks = Vec::new();
        for (i, place) in w.list("up_blocks").iter().enumerate() {
            let level = levels.saturating_sub(1 + i);
            up_blocks.push(UpBlock::load(place, &loading, heads(level), &mut channels, &mut skips)?);
        }
        let last = levels.saturating_sub(1);
        let halves = down_blocks.iter().enumerate().all(|(i, block)| block.downsampler.is_some() == (i < last));
        let doubles = up_blocks.iter().enumerate().all(|(i, block)| block.upsampler.is_some() == (i < last));
        if !(halves && doubles && skips.is_empty() && up_blocks.len() == levels) {
            let sentence =
                "the way up through this UNet does not mirror the way down, as it does in Stable Diffusion 1.5";
            return Err(Error::new(Code::WrongShape, sentence));
        }
        let conv_out = Conv2d::load(&w.at("conv_out"), channels)?;
        same_channels("the predicted noise", conv_out.channels(), 4)?;
        Ok(Self {
            conv_norm_out: GroupNorm::load(&w.at("conv_norm_out"), channels, loading.groups, EPSILON)?,
            time_embedding,
            conv_in,
            inpaints,
            down_blocks,
            mid_block,
            up_blocks,
            conv_out,
            context_width: context,
        })
    }

    /// Computes once what all steps share. `context` is (prompts, S, width), of which as many rows count as `lengths`
    /// (prompts) says. `guidance` is what a network with a [`guidance_width`](Self::guidance_width) is told of it.
    pub fn prepare(&self, timesteps: &[f32], guidance: Option<&[f32]>, context: &Tensor, lengths: &Tensor) -> Prepared {
        assert_eq!(context.shape()[2], self.context_width, "unet: context {:?}", context.shape());
        let gpu = context.gpu();
        let told = self.time_embedding.tell(gpu, timesteps, guidance);
        let (plan, time) = gpu.record("unet time", || {
            let temb = self.time_embedding.forward(&told);
            self.resnets().filter_map(|resnet| resnet.time_rows(&temb)).map(|rows| rows.keep()).collect()
        });
        plan.run();
        let (prompt, context) = gpu.record("unet prompt", || {
            let keys_and_values =
                |transformer: &Transformer2d| transformer.keys_and_values(context).iter().map(Tensor::keep).collect();
            self.transformers().map(keys_and_values).collect()
        });
        prompt.run();
        Prepared { time, context, lengths: lengths.clone(), prompt }
    }

    /// Numbers in which it is told how strong guidance is to be, if it was distilled to need no second evaluation for it
    /// (Luo et al. 2023, section 4.2).
    pub fn guidance_width(&self) -> Option<usize> {
        self.time_embedding.guidance_width()
    }

    /// It was trained for inpainting and sees what is to be kept (runwayml/stable-diffusion-inpainting).
    pub fn inpaints(&self) -> bool {
        self.inpaints
    }

    /// The noise in `x` (B, h, w, 4), as (times · B, h, w, 4) in f32: what is done before the prompts are first looked at is
    /// done once for all that are `shown`. `step` says which of the prepared time embeddings. A network
    /// that inpaints sees `condition` (B, h, w, 8) too: the mask, the latents of the picture without what is masked, and
    /// three channels of nothing.
    pub fn forward(&self, x: &Tensor, condition: Option<&Tensor>, step: &Tensor, shown: &Shown) -> Tensor {
        let h = self.features(x, condition, step, shown);
        gemm(&Gemm { out: Some(Storage::F32), ..self.conv_out.product(&h) })
    }

    /// What [`forward`](Self::forward) makes the noise of in its last convolution: (times · B, h, w, C).
    pub fn features(&self, x: &Tensor, condition: Option<&Tensor>, step: &Tensor, shown: &Shown) -> Tensor {
        assert_eq!(condition.is_some(), self.inpaints, "unet: condition {:?}", condition.map(Tensor::shape));
        let &Shown { prepared, first, each, times } = shown;
        let seen = Seen { lengths: &prepared.lengths, first, each, times };
        let mut state = State { time: prepared.time.iter(), context: prepared.context.iter(), step, seen };
        // 1. in
        let mut h = gemm_measured(&Gemm { input2: condition, ..self.conv_in.product(x) }, Measure::Channels);
        let mut skips = vec![h.clone()];

        // 2. down: every block leaves its outputs on `skips`
        for block in &self.down_blocks {
            h = block.forward(h, &mut state, &mut skips);
        }

        // 3. middle
        h = self.mid_block.forward(&h, &mut state);

        // 4. up: every block takes them back, last first
        for block in &self.up_blocks {
            h = block.forward(h, &mut state, &mut skips);
        }

        // 5. out
        self.conv_norm_out.silu(&h, None)
    }

    /// The last convolution.
    pub fn conv_out(&self) -> &Conv2d {
        &self.conv_out
    }

    fn resnets(&self) -> impl Iterator<Item = &ResnetBlock> {
        let down = self.down_blocks.iter().flat_map(|block| &block.resnets);
        let up = self.up_blocks.iter().flat_map(|block| &block.resnets);
        down.chain(&self.mid_block.resnets).chain(up)
    }

    fn transformers(&self) -> impl Iterator<Item = &Transformer2d> {
        let down = self.down_blocks.iter().flat_map(|block| &block.attentions);
        let up = self.up_blocks.iter().flat_map(|block| &block.attentions);
        down.chain([&self.mid_block.attention]).chain(up)
    }
}

/// The prepared tensors, handed out in the order the blocks come.
struct State<'a> {
    time: std::slice::Iter<'a, Tensor>,
    context: std::slice::Iter<'a, Vec<Tensor>>,
    step: &'a Tensor,
    seen: Seen<'a>,
}

impl State<'_> {
    fn resnet(&mut self, block: &ResnetBlock, x: &Measured, skip: Option<&Measured>) -> Measured {
        let rows = self.time.next().expect("a prepared time embedding for every block");
        block.forward(x, skip, Some(RowBias { rows, step: self.step }))
    }

    fn transformer(&mut self, block: &Transformer2d, x: &Measured) -> Measured {
        let kv = self.context.next().expect("a prepared prompt for every transformer");
        let result = block.forward(x, kv, self.seen);
        self.seen.times = 1;
        result
    }
}

impl DownBlock {
    fn load(
        w: &Weights,
        loading: &Loading,
        heads: usize,
        channels: &mut usize,
        skips: &mut Vec<usize>,
    ) -> Result<Self> {
        let mut resnets = Vec::new();
        let mut attentions = Vec::new();
        for (i, place) in w.list("resnets").iter().enumerate() {
            let resnet = ResnetBlock::load(place, *channels, Some(loading.time), loading.groups, EPSILON)?;
            *channels = resnet.channels();
            skips.push(*channels);
            resnets.push(resnet);
            if w.has("attentions") {
                attentions.push(loading.transformer(&w.at("attentions").at(i), *channels, heads)?);
            }
        }
        let sampler = w.at("downsamplers.0.conv");
        let downsampler = w.has("downsamplers").then(|| Conv2d::load(&sampler, *channels)).transpose()?;
        if let Some(conv) = &downsampler {
            *channels = conv.channels();
            skips.push(*channels);
        }
        Ok(Self { resnets, attentions, downsampler })
    }

    fn forward(&self, mut h: Measured, state: &mut State, skips: &mut Vec<Measured>) -> Measured {
        for (i, resnet) in self.resnets.iter().enumerate() {
            h = state.resnet(resnet, &h, None);
            if let Some(attention) = self.attentions.get(i) {
                h = state.transformer(attention, &h);
            }
            skips.push(h.clone());
        }
        if let Some(conv) = &self.downsampler {
            h = conv.downsample(&h.tensor);
            skips.push(h.clone());
        }
        h
    }
}

impl MidBlock {
    fn load(w: &Weights, loading: &Loading, heads: usize, channels: usize) -> Result<Self> {
        let resnet = |i: usize| {
            let place = w.at("resnets").at(i);
            ResnetBlock::load(&place, channels, Some(loading.time), loading.groups, EPSILON)
        };
        let attention = loading.transformer(&w.at("attentions.0"), channels, heads)?;
        let resnets = [resnet(0)?, resnet(1)?];
        same_channels("the middle block", resnets[1].channels(), channels)?;
        Ok(Self { resnets, attention })
    }

    fn forward(&self, h: &Measured, state: &mut State) -> Measured {
        let h = state.resnet(&self.resnets[0], h, None);
        let h = state.transformer(&self.attention, &h);
        state.resnet(&self.resnets[1], &h, None)
    }
}

impl UpBlock {
    fn load(
        w: &Weights,
        loading: &Loading,
        heads: usize,
        channels: &mut usize,
        skips: &mut Vec<usize>,
    ) -> Result<Self> {
        let mut resnets = Vec::new();
        let mut attentions = Vec::new();
        for (i, place) in w.list("resnets").iter().enumerate() {
            let Some(skip) = skips.pop() else {
                let sentence = "this UNet has more blocks on its way up than on its way down";
                return Err(Error::new(Code::WrongShape, sentence));
            };
            let resnet = ResnetBlock::load(place, *channels + skip, Some(loading.time), loading.groups, EPSILON)?;
            *channels = resnet.channels();
            resnets.push(resnet);
            if w.has("attentions") {
                attentions.push(loading.transformer(&w.at("attentions").at(i), *channels, heads)?);
            }
        }
        let sampler = w.at("upsamplers.0.conv");
        let upsampler = w.has("upsamplers").then(|| Conv2d::load_upsampler(&sampler, *channels)).transpose()?;
        Ok(Self { resnets, attentions, upsampler })
    }

    fn forward(&self, mut h: Measured, state: &mut State, skips: &mut Vec<Measured>) -> Measured {
        for (i, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().expect("as many skips as were loaded");
            let times = h.tensor.shape()[0] / skip.tensor.shape()[0];
            let skip = if times > 1 { skip.repeat(times) } else { skip };
            h = state.resnet(resnet, &h, Some(&skip));
            if let Some(attention) = self.attentions.get(i) {
                h = state.transformer(attention, &h);
            }
        }
        if let Some(conv) = &self.upsampler {
            // The next skip's size, not twice ours: on the way down an odd size was rounded up.
            let next = skips.last().unwrap_or(&h).tensor.shape();
            h = conv.upsample(&h.tensor, (next[1], next[2]));
        }
        h
    }
}

impl Loading {
    fn transformer(&self, w: &Weights, channels: usize, heads: usize) -> Result<Transformer2d> {
        Transformer2d::load(w, channels, self.context, heads, self.groups)
    }
}
