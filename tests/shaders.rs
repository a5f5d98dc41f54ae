//! Every variant of every kernel through naga, without a GPU: shaders are compiled lazily, and a broken one could
//! slip through the other tests. Tint sees the same text in the browser tests.

use wordbrush::gpu::{Storage, Value, header, unrolled, without};
use wordbrush::kernels::{Memory, Tile, matrices};

/// What wgpu alone knows, and no browser: such a text is not given to Tint.
const MATRICES: &str = "enable wgpu_cooperative_matrix;";

const STORAGES: [Storage; 3] = [Storage::F32, Storage::F16, Storage::Packed];

const MAY_BE_ZERO: [&str; 11] = [
    "c2",
    "tiles2",
    "pad",
    "above",
    "first_slab",
    "q_offset",
    "k_offset",
    "v_offset",
    "first",
    "column",
    "half_columns",
];

/// Bindings that are there only where a switch is on, by the names of their variables.
const OPTIONAL: [(&str, &[&str]); 9] = [
    ("TWO_INPUTS", &["a2", "x2", "moments2"]),
    ("BIAS", &["bias"]),
    ("ROW_BIAS", &["row_bias", "step"]),
    ("RESIDUAL", &["residual"]),
    ("NORMAL", &["row_moments", "affine"]),
    ("MEASURE", &["moments"]),
    ("REDUCE", &["partials"]),
    ("PROMPTS", &["lengths"]),
    ("RESCALED", &["factors"]),
];

type Values = Vec<(&'static str, Value)>;

/// A kernel's files, the switches it has, its sizes.
struct Kernel {
    name: &'static str,
    files: &'static [&'static str],
    constants: Values,
    switches: &'static [&'static str],
    params: &'static [&'static str],
}

