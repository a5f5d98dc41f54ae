//! How a product is cut: what a workgroup computes, and what of it passes through workgroup memory.

use std::fmt;

use crate::gpu::Storage;

/// What a tile keeps in workgroup memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Nothing: for adapters that are programs on a CPU, where a barrier costs more than a load, and have no subgroups.
    None,
    /// Nothing, as the threads of a subgroup, so many, read each other's registers: for those that have, see [`Tile::lanes`].
    Lanes(usize),
    /// 32-bit floats.
    Single,
    /// Numbers as they are stored, in half the bytes. Nothing is rounded: rows that are normalised on their way in
    /// remain 32-bit floats.
    Stored,
    /// 32-bit floats, transformed as Winograd's algorithm has it: for filters of 3×3 alone, see [`Tile::WINOGRAD`].
    Transformed,
    /// Halves, which matrix units read: see [`Tile::COOPERATIVE`].
    Cooperative,
}

/// The tile shape of a product, and into how many slices its k is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows that a workgroup computes.
    pub rows: usize,
    /// Columns that a workgroup computes.
    pub columns: usize,
    /// k that pass through workgroup memory at once.
    pub depth: usize,
    /// What workgroup memory holds.
    pub memory: Memory,
    /// Teams of threads in a workgroup, each of which sums a part of every `depth` k: where a product has too few tiles for the device.
    pub teams: usize,
    /// Parts of k that are summed by different workgroups, and added up by a dispatch that has the epilogue. 1 for none.
    pub slices: usize,
}

/// Slices that k is cut into at most.
pub(super) const MOST_SLICES: usize = 8;

impl Tile {
    /// Four rows by eight columns per thread, no workgroup memory.
    pub const DIRECT: Tile = Tile { rows: 32, columns: 64, depth: 4, memory: Memory::None, teams: 1, slices: 1 };
    /// For a subgroup of at least `threads` threads, 4 or 8: of each `vectors` times four columns, 4 or 8, and so many rows. No more than
    /// 32 sums to a thread: more take longer to compile than they gain.
    pub const fn lanes(threads: usize, vectors: usize, rows: usize) -> Tile {
        Tile { rows, columns: 4 * vectors * threads, depth: 4, memory: Memory::Lanes(threads), teams: 1, slices: 1 }
    }

    /// What runs on every GPU and with every epilogue within WebGPU's default limits.
    pub const SQUARE: Tile = Tile { rows: 64, columns: 64, depth: 16, memory: Memory::Single, teams: 1, slices: 1 };
    /// Those with workgroup memory: eight rows by eight columns per thread.
    pub const SHARED: [Tile; 11] = [
        Tile::SQUARE,
        Tile { memory: Memory::Stored, ..Tile::SQUARE },
        Tile { depth: 32, ..Tile::SQUARE },
        Tile { depth: 32, memory: Memory::Stored, ..Tile::SQUARE },
        Tile { rows: 128, ..Tile::SQUARE },
        Tile { rows: 128, memory: Memory::Stored, ..Tile::SQUARE },
        Tile { rows: 128, depth: 32, ..Tile::SQUARE },
        Tile { rows: 128, depth: 32, memory: Memory::Stored, ..Tile::SQUARE },
        Tile { rows: 128, columns: 128, ..Tile::SQUARE },
        Tile { rows: 128, columns: 128, memory: Memory::Stored, ..Tile::SQUARE },
        Tile { rows: 128, columns: 128, depth: 32, memory: Memory::Stored, ..Tile::SQUARE },
    ];

    /// The same in teams: two or four times as many threads for as many sums.
    pub const TEAMED: [Tile; 3] = [
        Tile { teams: 4, ..Tile::SQUARE },
        Tile { depth: 32, teams: 2, ..Tile::SQUARE },
        Tile { depth: 32, memory: Memory::Stored, teams: 4, ..Tile::SQUARE },
    ];

    /// Winograd's F(2×2, 3×3), which multiplies 16 times where the others multiply 36 times: for filters of 3×3 over pictures of
    /// an even number of rows and columns.
    pub const WINOGRAD: [Tile; 2] = [
        Tile { rows: 128, columns: 32, depth: 4, memory: Memory::Transformed, teams: 1, slices: 1 },
        Tile { rows: 128, columns: 32, depth: 8, memory: Memory::Transformed, teams: 1, slices: 1 },
    ];

