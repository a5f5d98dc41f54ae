//! How much room the network's activations need.

use crate::models::blocks::ResnetBlock;

use super::Unet;

impl Unet {
    /// Numbers in the largest tensor of one batch item, for latents of h×w.
    pub fn largest(&self, h: usize, w: usize) -> usize {
        let (mut size, mut channels) = ([h, w], self.conv_in.channels());
        let mut largest = h * w * channels;
        // A transformer's queries, keys and values are 3C wide, the inside of its feed-forward 4C.
        let mut needs = |[h, w]: [usize; 2], channels: usize, attends: bool| {
            largest = largest.max(h * w * channels * if attends { 4 } else { 1 });
        };
        // Sizes and channels of what the way up takes back.
        let mut skips = vec![(size, channels)];
        for block in &self.down_blocks {
            channels = block.resnets.last().map_or(channels, ResnetBlock::channels);
            needs(size, channels, !block.attentions.is_empty());
            skips.extend(block.resnets.iter().map(|resnet| (size, resnet.channels())));
            if let Some(conv) = &block.downsampler {
                (size, channels) = (size.map(|side| side.div_ceil(2)), conv.channels());
                skips.push((size, channels));
            }
        }
        needs(size, channels, true);
        for block in &self.up_blocks {
            for resnet in &block.resnets {
                let skip = skips.pop().unwrap_or((size, 0));
                size = skip.0;
                // The norm's result is both inputs side by side.
                needs(size, channels + skip.1, false);
                channels = resnet.channels();
                needs(size, channels, !block.attentions.is_empty());
            }
        }
        largest
    }
}
