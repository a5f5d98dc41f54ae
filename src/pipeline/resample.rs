//! Planes of numbers at another size, by PyTorch's `interpolate` (corners not aligned) and ComfyUI's `bislerp`.

/// How values between values are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The one at or before: `nearest`.
    Nearest,
    /// The nearest to the middle: `nearest-exact`.
    NearestExact,
    /// Between two: `bilinear`.
    Linear,
    /// Between four, with a = −3/4: `bicubic`.
    Cubic,
    /// The mean of all that a value covers: `area`.
    Area,
    /// `bilinear` with `antialias`.
    SmoothLinear,
    /// `bicubic` with `antialias`, where a = −1/2.
    SmoothCubic,
    /// `bislerp`: between two as directions, their lengths linearly. The planes are one vector's parts.
    Spherical,
}

/// Planes (C, h, w) → (C, h', w').
pub fn resample(planes: &[f32], [h, w]: [usize; 2], [to_h, to_w]: [usize; 2], filter: Filter) -> Vec<f32> {
    let channels = planes.len() / (h * w);
    // Along x, and then along y: the other way round the bislerp would be another.
    let wide = along(planes, [channels * h, w, 1], to_w, filter, [h * w, channels]);
    along(&wide, [channels, h, to_w], to_h, filter, [h * to_w, channels])
}

/// (outer, n, inner) → (outer, to, inner). `vector` is the distance between a vector's parts, and how many there are.
fn along(x: &[f32], [outer, n, inner]: [usize; 3], to: usize, filter: Filter, vector: [usize; 2]) -> Vec<f32> {
    let mut y = vec![0.0; outer * to * inner];
    let places = (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i)));
    let taps: Vec<_> = (0..to).map(|at| taps(filter, at, n, to)).collect();
    for (o, i) in places {
        for (at, taps) in taps.iter().enumerate() {
            let read = |from: usize| x[(o * n + from) * inner + i];
            y[(o * to + at) * inner + i] = match (filter, taps.as_slice()) {
                (Filter::Spherical, &[(one, _), (other, ratio)]) => {
                    let index = |from: usize| (o * n + from) * inner + i;
                    spherical(x, [index(one), index(other)], ratio, vector)
                }
                _ => taps.iter().map(|(from, weight)| read(*from) * weight).sum(),
            };
        }
    }
    y
}

/// What a value is made of: places and weights.
fn taps(filter: Filter, at: usize, from: usize, to: usize) -> Vec<(usize, f32)> {
    let scale = from as f64 / to as f64;
    let middle = (at as f64 + 0.5) * scale - 0.5;
    let inside = |place: f64| place.clamp(0.0, (from - 1) as f64) as usize;
    match filter {
        Filter::Nearest => vec![(inside(at as f64 * scale), 1.0)],
        Filter::NearestExact => vec![(inside((middle + 0.5).floor()), 1.0)],
        Filter::Linear | Filter::Spherical => {
            let place = middle.clamp(0.0, (from - 1) as f64);
            let ratio = place.fract() as f32;
            vec![(inside(place), 1.0 - ratio), (inside(place.floor() + 1.0), ratio)]
        }
        Filter::Cubic => {
            let first = middle.floor();
            (-1..3)
                .map(|i| (inside(first + f64::from(i)), cubic(-0.75, middle - first - f64::from(i)) as f32))
                .collect()
        }
        Filter::Area => {
            let (first, end) = (at * from / to, ((at + 1) * from).div_ceil(to));
            (first..end).map(|i| (i, 1.0 / (end - first) as f32)).collect()
        }
        Filter::SmoothLinear => smooth(|x| (1.0 - x.abs()).max(0.0), 1.0, middle, scale, from),
        Filter::SmoothCubic => smooth(|x| cubic(-0.5, x), 2.0, middle, scale, from),
    }
}

/// The weights that a filter, as wide as a step where values become fewer, gives the values that there are.
fn smooth(filter: impl Fn(f64) -> f64, reach: f64, middle: f64, scale: f64, from: usize) -> Vec<(usize, f32)> {
    let wide = scale.max(1.0);
    let center = middle + 0.5;
    let first = (center - reach * wide + 0.5).max(0.0) as usize;
    let end = ((center + reach * wide + 0.5) as usize).min(from);
    let weight = |i: usize| filter((i as f64 - center + 0.5) / wide);
    let sum: f64 = (first..end).map(weight).sum();
    (first..end).map(|i| (i, (weight(i) / sum) as f32)).collect()
}

/// Keys' convolution kernel (1981).
fn cubic(a: f64, x: f64) -> f64 {
    let x = x.abs();
    match x {
        _ if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => ((x - 5.0) * x + 8.0) * a * x - 4.0 * a,
        _ => 0.0,
    }
}

/// One part of the vector between two (Shoemake 1985), as ComfyUI's `bislerp` takes it: nearly the same directions are the
/// first, nearly opposite ones are mixed linearly.
fn spherical(x: &[f32], [one, other]: [usize; 2], ratio: f32, [apart, parts]: [usize; 2]) -> f32 {
    let values = |at: usize| (0..parts).map(move |c| f64::from(x[at % apart + c * apart]));
    let length = |at: usize| values(at).map(|v| v * v).sum::<f64>().sqrt();
    let lengths = [length(one), length(other)];
    let unit = |v: f64, length: f64| if length == 0.0 { 0.0 } else { v / length };
    let ratio = f64::from(ratio);
    let dot: f64 = values(one).zip(values(other)).map(|(a, b)| unit(a, lengths[0]) * unit(b, lengths[1])).sum();
    let (a, b) = (f64::from(x[one]), f64::from(x[other]));
    if dot > 1.0 - 1e-5 {
        return a as f32;
    }
    if dot < 1e-5 - 1.0 {
        return (a * (1.0 - ratio) + b * ratio) as f32;
    }
    let angle = dot.acos();
    let direction = ((1.0 - ratio) * angle).sin() / angle.sin() * unit(a, lengths[0])
        + (ratio * angle).sin() / angle.sin() * unit(b, lengths[1]);
    (direction * (lengths[0] * (1.0 - ratio) + lengths[1] * ratio)) as f32
}
