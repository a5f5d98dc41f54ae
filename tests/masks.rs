//! Masks and what lies under them, against Pillow, OpenCV and PyTorch (tests/golden/make_masks.py).

mod support;

use support::Fixture;
use wordbrush::pipeline::{Image, Mask, MaskedContent};
use wordbrush::samplers::Tool;

const SIZES: [[usize; 2]; 3] = [[64, 64], [96, 64], [40, 72]];

struct Case {
    fixture: Fixture,
    size: [usize; 2],
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        SIZES.into_iter().map(|size| Self { fixture: Fixture::of("masks.safetensors"), size })
    }

    fn numbers(&self, name: &str) -> Vec<f32> {
        self.fixture.numbers(&format!("{name}.{}x{}", self.size[0], self.size[1])).to_vec()
    }

    fn mask(&self, blur: f64, content: MaskedContent) -> Mask {
        Mask { pixels: self.numbers("mask"), blur, content }
    }
}

#[test]
fn a1111_blurs_a_black_and_white_mask() {
    for case in Case::all() {
        for blur in [0, 1, 4, 30] {
            let mask = case.mask(f64::from(blur), MaskedContent::Original);
            let expected = case.numbers(&format!("blurred.{blur}"));
            let found = mask.prepared(case.size, Tool::A1111);
            let furthest = found.iter().zip(&expected).map(|(a, b)| (a * 255.0 - b).abs()).fold(0.0, f32::max);
            // OpenCV's weights are eighths of bytes: its sums come out a level aside here and there.
            assert!(furthest < 1.5, "{:?} blur {blur}: {furthest} levels", case.size);
            let found = mask.shrunk(case.size, Tool::A1111).expect("a mask");
            assert_eq!(found, case.numbers(&format!("shrunk.{blur}")), "{:?} blur {blur}", case.size);
        }
    }
}

#[test]
fn comfyui_lets_a_mask_reach_further_for_gray() {
    for case in Case::all() {
        let mask = case.mask(0.0, MaskedContent::Gray);
        assert_eq!(mask.prepared(case.size, Tool::ComfyUi), case.numbers("grown"), "{:?}", case.size);
        assert_eq!(case.mask(0.0, MaskedContent::Original).prepared(case.size, Tool::ComfyUi), case.numbers("mask"));
    }
}

#[test]
fn fill_smears_the_colours_around() {
    for case in Case::all() {
        let [height, width] = case.size;
        let rgb = case.numbers("rgb");
        let rgba = rgb.chunks(3).flat_map(|p| [p[0] as u8, p[1] as u8, p[2] as u8, 255]).collect();
        let image = Image { width, height, rgba };
        for blur in [0, 1, 4, 30] {
            let filled = case.mask(f64::from(blur), MaskedContent::Fill).filled(&image, Tool::A1111);
            let expected = case.numbers(&format!("filled.{blur}"));
            let level = |i: usize| (filled[i % 3 * width * height + i / 3] + 1.0) * 127.5;
            let errors: Vec<f32> = expected.iter().enumerate().map(|(i, b)| (level(i) - b).abs()).collect();
            let (mean, furthest) =
                (errors.iter().sum::<f32>() / errors.len() as f32, errors.iter().copied().fold(0.0, f32::max));
            println!("{:?} blur {blur}: {mean:.2} levels, at most {furthest}", case.size);
            // Where little is kept, a level of it is many levels of the colour.
            assert!(mean < 0.25 && furthest <= 8.0, "{:?} blur {blur}: {mean} levels, at most {furthest}", case.size);
        }
    }
}

#[test]
fn masks_that_cannot_be_used_are_refused() {
    assert!(MaskedContent::from_name("nothing").unwrap_err().message.contains("latent nothing"));
    for content in MaskedContent::ALL {
        assert_eq!(MaskedContent::from_name(content.name()).expect("known"), content);
    }
}
