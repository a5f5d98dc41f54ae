//! Planes at another size, against PyTorch's `interpolate` and ComfyUI's `bislerp` (tests/golden/make_resampled.py).

mod support;

use support::{Fixture, relative_error};
use wordbrush::pipeline::{Filter, resample};

const FILTERS: [Filter; 8] = [
    Filter::Nearest,
    Filter::NearestExact,
    Filter::Linear,
    Filter::Cubic,
    Filter::Area,
    Filter::SmoothLinear,
    Filter::SmoothCubic,
    Filter::Spherical,
];

#[test]
fn planes_at_another_size() {
    let fixture = Fixture::of("resampled.safetensors");
    let shape = fixture.shape("x");
    for to in [[8, 10], [10, 14], [7, 11], [3, 5]] {
        for filter in FILTERS {
            let found = resample(fixture.numbers("x"), [shape[1], shape[2]], to, filter);
            let expected = fixture.numbers(&format!("{filter:?}.{}x{}", to[0], to[1]));
            let error = relative_error(&found, expected);
            println!("{filter:?} {to:?}: {error:.1e}");
            // Only the order of sums, and angles by another library's arc cosine.
            assert!(error < 1e-6, "{filter:?} {to:?}: {error:e}");
        }
    }
}