    /// On matrix units, where the adapter has them ([`Adapter::matrices`](crate::gpu::Adapter::matrices)) and numbers are stored as
    /// halves.
    pub const COOPERATIVE: [Tile; 6] = [
        Tile { depth: 32, memory: Memory::Cooperative, ..Tile::SQUARE },
        Tile { rows: 128, depth: 32, memory: Memory::Cooperative, ..Tile::SQUARE },
        Tile { rows: 128, columns: 128, memory: Memory::Cooperative, ..Tile::SQUARE },
        Tile { rows: 128, columns: 128, depth: 32, memory: Memory::Cooperative, ..Tile::SQUARE },
        Tile { depth: 32, memory: Memory::Cooperative, teams: 2, ..Tile::SQUARE },
        Tile::COOPERATIVE_TEAMS,
    ];

    /// The one of them with the most teams.
    pub const COOPERATIVE_TEAMS: Tile = Tile { depth: 64, memory: Memory::Cooperative, teams: 4, ..Tile::SQUARE };

    /// Threads of a workgroup.
    pub fn threads(self) -> usize {
        match self.memory {
            Memory::None => 64,
            Memory::Lanes(threads) => threads,
            Memory::Transformed => 256,
            Memory::Single | Memory::Stored | Memory::Cooperative => self.rows * self.columns / 64 * self.teams,
        }
    }

    /// Bytes of workgroup memory at most, whatever the epilogue.
    pub fn bytes(self, storage: Storage) -> usize {
        let vector = |memory| if memory == Memory::Stored { 4 * storage.size() } else { 16 };
        let Self { rows, columns, depth, memory, .. } = self;
        let (a, w) = (rows * (depth / 4 + 1), depth * columns / 4);
        match memory {
            Memory::None | Memory::Lanes(_) => 0,
            // With normalised rows `a` is in 32-bit floats, and statistics need room of their own.
            Memory::Stored => a * 16 + w * vector(memory) + rows * 8 + self.threads() * 16,
            Memory::Single => (a + w) * 16 + rows * 8,
            // Rows of the chunk are two vectors longer than needed; a quarter of the sums is in 32-bit floats.
            Memory::Cooperative => {
                (rows * (depth / 4 + 2) + depth * (columns / 4 + 2)) * 8 + rows * 8 + self.threads() * 64
            }
            // 16 numbers for every four rows, and for every column.
            Memory::Transformed => 16 * (rows / 4 + columns) * depth * 4,
        }
    }

    /// What [`to_string`](fmt::Display) made; `None` for what is no tile shape with workgroup memory.
    pub fn named(name: &str) -> Option<Tile> {
        let (shape, slices) = name.split_once(" /").unwrap_or((name, "1"));
        let mut shapes = Tile::SHARED.into_iter().chain(Tile::TEAMED).chain(Tile::WINOGRAD).chain(Tile::COOPERATIVE);
        let tile = shapes.find(|tile| tile.to_string() == shape)?;
        let most = if tile.memory == Memory::Transformed { 1 } else { MOST_SLICES };
        let slices = slices.parse().ok().filter(|slices| (1..=most).contains(slices))?;
        Some(Tile { slices, ..tile })
    }

    /// A device with so much workgroup memory has room for it.
    pub fn fits(self, storage: Storage, memory: usize) -> bool {
        self.bytes(storage) <= memory
    }
}

/// As in `128×64×16 stored /4` and `64×64×16 single by 4`.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let memory = match self.memory {
            Memory::None => "direct",
            Memory::Lanes(_) => "lanes",
            Memory::Single => "single",
            Memory::Stored => "stored",
            Memory::Transformed => "winograd",
            Memory::Cooperative => "cooperative",
        };
        write!(f, "{}×{}×{} {memory}", self.rows, self.columns, self.depth)?;
        if self.teams > 1 {
            write!(f, " by {}", self.teams)?;
        }
        if self.slices > 1 { write!(f, " /{}", self.slices) } else { Ok(()) }
    }
}