fn kernels() -> Vec<Kernel> {
    let gemm = &[
        "rows",
        "residuals",
        "run_rows",
        "moment_rows",
        "groups_y",
        "c1",
        "c2",
        "n4",
        "in_h",
        "in_w",
        "up_h",
        "up_w",
        "run_h",
        "run_w",
        "stride",
        "pad",
        "above",
    ];
    let gemm_switches = &["POINTWISE", "TWO_INPUTS", "BIAS", "ROW_BIAS", "RESIDUAL", "ADD", "GEGLU"];
    let attention = &[
        "q_items", "queries", "key_rows", "first", "each", "heads", "q_stride", "q_offset", "k_stride", "k_offset",
        "v_stride", "v_offset",
    ];
    let norm = &["c1", "c2", "pixels", "slabs", "group_channels", "slab_pixels", "first_slab", "groups", "groups_x"];
    let mut kernels = Vec::new();
    let products = [(1, 0, 1, 0), (1, 2, 1, 2), (3, 1, 1, 1), (2, 3, 4, 1)];
    let direct: &[&str] = &["gemm.wgsl", "gemm_direct.wgsl"];
    let lanes: &[&str] = &["gemm.wgsl", "gemm_lanes.wgsl"];
    let tiled: &[&str] = &["gemm.wgsl", "gemm_part.wgsl", "gemm_tiled.wgsl"];
    let cooperative: &[&str] = &["gemm.wgsl", "gemm_part.wgsl", "gemm_cooperative.wgsl"];
    let reduce: &[&str] = &["gemm.wgsl", "gemm_reduce.wgsl"];
    let winograd: &[&str] = &["gemm.wgsl", "gemm_winograd.wgsl"];
    let mut product_of =
        |side: usize, files: &'static [&str], switches, tile: Tile, (kernel, activation, phases, measure)| {
            let switches: &'static [&str] = switches;
            let threads = if let Memory::Lanes(threads) = tile.memory { threads } else { 1 };
            let mut constants: Values = [
                ("ROWS", tile.rows),
                ("COLUMNS", tile.columns),
                ("DEPTH", tile.depth),
                ("TEAMS", tile.teams),
                ("LANES", threads),
                ("VECTORS", if threads > 1 { tile.columns / 4 / threads } else { 2 }),
                ("BRINGS", tile.rows / threads),
                ("SLICES", tile.slices),
                ("SIDE", side),
                ("KERNEL", kernel),
                ("ACTIVATION", activation),
                ("PHASES", phases),
                ("MEASURE", measure),
            ]
            .map(|(name, value)| (name, value.into()))
            .to_vec();
            constants.push(("STORED", (tile.memory == Memory::Stored).into()));
            let normal = (files == tiled || files == cooperative) && (kernel, measure) == (1, 0);
            constants.push(("NORMAL", normal.into()));
            constants.push(("REDUCE", (files == reduce).into()));
            // What the loop over switches leaves out is off, so that not everything is multiplied by everything.
            constants.extend(
                gemm_switches
                    .iter()
                    .chain(&["STRETCHED"])
                    .filter(|name| !switches.contains(*name))
                    .map(|&name| (name, false.into())),
            );
            kernels.push(Kernel { name: files[files.len() - 1], files, constants, switches, params: gemm });
        };
    for (side, kind) in [8, 16].into_iter().flat_map(|side| products.map(|kind| (side, kind))) {
        for tile in Tile::COOPERATIVE.into_iter().chain([Tile { slices: 3, ..Tile::COOPERATIVE[0] }]) {
            product_of(side, cooperative, &["TWO_INPUTS"], tile, kind);
        }
    }
    let mut product = |files: &'static [&str], switches: &'static [&str], tile: Tile, kind| {
        product_of(0, files, switches, tile, kind);
    };
    for kind in products {
        product(direct, gemm_switches, Tile::DIRECT, kind);
        product(lanes, &["TWO_INPUTS", "RESIDUAL"], Tile::lanes(4, 2, 16), kind);
        product(lanes, &["STRETCHED", "RESIDUAL"], Tile::lanes(4, 1, 32), kind);
        product(tiled, gemm_switches, Tile::SQUARE, kind);
        product(reduce, &["BIAS", "ROW_BIAS", "RESIDUAL", "GEGLU"], Tile { slices: 3, ..Tile::SQUARE }, kind);
    }
    // The other tile shapes differ in numbers alone: one product each, and one in slices.
    for (tile, kind) in Tile::SHARED.into_iter().skip(1).chain(Tile::TEAMED).zip(products.into_iter().cycle()) {
        product(tiled, &["TWO_INPUTS", "STRETCHED"], tile, kind);
    }
    for tile in Tile::WINOGRAD {
        product(winograd, &["TWO_INPUTS", "BIAS", "ROW_BIAS", "RESIDUAL", "ADD"], tile, products[2]);
    }
    product(tiled, &["POINTWISE"], Tile { slices: 3, ..Tile::SQUARE }, products[0]);
    let attentions: [&[&str]; 5] = [
        &["attention.wgsl", "attention_lanes.wgsl"],
        &["attention.wgsl", "attention_rows.wgsl"],
        &["attention.wgsl", "attention_tiled.wgsl", "attention_parts.wgsl"],
        &["attention.wgsl", "attention_tiled.wgsl", "attention_shuffled.wgsl"],
        &["attention.wgsl", "attention_wide.wgsl"],
    ];
    for files in attentions {
        for (d4, each, team) in [(1, 1, 1), (10, 2, 1), (20, 1, 2), (40, 2, 4)] {
            let own = if files[1] == "attention_wide.wgsl" { u32::div_ceil(d4, 64) } else { d4 / team };
            let constants = [("D4", d4), ("KEYS", 8), ("EACH", each), ("TEAM", team), ("OWN", own), ("LANES", 4)];
            let constants = constants.map(|(name, value)| (name, Value::U32(value))).to_vec();
            kernels.push(Kernel {
                name: files[1],
                files,
                constants,
                switches: &["CAUSAL", "PROMPTS"],
                params: attention,
            });
        }
    }
    let mut plain = |name: &'static str, files, switches, params| {
        kernels.push(Kernel {
            name,
            files,
            constants: vec![("GROUPS", Value::U32(32)), ("RUN", Value::U32(64)), ("TEAMS", Value::U32(4))],
            switches,
            params,
        });
    };
    plain("group_norm_stats", &["group_norm_input.wgsl", "group_norm_stats.wgsl"], &["TWO_INPUTS"], norm);
    plain("group_norm_each_stats", &["group_norm_input.wgsl", "group_norm_each_stats.wgsl"], &["TWO_INPUTS"], norm);
    plain("group_norm_columns", &["group_norm_input.wgsl", "group_norm_columns.wgsl"], &["TWO_INPUTS", "SILU"], norm);
    plain("group_norm", &["group_norm_input.wgsl", "group_norm.wgsl"], &["TWO_INPUTS", "SILU"], norm);
    let tiles = &[
        "c1",
        "c2",
        "pixels",
        "groups",
        "group_channels",
        "block_groups",
        "block_pixels",
        "tiles",
        "tiles2",
        "run",
        "run2",
    ];
    plain("group_norm_tiles", &["group_norm_input.wgsl", "group_norm_tiles.wgsl"], &["TWO_INPUTS", "SILU"], tiles);
    plain("repeat", &["repeat.wgsl"], &[], &["vectors", "times", "groups_x"]);
    plain("whole_filter", &["whole_filter.wgsl"], &[], &["vectors", "groups_x"]);
    plain("layer_norm_rows", &["layer_norm_rows.wgsl"], &[], &["rows", "c", "groups_x"]);
    plain("layer_norm", &["layer_norm.wgsl"], &[], &["rows", "c", "groups_x"]);
    plain("weigh_tokens", &["weigh_tokens.wgsl"], &[], &["c", "results", "groups_x"]);
    plain("scale_latents", &["repaint.wgsl", "scale_latents.wgsl"], &["REPAINT"], &["pixels", "batch"]);
    let rescale = &["repaint.wgsl", "rescale_guidance.wgsl"];
    plain("rescale_guidance", rescale, &["REPAINT"], &["pixels", "picture", "batch"]);
    plain("weigh_windows", &["weigh_windows.wgsl"], &[], &["c"]);
    plain("soft_clamp", &["soft_clamp.wgsl"], &[], &["vectors"]);
    plain("image", &["image.wgsl"], &["UNIT"], &["pixels", "groups_x"]);
    for registers in [2, 7] {
        kernels.push(Kernel {
            name: "sampler_step",
            files: &["repaint.wgsl", "guidance.wgsl", "sampler_step.wgsl"],
            constants: vec![("REGISTERS", Value::U32(registers))],
            switches: &["EVALUATED", "RESCALED", "REPAINT"],
            params: &["pixels", "prompts", "picture"],
        });
        let constants = [("REGISTERS", registers), ("LANES", if registers == 2 { 1 } else { 8 })];
        let mut constants = constants.map(|(name, value)| (name, Value::U32(value))).to_vec();
        constants.extend([("EVALUATED", true.into()), ("RESCALED", false.into())]);
        kernels.push(Kernel {
            name: "conv_out_step",
            files: &["repaint.wgsl", "guidance.wgsl", "conv_out_step.wgsl"],
            constants,
            switches: &["REPAINT"],
            params: &["pixels", "picture", "prompts", "height", "width", "c4"],
        });
    }
    let pack = &[
        "rows",
        "first",
        "channels",
        "padded_channels",
        "taps",
        "packed_taps",
        "n4",
        "column",
        "half_columns",
        "groups_x",
    ];
    for dtype in 0..3 {
        let constants = vec![("DTYPE", Value::U32(dtype))];
        kernels.push(Kernel {
            name: "pack_weights",
            files: &["pack_weights.wgsl"],
            constants,
            switches: &["PHASED"],
            params: pack,
        });
    }
    kernels
}

