//! Masks and what lies under them, against Pillow, OpenCV and PyTorch (tests/golden/make_masks.py).

mod support;

use support::Fixture;
use wordbrush::pipeline::{Area, Image, Mask, MaskedContent};
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

    fn image(&self, name: &str, [height, width]: [usize; 2]) -> Image {
        let rgb = self.numbers(name);
        let rgba = rgb.chunks(3).flat_map(|p| [p[0] as u8, p[1] as u8, p[2] as u8, 255]).collect();
        Image { width, height, rgba }
    }

    fn mask(&self, blur: f64, content: MaskedContent) -> Mask {
        Mask { pixels: self.numbers("mask"), blur, content, only_masked: None }
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
            let found = Mask::shrunk(&found, case.size, Tool::A1111).expect("a mask");
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
        let image = case.image("rgb", case.size);
        for blur in [0, 1, 4, 30] {
            let mask = case.mask(f64::from(blur), MaskedContent::Fill);
            let filled = mask.filled(&image, &mask.prepared(case.size, Tool::A1111));
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

/// Results (height, width) and paddings that the golden file has.
const RESULTS: [([usize; 2], usize); 3] = [([64, 64], 0), ([64, 64], 32), ([64, 48], 4)];

#[test]
fn only_what_is_masked_is_cut_out_and_put_back() {
    for case in Case::all() {
        for (to, padding) in RESULTS {
            let name = |what: &str| format!("{what}.{}x{}.{padding}", to[0], to[1]);
            let [height, width] = case.size;
            let mask: Vec<f32> = case.numbers("blurred.4").iter().map(|m| m / 255.0).collect();
            let area = Area::around(&mask, case.size, padding, to).expect("a mask");
            let corners = [area.x, area.y, area.x + area.width, area.y + area.height].map(|at| at as f32);
            assert_eq!(case.numbers(&name("area")), corners, "{:?} to {to:?}, padding {padding}", case.size);
            let picture = case.image("rgb", case.size);
            let cut = area.cut(&picture, to[1], to[0]).expect("a picture");
            // Pillow rounds to bytes between its two passes, along x first: three levels between its result and ours.
            near(&cut.rgba, &case.image(&name("cut"), to).rgba, 3.0);
            let cut = area.cut_mask(&mask, width, to[1], to[0]).expect("a mask");
            let bytes: Vec<u8> = cut.iter().map(|m| (m * 255.0).round() as u8).collect();
            let expected: Vec<u8> = case.numbers(&name("mask")).iter().map(|m| *m as u8).collect();
            near(&bytes, &expected, 3.0);
            let back = area.put_back(&case.image(&name("made"), to), &picture, &mask).expect("a picture");
            assert_eq!((back.width, back.height), (width, height));
            near(&back.rgba, &case.image(&name("back"), case.size).rgba, 3.0);
        }
    }
}

fn near(found: &[u8], expected: &[u8], most: f32) {
    assert_eq!(found.len(), expected.len());
    let errors = || found.iter().zip(expected).map(|(a, b)| f32::from(a.abs_diff(*b)));
    let (mean, furthest) = (errors().sum::<f32>() / found.len() as f32, errors().fold(0.0, f32::max));
    assert!(furthest <= most && mean < 0.25, "{mean} levels, at most {furthest}");
}

#[test]
fn masks_that_cannot_be_used_are_refused() {
    assert!(MaskedContent::from_name("nothing").unwrap_err().message.contains("latent nothing"));
    for content in MaskedContent::ALL {
        assert_eq!(MaskedContent::from_name(content.name()).expect("known"), content);
    }
}
