//! Masks and maps of numbers over a picture, row by row: what image statistics are made of.

/// A number for each pixel.
#[derive(Debug, Clone)]
pub struct Map {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

/// Yes or no for each pixel.
#[derive(Debug, Clone)]
pub struct Mask {
    pub width: usize,
    pub height: usize,
    pub set: Vec<bool>,
}

/// Pixels that hang together.
#[derive(Debug, Clone)]
pub struct Component {
    pub area: usize,
    pub left: usize,
    pub top: usize,
    pub right: usize,
    pub bottom: usize,
    /// What `labels` holds at its pixels.
    pub label: usize,
}

impl Map {
    /// The map after a 3×3 binomial filter; pixels beyond the edge are as their nearest.
    pub fn smoothed(&self) -> Self {
        let (w, h) = (self.width, self.height);
        let at = |x: usize, y: usize| self.values[y * w + x];
        let rows = (0..w * h).map(|i| {
            let (x, y) = (i % w, i / w);
            0.25 * at(x.saturating_sub(1), y) + 0.5 * at(x, y) + 0.25 * at((x + 1).min(w - 1), y)
        });
        let rows = Self { width: w, height: h, values: rows.collect() };
        let values = (0..w * h).map(|i| {
            let (x, y) = (i % w, i / w);
            0.25 * rows.values[y.saturating_sub(1) * w + x]
                + 0.5 * rows.values[i]
                + 0.25 * rows.values[(y + 1).min(h - 1) * w + x]
        });
        Self { width: w, height: h, values: values.collect() }
    }

    /// Where the map is above a threshold.
    pub fn above(&self, threshold: f32) -> Mask {
        let set = self.values.iter().map(|&value| value > threshold).collect();
        Mask { width: self.width, height: self.height, set }
    }
}

impl Mask {
    fn around(&self, x: usize, y: usize) -> impl Iterator<Item = usize> + '_ {
        let (columns, rows) =
            (x.saturating_sub(1)..(x + 2).min(self.width), y.saturating_sub(1)..(y + 2).min(self.height));
        rows.flat_map(move |row| columns.clone().map(move |column| row * self.width + column))
    }

    /// Grown by a pixel and shrunk again: gaps of up to two pixels close.
    pub fn closed(&self) -> Self {
        let each = |mask: &Self, of: &dyn Fn(&Self, usize, usize) -> bool| {
            let set = (0..mask.set.len()).map(|i| of(mask, i % mask.width, i / mask.width)).collect();
            Self { set, ..*mask }
        };
        let grown = each(self, &|mask, x, y| mask.around(x, y).any(|i| mask.set[i]));
        each(&grown, &|mask, x, y| mask.around(x, y).all(|i| mask.set[i]))
    }

    /// All that cannot be reached from the left, top and right edges (and the bottom, if it is open) without crossing the
    /// mask: outlines become silhouettes.
    pub fn filled(&self, bottom_is_open: bool) -> Self {
        let (w, h) = (self.width, self.height);
        let mut outside = vec![false; w * h];
        let edge = (0..w).chain((0..h).flat_map(|y| [y * w, y * w + w - 1]));
        let bottom = if bottom_is_open { (h - 1) * w..h * w } else { 0..0 };
        let mut waiting: Vec<usize> = edge.chain(bottom).collect();
        while let Some(i) = waiting.pop() {
            if self.set[i] || std::mem::replace(&mut outside[i], true) {
                continue;
            }
            let (x, y) = (i % w, i / w);
            waiting.extend((x > 0).then(|| i - 1).into_iter().chain((x + 1 < w).then_some(i + 1)));
            waiting.extend((y > 0).then(|| i - w).into_iter().chain((y + 1 < h).then_some(i + w)));
        }
        Self { width: w, height: h, set: outside.iter().map(|out| !out).collect() }
    }

    /// The connected parts (neighbours touch at least at a corner) and for each pixel the label of its part, 0 for none.
    pub fn components(&self) -> (Vec<Component>, Vec<usize>) {
        let mut labels = vec![0; self.set.len()];
        let mut found = Vec::new();
        for start in 0..self.set.len() {
            if !self.set[start] || labels[start] != 0 {
                continue;
            }
            let label = found.len() + 1;
            let mut part = Component { area: 0, left: self.width, top: self.height, right: 0, bottom: 0, label };
            let mut waiting = vec![start];
            labels[start] = label;
            while let Some(i) = waiting.pop() {
                let (x, y) = (i % self.width, i / self.width);
                part.area += 1;
                (part.left, part.right) = (part.left.min(x), part.right.max(x));
                (part.top, part.bottom) = (part.top.min(y), part.bottom.max(y));
                for neighbour in self.around(x, y) {
                    if self.set[neighbour] && labels[neighbour] == 0 {
                        labels[neighbour] = label;
                        waiting.push(neighbour);
                    }
                }
            }
            found.push(part);
        }
        (found, labels)
    }
}