/// Files whose threads read each other's registers.
const IN_SUBGROUPS: [&str; 3] = ["gemm_lanes.wgsl", "attention_lanes.wgsl", "attention_shuffled.wgsl"];

/// A kernel without the bindings of what is switched off.
fn trimmed(body: &str, constants: &Values) -> String {
    let off = |switch: &str| {
        let value = constants.iter().find(|(name, _)| *name == switch).map(|(_, value)| *value);
        matches!(value, Some(Value::Bool(false) | Value::U32(0)))
    };
    let gone = |line: &&str| {
        let optional = OPTIONAL.iter().filter(|(switch, _)| off(switch)).flat_map(|(_, names)| *names);
        optional.clone().any(|name| line.starts_with("@group") && line.contains(&format!("> {name}: array")))
    };
    let number = |line: &str| line.split("@binding(").nth(1)?.split(')').next()?.parse::<usize>().ok();
    let absent: Vec<usize> = body.lines().filter(gone).filter_map(number).collect();
    without(&unrolled(body, constants), |binding| absent.contains(&binding))
}

fn check(text: &str) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
    let flags = naga::valid::ValidationFlags::all();
    use naga::valid::Capabilities;
    let capabilities = Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    naga::valid::Validator::new(flags, capabilities).validate(&module).map(drop).map_err(|e| e.emit_to_string(text))
}

