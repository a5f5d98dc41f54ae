//! Silhouettes in a map of ink, the shapes that fit them, and the style of their ink.

use super::raster::{Component, Map};
use super::shapes::{Place, SHAPES, STYLES, ink, reach};

/// A pixel is of a shape if so much of it is ink.
const INKED: f32 = 0.45;
/// Components with less of the largest one's pixels, or less than these, are specks.
const SPECK: f32 = 0.25;
const SPECK_PIXELS: usize = 60;
/// Shapes that fit so much worse than the best at first sight are not tried any further.
const HOPELESS: f32 = 0.2;

/// A silhouette and the best place of each shape on it.
pub struct Fit {
    /// In the order of [`SHAPES`]: the place, and the intersection over union there.
    places: [(Place, f32); 8],
    part: Component,
}

impl Fit {
    /// Where the silhouette is, if it is this shape.
    pub fn place(&self, shape: &str) -> Place {
        let index = SHAPES.iter().position(|name| *name == shape).unwrap_or(0);
        self.places[index].0
    }
}

/// Finds the shapes in a map of ink. `cut`: the map ends where the picture was cut off, perhaps through a shape.
pub fn find(amount: &Map, cut: bool) -> Vec<Fit> {
    let silhouettes = amount.smoothed().above(INKED).closed().filled(!cut);
    let (mut parts, labels) = silhouettes.components();
    let largest = parts.iter().map(|part| part.area).max().unwrap_or(0);
    parts.retain(|part| part.area >= SPECK_PIXELS.max((SPECK * largest as f32) as usize));
    let fit = |part: Component| {
        let view = View { part: &part, labels: &labels, width: amount.width, height: amount.height };
        let open = cut && part.bottom + 1 == amount.height;
        let guesses = SHAPES.map(|shape| if open { view.guess_open(shape) } else { view.guess(shape) });
        let best = guesses.iter().map(|(_, fit)| *fit).fold(0.0, f32::max);
        let places = std::array::from_fn(|i| {
            let guess = guesses[i];
            if guess.1 < best - HOPELESS { guess } else { view.refine(SHAPES[i], guess) }
        });
        Fit { places, part }
    };
    parts.into_iter().map(fit).collect()
}

/// The shape that fits all silhouettes best, and how well on average.
pub fn best_shape(fits: &[Fit]) -> (&'static str, f32) {
    let mean = |i: usize| fits.iter().map(|fit| fit.places[i].1).sum::<f32>() / fits.len().max(1) as f32;
    let best = (0..SHAPES.len()).map(|i| (SHAPES[i], mean(i))).max_by(|a, b| a.1.total_cmp(&b.1));
    best.unwrap_or(("", 0.0))
}

/// The style whose drawing differs least from the ink in the silhouettes.
pub fn style(amount: &Map, fits: &[Fit], shape: &str) -> &'static str {
    let mut errors = [0.0; STYLES.len()];
    for fit in fits {
        let place = fit.place(shape);
        for row in fit.part.top..=fit.part.bottom {
            for column in fit.part.left..=fit.part.right {
                let d = place.distance(shape, column, row);
                // Rims are of no use: they are alike, and where shapes are a little off they are all that is seen.
                if d > -3.5 {
                    continue;
                }
                let seen = amount.values[row * amount.width + column].clamp(0.0, 1.2);
                for (error, style) in errors.iter_mut().zip(STYLES) {
                    *error += (seen - ink(style, d, column, row)).powi(2);
                }
            }
        }
    }
    let least = (0..STYLES.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b]));
    STYLES[least.unwrap_or(0)]
}

/// One silhouette among others.
struct View<'a> {
    part: &'a Component,
    labels: &'a [usize],
    width: usize,
    height: usize,
}

impl View<'_> {
    /// Intersection over union of the silhouette and a shape, in the rows that can be seen.
    fn overlap(&self, shape: &str, place: Place) -> f32 {
        let [left, top, right, bottom] = reach(shape);
        let low = |at: f32, part: usize| (at.floor().max(0.0) as usize).min(part);
        let high = |at: f32, part: usize, end: usize| (at.ceil().max(0.0) as usize).max(part).min(end - 1);
        let columns = low(place.x + left * place.r, self.part.left)
            ..=high(place.x + right * place.r, self.part.right, self.width);
        let rows = low(place.y + top * place.r, self.part.top)
            ..=high(place.y + bottom * place.r, self.part.bottom, self.height);
        let (mut both, mut either) = (0usize, 0usize);
        for row in rows {
            for column in columns.clone() {
                let inside = place.distance(shape, column, row) < 0.0;
                let seen = self.labels[row * self.width + column] == self.part.label;
                both += usize::from(inside && seen);
                either += usize::from(inside || seen);
            }
        }
        both as f32 / either.max(1) as f32
    }

    /// The shape in the silhouette's box.
    fn guess(&self, shape: &str) -> (Place, f32) {
        let [left, top, right, bottom] = reach(shape);
        let (wide, high) = (self.part.right - self.part.left + 1, self.part.bottom - self.part.top + 1);
        let r = ((wide * high) as f32 / ((right - left) * (bottom - top))).sqrt();
        let x = (self.part.left + self.part.right) as f32 / 2.0 - r * (left + right) / 2.0;
        let y = (self.part.top + self.part.bottom) as f32 / 2.0 - r * (top + bottom) / 2.0;
        let place = Place { x, y, r };
        (place, self.overlap(shape, place))
    }

    /// The shape under the silhouette's top, in the best of several sizes: its lower part is cut off.
    fn guess_open(&self, shape: &str) -> (Place, f32) {
        let [left, top, right, _] = reach(shape);
        let middle = (self.part.left + self.part.right) as f32 / 2.0;
        let sizes = [17.0, 20.0, 24.0, 28.0, 33.0, 38.0, 42.0];
        let places =
            sizes.map(|r| Place { x: middle - r * (left + right) / 2.0, y: self.part.top as f32 - r * top, r });
        let guesses = places.map(|place| (place, self.overlap(shape, place)));
        guesses.into_iter().fold(guesses[0], |best, next| if next.1 > best.1 { next } else { best })
    }

    /// Moves and scales the shape by smaller and smaller steps as long as it fits better.
    fn refine(&self, shape: &str, guess: (Place, f32)) -> (Place, f32) {
        let mut best = guess;
        for step in [2.0, 1.0, 0.5] {
            loop {
                let before = best.1;
                for (dx, dy, dr) in [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)] {
                    let [dx, dy, dr] = [dx, dy, dr].map(|d: i32| d as f32 * step);
                    let place = Place { x: best.0.x + dx, y: best.0.y + dy, r: (best.0.r + dr).max(4.0) };
                    let fit = self.overlap(shape, place);
                    if fit > best.1 {
                        best = (place, fit);
                    }
                }
                if best.1 <= before {
                    break;
                }
            }
        }
        best
    }
}
