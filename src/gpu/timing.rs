//! How long a plan takes on the device.

use web_time::Instant;

use crate::error::Result;

use super::profile::stamps_around;
use super::{Gpu, Plan};

/// A measurement lasts at least this long, if the repetitions allow: browsers round timestamps to a tenth of a millisecond.
const SECONDS: f64 = 0.004;
/// The same by the clock, which also runs while an answer is on its way.
const SECONDS_BY_CLOCK: f64 = 0.02;
const MOST_REPEATS: usize = 256;
/// What takes so long is measured once.
const LONG: f64 = 0.1;

impl Gpu {
    /// Keeps the device busy with a plan for so many seconds. One that has waited, as for its shaders, runs at a fraction of its clock: an
    /// H100 at 345 of 1980 MHz, and what is measured then says little of what is fast when it is busy.
    ///
    /// # Errors
    /// Out of memory, a lost device, or a refused command.
    pub async fn warm(&self, plan: &Plan, seconds: f64) -> Result<()> {
        let begun = Instant::now();
        let mut repeats = 1;
        while begun.elapsed().as_secs_f64() < seconds {
            self.measure(plan, repeats).await?;
            repeats = (2 * repeats).min(MOST_REPEATS);
        }
        Ok(())
    }

    /// Seconds that a plan takes on the device: the median of three measurements, each of enough repetitions to be seen. By
    /// timestamps where the device has them; else by the clock, less what the device takes to answer when there is nothing to
    /// do. A plan that takes more than `most` is measured once.
    ///
    /// # Errors
    /// Out of memory, a lost device, or a refused command.
    pub async fn seconds(&self, plan: &Plan, most: f64) -> Result<f64> {
        // The first time a driver may still be compiling.
        self.measure(plan, 1).await?;
        let (enough, answer) =
            if self.has_timestamps() { (SECONDS, 0.0) } else { (SECONDS_BY_CLOCK, self.measure(plan, 0).await?) };
        let mut repeats = 1;
        let mut time = self.measure(plan, repeats).await? - answer;
        while time < enough / 2.0 && repeats < MOST_REPEATS && time <= most * repeats as f64 {
            // A time that was rounded to nothing says little.
            let factor = enough / time.max(enough / 16.0);
            repeats = ((repeats as f64 * factor).ceil() as usize).min(MOST_REPEATS);
            time = self.measure(plan, repeats).await? - answer;
        }
        if time > LONG || time > most * repeats as f64 {
            return Ok(time / repeats as f64);
        }
        let (second, third) = (self.measure(plan, repeats).await?, self.measure(plan, repeats).await?);
        let [a, b, c] = [time, second - answer, third - answer];
        let median = a.min(b).max(a.max(b).min(c));
        Ok(median / repeats as f64)
    }

    async fn measure(&self, plan: &Plan, repeats: usize) -> Result<f64> {
        let device = &self.inner.device;
        let stamps = self.has_timestamps().then(|| self.query_set(2));
        let launches = plan.launches(self.inner.pace.get());
        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let timestamp_writes = stamps.as_ref().map(|set| stamps_around(set, 0));
            let mut pass =
                encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("timing"), timestamp_writes });
            (0..repeats).for_each(|_| plan.encode(&mut pass, &launches));
        }
        let stamps = stamps.map(|set| self.resolve(&mut encoder, &set, 2));
        let begun = Instant::now();
        self.inner.queue.submit([encoder.finish()]);
        self.finish().await?;
        let Some(stamps) = stamps else { return Ok(begun.elapsed().as_secs_f64()) };
        Ok(self.seconds_between(&stamps, 1).await?.iter().sum())
    }
}
