//! Places for the tensors of a plan, from their lifetimes.
//!
//! Numbers whose lifetimes do not overlap share memory. WebGPU refuses a dispatch that reads and writes one buffer,
//! even at disjoint ranges, so the arena is several slabs and a result never lies in the slab of one of its inputs.

/// A tensor of a plan: its size and the dispatches between which it is alive.
#[derive(Debug, Clone)]
pub struct Life {
    /// Bytes.
    pub bytes: u64,
    /// The dispatch that writes it first.
    pub first: usize,
    /// The last dispatch that touches it.
    pub last: usize,
    /// Tensors (indices into the same list) that the writing dispatches read.
    pub inputs: Vec<usize>,
}

/// Where a tensor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Which slab.
    pub slab: usize,
    /// Byte offset in it.
    pub offset: u64,
}

/// Storage bindings start at multiples of this.
pub const ALIGNMENT: u64 = 256;

/// A place for each life and the sizes of the slabs. `largest` is the most bytes a slab may have; `slabs` are there
/// already and may be used.
///
/// No order is the best for every plan: as they come; the large ones first, between which the small ones then find their
/// places; or first those that are large for long. All are tried.
pub fn lay_out(lives: &[Life], largest: u64, slabs: &[u64]) -> (Vec<Spot>, Vec<u64>) {
    let in_time = |life: &Life| life.first as u64;
    let by_size = |life: &Life| u64::MAX - life.bytes;
    let by_size_and_time = |life: &Life| u64::MAX - life.bytes * (life.last - life.first + 1) as u64;
    let orders: [&dyn Fn(&Life) -> u64; 3] = [&in_time, &by_size, &by_size_and_time];
    let found = orders.map(|key| {
        let mut order: Vec<usize> = (0..lives.len()).collect();
        order.sort_by_key(|&i| key(&lives[i]));
        place(lives, &order, largest, slabs)
    });
    found.into_iter().min_by_key(|(_, slabs)| slabs.iter().sum::<u64>()).unwrap_or_default()
}

/// A place for each life, given out in this order.
fn place(lives: &[Life], order: &[usize], largest: u64, slabs: &[u64]) -> (Vec<Spot>, Vec<u64>) {
    let mut spots: Vec<Option<Spot>> = vec![None; lives.len()];
    let mut slabs = slabs.to_vec();
    // Inputs may be placed after what is made of them: they must keep out of its slab as well.
    let mut results: Vec<Vec<usize>> = vec![Vec::new(); lives.len()];
    for (i, life) in lives.iter().enumerate() {
        life.inputs.iter().for_each(|&input| results[input].push(i));
    }

    for &i in order {
        let life = &lives[i];
        let bytes = life.bytes.next_multiple_of(ALIGNMENT);
        let taken = |slab: usize| {
            let mut apart = life.inputs.iter().chain(&results[i]);
            apart.any(|&other| spots[other].is_some_and(|spot| spot.slab == slab))
        };
        // The slab that grows least; the first of equals, which keeps the number of slabs small.
        let best = (0..slabs.len())
            .filter(|&slab| !taken(slab))
            .map(|slab| {
                let offset = first_gap(lives, &spots, i, slab, bytes);
                ((offset + bytes).saturating_sub(slabs[slab]), slab, offset)
            })
            .filter(|&(growth, slab, _)| growth == 0 || slabs[slab] + growth <= largest)
            .min();
        let (slab, offset) = best.map_or((slabs.len(), 0), |(_, slab, offset)| (slab, offset));
        if slab == slabs.len() {
            slabs.push(0);
        }
        slabs[slab] = slabs[slab].max(offset + bytes);
        spots[i] = Some(Spot { slab, offset });
    }
    (spots.into_iter().flatten().collect(), slabs)
}

