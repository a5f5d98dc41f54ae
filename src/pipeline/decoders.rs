//! What turns latents into pixels on the GPU and pixels into latents: the VAE, a TAESD beside it, and those on their way.

use crate::error::{Code, Error, Result};
use crate::files::Checkpoint;
use crate::gpu::{Gpu, Storage, Tensor};
use crate::kernels::{image, image_from_unit, scale_latents, tune};
use crate::models::{Room, Taesd, Vae, VaeEncoder};
use crate::weights::{Filling, Weights};

use super::on_gpu::to_nhwc;

/// What decoding may take where little memory is wanted: the weights of SD 1.5 take sixteen times as much.
const LITTLE_MEMORY: u64 = 128 << 20;

/// The decoders of a model.
pub(super) struct Decoders {
    gpu: Gpu,
    vae: Vae,
    /// Of a separate VAE.
    vae_name: Option<String>,
    taesd: Option<Taesd>,
    /// What will take the place of the one in use once it is loaded.
    next: Option<(Next, Filling)>,
    /// Where the encoder of the VAE in use lies. It is needed once for a picture to start from, and only then loaded.
    encoder: Checkpoint,
}

/// A decoder on its way onto the GPU.
enum Next {
    Vae(Box<Vae>, String, Checkpoint),
    Taesd(Box<Taesd>),
}

impl Decoders {
    /// The model's own alone.
    pub fn new(gpu: &Gpu, vae: Vae, encoder: Checkpoint) -> Self {
        Self { gpu: gpu.clone(), vae, vae_name: None, taesd: None, next: None, encoder }
    }

    /// The name of the separate VAE in use.
    pub fn vae_name(&self) -> Option<&str> {
        self.vae_name.as_deref()
    }

    /// Makes room for another VAE.
    pub async fn open_vae(&mut self, name: String, checkpoint: Checkpoint) -> Result<()> {
        let weights = Weights::new(&self.gpu, checkpoint.clone());
        let vae = Vae::load(&weights.at("vae"))?;
        self.next = Some((Next::Vae(Box::new(vae), name, checkpoint), weights.fill()));
        self.gpu.finish().await
    }

    /// Makes room for a TAESD.
    pub async fn open_taesd(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let weights = Weights::new(&self.gpu, checkpoint);
        let taesd = Taesd::load(&weights.at("taesd"))?;
        self.next = Some((Next::Taesd(Box::new(taesd)), weights.fill()));
        self.gpu.finish().await
    }

    /// Gives up what is not fully loaded.
    pub fn drop_next(&mut self) {
        self.next = None;
    }