#[test]
fn every_variant_is_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels");
    let mut failures = Vec::new();
    let mut texts = std::collections::BTreeSet::new();
    let mut used = std::collections::BTreeSet::new();
    for kernel in kernels() {
        let body: String = kernel
            .files
            .iter()
            .map(|file| {
                used.insert((*file).to_string());
                std::fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
            })
            .collect();
        for switched in 0..1usize << kernel.switches.len() {
            let mut constants = kernel.constants.clone();
            let on = |i: usize| Value::Bool(switched >> i & 1 == 1);
            constants.extend(kernel.switches.iter().enumerate().map(|(i, &name)| (name, on(i))));
            // Sizes that may be nothing are so in half of the variants: Tint refuses to divide by a constant zero.
            let none = |name: &str| switched % 2 == 0 && MAY_BE_ZERO.contains(&name);
            let size = |name: &str| Value::U32(if none(name) { 0 } else { 4 });
            let mut params: Values = kernel.params.iter().map(|&name| (name, size(name))).collect();
            let floats = [("scale", 0.5), ("epsilon", 1e-5), ("multiplier", 0.7), ("cfg", 8.0)];
            params.extend(floats.map(|(name, value)| (name, Value::F32(value))));
            let side = constants.iter().find(|(name, _)| *name == "SIDE").map_or(0, |(_, side)| match side {
                Value::U32(side) => *side as usize,
                _ => 0,
            });
            let native = kernel.name == "gemm_cooperative.wgsl";
            for storage in if native { &[Storage::F16][..] } else { &STORAGES } {
                let mut text = header(*storage, &constants, &params) + &trimmed(&body, &constants);
                if native {
                    text = format!("{MATRICES}\n{text}{}", matrices(side));
                }
                if let Err(message) = check(&text) {
                    failures.push(format!("{} {storage:?} {constants:?}:\n{message}", kernel.name));
                }
                if kernel.files.iter().any(|file| IN_SUBGROUPS.contains(file)) {
                    text = text.replacen("alias", "enable subgroups;\nalias", 1);
                }
                // SwiftShader has no shader-f16, so Tint is not asked about those.
                if !native && !text.starts_with("enable f16") {
                    texts.insert(text);
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} variants are invalid, the first:\n{}", failures.len(), failures[0]);
    let all = std::fs::read_dir(&folder).expect("src/kernels").map(|entry| entry.expect("an entry").file_name());
    let all: std::collections::BTreeSet<String> =
        all.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.ends_with(".wgsl")).collect();
    assert_eq!(used, all, "a kernel file has no row in this test");
    // For `tests/browser/shaders.test.js`, which gives them to Tint.
    let texts = serde_json::to_string(&texts).expect("JSON");
    std::fs::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaders.json"), texts).expect("written");
}

/// In Chromium on SwiftShader a variable of a loop that has no initialiser keeps its value from turn to turn, where WGSL has zero. (The four
/// spaces are a function's own block and one in it.)
#[test]
fn what_is_declared_in_an_inner_block_is_initialised() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels");
    let bare = |line: &str| line.starts_with("    ") && line.trim_start().starts_with("var ") && !line.contains('=');
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("src/kernels") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "wgsl") {
            let text = std::fs::read_to_string(&path).expect("a kernel");
            found.extend(text.lines().filter(|line| bare(line)).map(|line| format!("{}: {line}", path.display())));
        }
    }
    assert!(bare("    var x: f32;") && !bare("  var x: f32;") && found.is_empty(), "{found:#?}");
}

#[test]
fn a_broken_shader_is_seen() {
    assert!(check("fn f() -> u32 { return 1.5; }").is_err());
}
