// Inpainting: what of the latents a network sees. Shared by `scale_latents`, `sampler_step` and `conv_out_step`.
//
// `repaint` holds, for each pixel: the latents of the picture; unit noise; a mask before and one after the network. A mask is 1
// where the picture is painted anew and 0 where it is kept.

fn seen(x: vec4<f32>, pixel: u32) -> vec4<f32> {
  if (!REPAINT) {
    return x;
  }
  let kept = repaint[pixel] + step[1].x * repaint[p.pixels + pixel];
  return mix(kept, x, repaint[2u * p.pixels + pixel].x);
}
