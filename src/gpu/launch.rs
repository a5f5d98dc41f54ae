//! Large dispatches in parts, so that none keeps the device from answering for long.

use std::ops::Range;

use super::pace::Pace;
use super::plan::Command;

/// How a dispatch can be cut: along the axis to whose workgroup index its kernel adds `origin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub axis: usize,
    /// Workgroups along the axis that a part has; the last may have fewer.
    pub each: u32,
    /// Parts at most.
    pub parts: u32,
    /// Multiplications and additions of a part.
    pub flops: u64,
    /// Which of the plan's origins is that of the first part.
    pub first: u32,
}

impl Cut {
    /// The smallest parts that a dispatch of so many multiplications and additions is ever cut into; `None` where it can or
    /// need not be cut.
    pub fn new(source: &str, workgroups: [u32; 3], flops: u64, least: u64) -> Option<Self> {
        let axis = ["origin.x", "origin.y"].iter().position(|used| source.contains(used))?;
        let all = u64::from(workgroups[axis]);
        let each = (all * least / flops.max(1)).clamp(1, all);
        let (parts, flops) = (all.div_ceil(each) as u32, (flops * each).div_ceil(all));
        (parts > 1).then_some(Self { axis, each: each as u32, parts, flops, first: 0 })
    }

    /// `origin` of each part.
    pub fn origins(self) -> impl Iterator<Item = [u32; 4]> {
        (0..self.parts).map(move |part| {
            let mut origin = [0; 4];
            origin[self.axis] = part * self.each;
            origin
        })
    }
}

/// A dispatch, or parts of it that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Launch {
    pub command: usize,
    pub workgroups: [u32; 3],
    /// Which of the plan's origins it has, if it has any.
    pub origin: Option<u32>,
    pub flops: u64,
}

/// What is launched of some commands at the pace of a device: no more parts than it needs.
pub(super) fn launches<'a>(commands: impl IntoIterator<Item = &'a Command>, pace: Pace) -> Vec<Launch> {
    let mut launches = Vec::new();
    for (command, Command { dispatch, workgroups, cut, .. }) in commands.into_iter().enumerate() {
        let (flops, workgroups) = (dispatch.flops, *workgroups);
        let Some(cut) = cut else {
            launches.push(Launch { command, workgroups, origin: None, flops });
            continue;
        };
        for Range { start, end } in parts_of(cut.parts, cut.flops, pace) {
            let first = start * cut.each;
            let mut of_part = workgroups;
            of_part[cut.axis] = (end * cut.each).min(workgroups[cut.axis]) - first;
            let flops = flops * u64::from(of_part[cut.axis]) / u64::from(workgroups[cut.axis]);
            launches.push(Launch { command, workgroups: of_part, origin: Some(cut.first + start), flops });
        }
    }
    launches
}

/// Which of the smallest parts, of so many multiplications and additions each, go together.
pub(super) fn parts_of(parts: u32, flops: u64, pace: Pace) -> impl Iterator<Item = Range<u32>> {
    let together = (pace.dispatch() / flops.max(1)).clamp(1, u64::from(parts)) as u32;
    (0..parts).step_by(together as usize).map(move |start| start..(start + together).min(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GFLOP: u64 = 1_000_000_000;

    #[test]
    fn parts_cover_the_whole_once() {
        for (groups, gflop) in [(128, 60), (2, 309), (7, 309), (65_535, 309), (1, 309), (10, 3)] {
            let cut = Cut::new("origin.y", [5, groups, 1], gflop * GFLOP, 50 * GFLOP);
            let Some(cut) = cut else {
                assert!(groups == 1 || gflop < 50, "{groups} workgroups of {gflop} GFLOP are not cut");
                continue;
            };
            let origins: Vec<u32> = cut.origins().map(|origin| origin[1]).collect();
            assert_eq!(origins[0], 0);
            for tera in [0, 1, 2, 6, 100] {
                let mut pace = Pace::unknown(false);
                pace.learn(tera * 1000 * GFLOP, 1.0);
                let mut next = 0;
                for part in parts_of(cut.parts, cut.flops, pace) {
                    assert_eq!(origins[part.start as usize], next);
                    assert!(groups < 8 || u64::from(part.end - part.start) * cut.flops <= pace.dispatch());
                    next = (part.end * cut.each).min(groups);
                }
                assert_eq!(next, groups);
            }
        }
    }

    #[test]
    fn only_what_knows_its_origin_is_cut() {
        assert_eq!(Cut::new("let a = 1u;", [64, 64, 1], 900 * GFLOP, 50 * GFLOP), None);
    }
}
