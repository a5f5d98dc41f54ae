//! Labelled pictures (`make_held_out.py`) and how often the reader is right about them.

use std::path::Path;

use serde::Deserialize;

use super::attributes::{Reading, apart};

/// What is in a picture, as `label` of `make_held_out.py` says.
#[derive(Debug, Clone, Deserialize)]
pub struct Label {
    pub shape: String,
    /// Empty for hues between the names.
    pub colour: String,
    pub hue: f32,
    pub style: String,
    pub background: String,
    pub count: usize,
    pub size: String,
    pub position: String,
    pub failure: String,
    /// No shape is touched by a cut.
    pub whole: bool,
}

/// A picture of three bytes a pixel.
#[derive(Debug, Clone)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

/// A hue between the names is right within so many degrees.
const HUE_ERROR: f32 = 10.0;
/// Pictures in a row of a sheet, and pixels a side of each.
const ACROSS: usize = 16;
const SIDE: usize = 128;

impl Picture {
    /// Reads an RGB or RGBA PNG of 8 bits.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn read_png(bytes: &[u8]) -> Result<Self, String> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(|e| format!("no PNG: {e}"))?;
        let mut pixels = vec![0; reader.output_buffer_size().ok_or("the PNG is too large")?];
        let info = reader.next_frame(&mut pixels).map_err(|e| format!("the PNG is broken: {e}"))?;
        let (width, height) = (info.width as usize, info.height as usize);
        let rgb = match info.color_type {
            png::ColorType::Rgb => pixels,
            png::ColorType::Rgba => pixels.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
            other => return Err(format!("a PNG of {other:?}; it must be RGB")),
        };
        Ok(Self { width, height, rgb })
    }

    fn part(&self, left: usize, top: usize) -> Self {
        let row = |y: usize| &self.rgb[3 * ((top + y) * self.width + left)..][..3 * SIDE];
        Self { width: SIDE, height: SIDE, rgb: (0..SIDE).flat_map(row).copied().collect() }
    }
}

/// Reads NAME.png and NAME.json.
///
/// # Errors
/// A sentence about what is wrong with them.
pub fn read_sheet(name: &Path) -> Result<Vec<(Picture, Label)>, String> {
    let bytes = |ending: &str| {
        let path = name.with_extension(ending);
        std::fs::read(&path).map_err(|e| format!("{} cannot be read: {e}", path.display()))
    };
    let labels: Vec<Label> = serde_json::from_slice(&bytes("json")?).map_err(|e| format!("the labels: {e}"))?;
    let sheet = Picture::read_png(&bytes("png")?)?;
    if sheet.width != ACROSS * SIDE || sheet.height < labels.len().div_ceil(ACROSS) * SIDE {
        return Err(format!("a sheet of {}×{} for {} pictures", sheet.width, sheet.height, labels.len()));
    }
    let part = |i: usize| sheet.part(i % ACROSS * SIDE, i / ACROSS * SIDE);
    Ok(labels.into_iter().enumerate().map(|(i, label)| (part(i), label)).collect())
}

/// What can be right or wrong about a picture.
pub const ATTRIBUTES: [&str; 8] = ["shape", "colour", "style", "background", "count", "size", "position", "failure"];

/// For each of [`ATTRIBUTES`] whether the reading is right; none where the picture does not show it.
pub fn compare(reading: &Reading, label: &Label) -> [Option<bool>; 8] {
    let colour = match label.colour.as_str() {
        "" => apart(reading.hue, label.hue) <= HUE_ERROR,
        name => reading.colour == name,
    };
    let seen = |right: bool| label.whole.then_some(right);
    let single = |right: bool| (label.whole && label.count == 1).then_some(right);
    [
        seen(reading.shape == label.shape),
        seen(colour),
        seen(reading.style == label.style),
        Some(reading.background == label.background),
        seen(reading.count == label.count),
        single(reading.size == label.size),
        single(reading.position == label.position),
        Some(reading.failure == label.failure),
    ]
}