    /// Brings in a slice of what was opened; false once all is there.
    pub async fn load_slice(&mut self) -> Result<bool> {
        let Some((_, filling)) = &mut self.next else { return Ok(false) };
        match filling.step().await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                self.next = None;
                return Err(error);
            }
        }
        match self.next.take() {
            Some((Next::Vae(vae, name, encoder), _)) => {
                (self.vae, self.vae_name, self.encoder) = (*vae, Some(name), encoder);
            }
            Some((Next::Taesd(taesd), _)) => self.taesd = Some(*taesd),
            None => {}
        }
        Ok(false)
    }

    /// Bytes loaded, and bytes in all, of what is on its way.
    pub fn loaded(&self) -> (u64, u64) {
        self.next.as_ref().map_or((0, 0), |(_, filling)| (filling.loaded(), filling.total()))
    }

    /// Refuses a picture that the VAE cannot decode on this GPU, not even in strips.
    pub fn check_size(&self, width: usize, height: usize) -> Result<()> {
        if self.fits_whole(width, height) {
            return Ok(());
        }
        let size = self.gpu.storage().size();
        check_room(self.vae.largest_kept(width, height, size), self.gpu.largest_buffer(), [width, height])
    }

    /// Refuses what TAESD cannot decode, for want of a TAESD or of room.
    pub fn check_taesd(&self, width: usize, height: usize) -> Result<()> {
        let needed = needed_taesd(self.taesd.as_ref())?.largest(width, height, self.gpu.storage().size());
        check_room(needed, self.gpu.largest_tensor(), [width, height])
    }

    fn fits_whole(&self, width: usize, height: usize) -> bool {
        self.vae.largest(width, height, self.gpu.storage().size()) <= self.gpu.largest_tensor()
    }

    /// Measures which kernels are the fastest for [`decode`](Self::decode).
    pub async fn tune(&self, [h, w]: [usize; 2], tiled: bool) -> Result<()> {
        let latents = self.gpu.empty("latents", &[1, h, w, 4], Storage::F32);
        let scale = self.gpu.empty("scale", &[4], Storage::F32);
        tune(&self.gpu, || self.picture(&latents, &scale, tiled)).await
    }

    /// Latents (4, h, w) → RGBA bytes (8h, 8w, 4) by the VAE; `tiled`: within little memory.
    pub async fn decode(&self, latents: &[f32], [h, w]: [usize; 2], tiled: bool) -> Result<Vec<u8>> {
        let gpu = &self.gpu;
        let latents = gpu.upload("latents", &[1, h, w, 4], Storage::F32, &to_nhwc(latents, 4, h * w));
        let scale = gpu.upload("scale", &[4], Storage::F32, &[0.0, self.vae.latent_scale(), 0.0, 0.0]);
        let decode = || self.picture(&latents, &scale, tiled).keep();
        gpu.prepare(decode).await?;
        let (plan, rgba) = gpu.record("vae decode", decode);
        plan.run();
        rgba.read_bytes().await
    }

    /// What decoding calls: latents (1, h, w, 4) and how they are scaled (4) → RGBA.
    fn picture(&self, latents: &Tensor, scale: &Tensor, tiled: bool) -> Tensor {
        let &[_, h, w, _] = latents.shape() else { panic!("latents are {:?}", latents.shape()) };
        let (gpu, most) = (&self.gpu, if tiled { LITTLE_MEMORY } else { u64::MAX });
        let room = Room { most, tensor: gpu.largest_buffer(), binding: gpu.largest_tensor() };
        let x = scale_latents(latents, scale, None, 1, gpu.storage());
        let whole = !tiled && self.fits_whole(w * 8, h * 8);
        image(&if whole { self.vae.decode(&x) } else { self.vae.decode_in(&x, &room) })
    }

    /// A picture (3, height, width) in −1…1 → the mean of its latents (4, h, w), in the sampler's scale.
    pub async fn encode(&self, picture: &[f32], [height, width]: [usize; 2]) -> Result<Vec<f32>> {
        let gpu = &self.gpu;
        let weights = Weights::new(gpu, self.encoder.clone());
        let encoder = VaeEncoder::load(&weights.at("vae"))?;
        let needed = encoder.largest(width, height, gpu.storage().size());
        check_room(needed, gpu.largest_tensor(), [width, height])?;
        let mut filling = weights.fill();
        while filling.step().await? {}
        let pixels = to_nhwc(picture, 3, height * width);
        let picture = gpu.upload("picture", &[1, height, width, 4], gpu.storage(), &pixels);
        let encode = || encoder.encode(&picture).keep();
        gpu.prepare(encode).await?;
        let (plan, moments) = gpu.record("vae encode", encode);
        plan.run();
        let (moments, pixels) = (moments.read().await?, height / 8 * (width / 8));
        let mean = |c: usize| (0..pixels).map(move |i| (c, i));
        Ok((0..4).flat_map(mean).map(|(c, i)| moments[i * 8 + c] * encoder.latent_scale()).collect())
    }

    /// [`decode`](Self::decode) by TAESD.
    pub async fn decode_by_taesd(&self, latents: &[f32], [h, w]: [usize; 2]) -> Result<Vec<u8>> {
        let (gpu, taesd) = (&self.gpu, needed_taesd(self.taesd.as_ref())?);
        let latents = gpu.upload("latents", &[1, h, w, 4], Storage::F32, &to_nhwc(latents, 4, h * w));
        let decode = || image_from_unit(&taesd.decode(&latents)).keep();
        gpu.prepare(decode).await?;
        let (plan, rgba) = gpu.record("taesd", decode);
        plan.run();
        rgba.read_bytes().await
    }
}

fn check_room(needed: u64, most: u64, [width, height]: [usize; 2]) -> Result<()> {
    if needed <= most {
        return Ok(());
    }
    let sentence = format!(
        "a picture of {width}×{height} needs tensors of {} MiB, and this GPU allows at most {} MiB: choose a smaller size",
        needed >> 20,
        most >> 20
    );
    Err(Error::new(Code::BadOption, sentence))
}

/// What was loaded to decode in the VAE's place.
pub(super) fn needed_taesd<T>(taesd: Option<&T>) -> Result<&T> {
    taesd.ok_or_else(|| {
        Error::new(Code::BadOption, "there is no TAESD yet: load taesd_decoder.safetensors as a VAE first")
    })
}
