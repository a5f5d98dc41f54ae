//! The shapes and patterns of `pictures.py`, by the same formulas: what a picture should look like if a guess about it is
//! right. Distances are negative inside, in pixels, y downwards.

/// The shapes, in the order of `pictures.py`.
pub const SHAPES: [&str; 8] = ["circle", "square", "triangle", "star", "heart", "diamond", "cross", "moon"];
/// The styles, in the order of `pictures.py`.
pub const STYLES: [&str; 4] = ["filled", "outlined", "striped", "dotted"];

/// A shape at a place: centre and radius in pixels, as `Scene.objects` has them.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub x: f32,
    pub y: f32,
    pub r: f32,
}

impl Place {
    /// The signed distance of a pixel to the outline of the shape.
    pub fn distance(self, shape: &str, column: usize, row: usize) -> f32 {
        distance(shape, column as f32 - self.x, row as f32 - self.y, self.r)
    }
}

/// How far a shape of radius 1 reaches from its centre: left, top, right, bottom.
pub fn reach(shape: &str) -> [f32; 4] {
    match shape {
        "circle" => [-0.95, -0.95, 0.95, 0.95],
        "square" => [-0.82, -0.82, 0.82, 0.82],
        "triangle" => [-0.98, -1.0, 0.98, 0.78],
        "star" => [-1.065, -1.12, 1.065, 0.906],
        // The lobes are circles of √2/4 around (±1/4, 3/4) in the heart's own units, which are 1.62 radii upwards from 0.95.
        "heart" => [-0.978, -0.838, 0.978, 0.95],
        "diamond" => [-0.78, -1.15, 0.78, 1.15],
        "cross" => [-1.0, -1.0, 1.0, 1.0],
        // The horns are where the two circles meet.
        _ => [-1.0, -1.0, 0.602, 1.0],
    }
}

fn distance(shape: &str, x: f32, y: f32, r: f32) -> f32 {
    match shape {
        "circle" => x.hypot(y) - 0.95 * r,
        "square" => rectangle(x, y, 0.82 * r, 0.82 * r),
        "triangle" => polygon(x / r, y / r, &[(0.0, -1.0), (0.98, 0.78), (-0.98, 0.78)]) * r,
        "star" => polygon(x / r, y / r, &STAR) * r,
        "heart" => heart(x, y, 1.62 * r, 0.95 * r),
        "diamond" => polygon(x / r, y / r, &[(0.0, -1.15), (0.78, 0.0), (0.0, 1.15), (-0.78, 0.0)]) * r,
        "cross" => {
            let upright = (x.abs() - 0.36 * r).max(y.abs() - r);
            upright.min((x.abs() - r).max(y.abs() - 0.36 * r))
        }
        _ => (x.hypot(y) - r).max(0.8 * r - (x - 0.55 * r).hypot(y)),
    }
}

/// Corners of the star of radius 1: every other one at 1.12 and at 0.46 of that, from the top, 36° apart.
const STAR: [(f32, f32); 10] = [
    (0.0, -1.12),
    (0.30283, -0.41681),
    (1.06518, -0.3461),
    (0.48998, 0.15921),
    (0.65832, 0.9061),
    (0.0, 0.5152),
    (-0.65832, 0.9061),
    (-0.48998, 0.15921),
    (-1.06518, -0.3461),
    (-0.30283, -0.41681),
];

fn rectangle(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    let (dx, dy) = (x.abs() - half_width, y.abs() - half_height);
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0)
}

/// Quílez, "2D distance functions": polygon.
fn polygon(x: f32, y: f32, corners: &[(f32, f32)]) -> f32 {
    let (mut nearest, mut inside) = (f32::INFINITY, false);
    let mut before = corners[corners.len() - 1];
    for &after in corners {
        let ((ax, ay), (bx, by)) = (before, after);
        let (ex, ey, wx, wy) = (bx - ax, by - ay, x - ax, y - ay);
        let t = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0);
        nearest = nearest.min((wx - ex * t).powi(2) + (wy - ey * t).powi(2));
        if (ay > y) != (by > y) && x < ax + wy * ex / ey {
            inside = !inside;
        }
        before = after;
    }
    if inside { -nearest.sqrt() } else { nearest.sqrt() }
}

/// Quílez, "2D distance functions": heart; its tip is `tip` below the centre.
fn heart(x: f32, y: f32, scale: f32, tip: f32) -> f32 {
    let (px, py) = (x.abs() / scale, (tip - y) / scale);
    let distance = if px + py > 1.0 {
        (px - 0.25).hypot(py - 0.75) - std::f32::consts::SQRT_2 / 4.0
    } else {
        let lift = 0.5 * (px + py).max(0.0);
        let nearest = (px * px + (py - 1.0).powi(2)).min((px - lift).powi(2) + (py - lift).powi(2));
        nearest.sqrt() * if px > py { 1.0 } else { -1.0 }
    };
    distance * scale
}

/// How much of a pixel is coloured, 0…1, at the distance `d` from the outline. The patterns lie on the picture's grid of 8.
pub fn ink(style: &str, d: f32, column: usize, row: usize) -> f32 {
    let inside = (0.5 - d).clamp(0.0, 1.0);
    let rim = |half: f32| (0.5 - ((d + half).abs() - half)).clamp(0.0, 1.0);
    let (x, y) = ((column % 8) as f32 - 3.5, (row % 8) as f32 - 3.5);
    match style {
        "filled" => inside,
        "outlined" => rim(2.2),
        "striped" => inside.min((2.5 - y.abs()).clamp(0.0, 1.0)).max(rim(1.2)),
        _ => inside.min((3.2 - x.hypot(y)).clamp(0.0, 1.0)).max(rim(1.2)),
    }
}
