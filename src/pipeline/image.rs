//! A finished picture.

use crate::error::{Code, Error, Result};

/// A picture, 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Red, green, blue, 255 for each pixel, row by row from the top.
    pub rgba: Vec<u8>,
}

impl Image {
    /// The picture as an RGB PNG. The same picture gives the same bytes everywhere.
    ///
    /// # Errors
    /// [`Code::Internal`] if the encoder refuses, which it has no reason to.
    pub fn png(&self) -> Result<Vec<u8>> {
        let rgb: Vec<u8> = self.rgba.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&rgb))
            .map_err(|e| Error::new(Code::Internal, format!("the picture could not be encoded as PNG: {e}")))?;
        Ok(bytes)
    }
}