/// The lowest offset of `slab` that is free for the whole life of `i`.
fn first_gap(lives: &[Life], spots: &[Option<Spot>], i: usize, slab: usize, bytes: u64) -> u64 {
    let mut neighbours: Vec<(u64, u64)> = spots
        .iter()
        .enumerate()
        .filter_map(|(j, spot)| spot.filter(|spot| spot.slab == slab).map(|spot| (j, spot.offset)))
        .filter(|&(j, _)| lives[j].last >= lives[i].first && lives[j].first <= lives[i].last)
        .map(|(j, offset)| (offset, offset + lives[j].bytes.next_multiple_of(ALIGNMENT)))
        .collect();
    neighbours.sort_unstable();
    let mut offset = 0;
    for (start, end) in neighbours {
        if offset + bytes <= start {
            break;
        }
        offset = offset.max(end);
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_that_overlap_share_nothing_and_no_dispatch_reads_its_own_slab() {
        // A chain with a skip: 0 → 1 → 2, and 3 reads 0 and 2; odd sizes.
        let life = |bytes, first, last, inputs: &[usize]| Life { bytes, first, last, inputs: inputs.to_vec() };
        let lives = [
            life(1000, 0, 3, &[]),
            life(5000, 1, 2, &[0]),
            life(256, 2, 3, &[1]),
            life(4, 3, 4, &[0, 2]),
            life(9000, 4, 4, &[3]),
        ];
        let (spots, slabs) = lay_out(&lives, 1 << 20, &[]);
        for (i, a) in lives.iter().enumerate() {
            assert!(spots[i].offset + a.bytes <= slabs[spots[i].slab]);
            assert!(a.inputs.iter().all(|&input| spots[input].slab != spots[i].slab));
            for (j, b) in lives.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last && spots[i].slab == spots[j].slab;
                let apart =
                    spots[i].offset + a.bytes <= spots[j].offset || spots[j].offset + b.bytes <= spots[i].offset;
                assert!(!together || apart, "{i} and {j} overlap");
            }
        }
    }

    #[test]
    fn what_is_written_in_parts_shares_no_slab_with_what_comes_in_later() {
        // 0 is written from 1 and once more from 2, which begins after it.
        let life = |first, last, inputs: &[usize]| Life { bytes: 256, first, last, inputs: inputs.to_vec() };
        let (spots, _) = lay_out(&[life(1, 5, &[1, 2]), life(0, 1, &[]), life(3, 4, &[])], 1 << 20, &[]);
        assert!(spots[0].slab != spots[1].slab && spots[0].slab != spots[2].slab, "{spots:?}");
    }

    #[test]
    fn memory_is_used_again() {
        let lives: Vec<_> = (0..100)
            .map(|i| Life { bytes: 1 << 20, first: i, last: i + 1, inputs: if i > 0 { vec![i - 1] } else { vec![] } })
            .collect();
        let (_, slabs) = lay_out(&lives, 1 << 30, &[]);
        assert_eq!(slabs, [1 << 20, 1 << 20]);
    }

    #[test]
    fn slabs_that_are_there_are_used_first() {
        let chain = |bytes| -> Vec<_> {
            (0..9)
                .map(|i| Life { bytes, first: i, last: i + 1, inputs: (i > 0).then(|| i - 1).into_iter().collect() })
                .collect()
        };
        let (_, large) = lay_out(&chain(1 << 20), 1 << 30, &[]);
        assert_eq!(lay_out(&chain(1 << 19), 1 << 30, &large).1, large);
        assert_eq!(lay_out(&chain(1 << 21), 1 << 30, &large).1.iter().max(), Some(&(1 << 21)));
    }

    #[test]
    fn slabs_stay_below_the_limit() {
        let lives: Vec<_> = (0..4).map(|_| Life { bytes: 600, first: 0, last: 9, inputs: vec![] }).collect();
        let (_, slabs) = lay_out(&lives, 1600, &[]);
        assert!(slabs.iter().all(|&size| size <= 1600) && slabs.len() == 2, "{slabs:?}");
    }
}
