//! How much work goes to the device at once: little while nothing is known of it, more once it was seen to be fast.

use std::ops::Range;

/// Work of a submit on a device of unknown speed. Drivers reset a GPU that is silent for two seconds, and the page's compositor
/// waits meanwhile: 200 GFLOP are a fifth of a second on the slowest GPU we expect, 4 GFLOP about that on a CPU adapter.
const FLOPS: u64 = 200_000_000_000;
const FLOPS_SOFTWARE: u64 = 4_000_000_000;

/// What a submit may take on a device of known speed: an eighth of the two seconds.
const SECONDS: f64 = 0.25;

/// What a single dispatch may take: a page's compositor waits for it, whatever the submits are.
const DISPATCH_SECONDS: f64 = 0.05;
/// Work of a dispatch on a device of unknown speed: that of 1 TFLOP/s.
const DISPATCH: u64 = 50_000_000_000;

/// Times are taken to be no shorter: browsers round their clock, one of them to this.
const CLOCK_SECONDS: f64 = 0.1;

/// The speed of a device as far as it is known, and what follows for a submit.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    software: bool,
    /// Multiplications and additions of a dispatch while nothing is known.
    least: u64,
    /// The best that was seen; 0 if nothing was.
    flops_per_second: f64,
}

impl Pace {
    /// Nothing is known but whether the adapter is a program on the CPU.
    pub fn unknown(software: bool) -> Self {
        Self { software, least: if software { FLOPS_SOFTWARE } else { DISPATCH }, flops_per_second: 0.0 }
    }

    /// The same, with less work in a dispatch.
    pub fn cut_to(self, least: u64) -> Self {
        Self { least, ..self }
    }

    /// So much work took so long. Work that waited for shaders, or was hardly any, seems slower than the device is: the best counts.
    pub fn learn(&mut self, flops: u64, seconds: f64) {
        self.flops_per_second = self.flops_per_second.max(flops as f64 / seconds.max(CLOCK_SECONDS));
    }

    /// Multiplications and additions of a submit.
    pub fn most(&self) -> u64 {
        let cautious = if self.software { FLOPS_SOFTWARE } else { FLOPS };
        cautious.max((self.flops_per_second * SECONDS) as u64)
    }

    /// Multiplications and additions of a dispatch. On a CPU adapter those of a submit: smaller ones help nobody there.
    pub fn dispatch(&self) -> u64 {
        self.least().max((self.flops_per_second * DISPATCH_SECONDS) as u64)
    }

    /// The same of the slowest device.
    pub fn least(&self) -> u64 {
        self.least
    }

    /// Which dispatches, of so many multiplications and additions each, go to the device together.
    pub fn submits(&self, dispatches: impl IntoIterator<Item = u64>) -> Vec<Range<usize>> {
        let most = self.most();
        let mut submits = Vec::new();
        let (mut start, mut end, mut sum) = (0, 0, 0);
        for flops in dispatches {
            if sum > 0 && sum + flops > most {
                submits.push(start..end);
                (start, sum) = (end, 0);
            }
            sum += flops;
            end += 1;
        }
        submits.push(start..end);
        submits
    }
}
