//! The one header that stands before every kernel's WGSL: storage types, constants, parameters.

use std::fmt::Write;

use super::Storage;

/// A constant or parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// `u32`.
    U32(u32),
    /// `f32`.
    F32(f32),
    /// `bool`, for switching parts of a kernel on; constants only.
    Bool(bool),
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::U32(u32::try_from(value).expect("a kernel parameter leaves u32"))
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Value::F32(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl Value {
    fn kind(self) -> &'static str {
        match self {
            Value::U32(_) => "u32",
            Value::F32(_) => "f32",
            Value::Bool(_) => "bool",
        }
    }

    fn literal(self) -> String {
        match self {
            Value::U32(value) => format!("{value}u"),
            Value::F32(value) => format!("f32({value:?})"),
            Value::Bool(value) => value.to_string(),
        }
    }

    /// The value's bits, as they stand in a uniform buffer.
    pub(super) fn bits(self) -> u32 {
        match self {
            Value::U32(value) => value,
            Value::F32(value) => value.to_bits(),
            Value::Bool(value) => u32::from(value),
        }
    }
}

/// What the header of a kernel is made from.
pub(super) struct Header<'a> {
    pub storage: Storage,
    pub out: Storage,
    /// Its threads read each other's registers.
    pub subgroups: bool,
    /// The kernel's text names matrices of the adapter's matrix units.
    pub matrices: bool,
    pub constants: &'a [(&'static str, Value)],
    pub params: &'a [(&'static str, Value)],
    /// Binding of the parameters; `None` writes them into the text, where the compiler can use them.
    pub binding: Option<usize>,
    /// Binding of the origin; `None` where the kernel is never cut.
    pub origin: Option<usize>,
}

/// The WGSL text of a header.
///
/// `elem4` is four numbers as they are stored, `load4` and `store4` go to and from f32; `out4` and `store_out` are
/// the same for kernels whose result is stored otherwise. `p` holds the parameters: a module constant on GPUs, so
/// that divisions by a width become shifts, and a uniform on software adapters, where compiling costs more than that.
pub(super) fn text(header: &Header) -> String {
    let mut text = String::new();
    if header.storage == Storage::F16 || header.out == Storage::F16 {
        text += "enable f16;\n";
    }
    // Naga knows them without, and refuses to be told.
    if header.subgroups && cfg!(target_arch = "wasm32") {
        text += "enable subgroups;\n";
    }
    if header.matrices {
        text += "enable wgpu_cooperative_matrix;\n";
    }
    text += &storage_functions(header.storage, "elem4", "load4", "store4");
    text += &storage_functions(header.out, "out4", "load_out", "store_out");
    for (name, value) in header.constants {
        let _ = writeln!(text, "const {name}: {} = {};", value.kind(), value.literal());
    }
    if !header.params.is_empty() {
        let fields: Vec<_> = header.params.iter().map(|(name, value)| format!("{name}: {}", value.kind())).collect();
        let _ = writeln!(text, "struct Params {{ {} }}", fields.join(", "));
        match header.binding {
            Some(binding) => {
                let _ = writeln!(text, "@group(0) @binding({binding}) var<uniform> p: Params;");
            }
            None => {
                let values: Vec<_> = header.params.iter().map(|(_, value)| value.literal()).collect();
                let _ = writeln!(text, "const p = Params({});", values.join(", "));
            }
        }
    }
    // Where a dispatch in parts has its part: added to the workgroup's index by kernels that can be cut.
    match header.origin {
        Some(binding) => {
            let _ = writeln!(text, "@group(0) @binding({binding}) var<uniform> origin: vec4<u32>;");
        }
        None => text += "const origin = vec4<u32>();\n",
    }
    text
}

/// The header alone, for tools that show or check a kernel file by itself.
pub fn header(storage: Storage, constants: &[(&'static str, Value)], params: &[(&'static str, Value)]) -> String {
    text(&Header {
        storage,
        out: storage,
        subgroups: false,
        matrices: false,
        constants,
        params,
        binding: None,
        origin: None,
    })
}

/// WGSL without the bindings that are `absent`: their declarations become arrays of one element, which nothing reads or writes where
/// the switches that belong to them are off, so that the rest of the text still compiles. What is only read is constant, for a
/// private variable is another in each thread, and barriers must not depend on one: Tint looks at them whatever the switches are.
///
/// The lines that declare bindings all have one form: `@group(0) @binding(3) var<storage, read> name: array<type>;`.
pub fn without(wgsl: &str, absent: impl Fn(usize) -> bool) -> String {
    let line = |line: &str| {
        let declared = line.strip_prefix("@group(0) @binding(").and_then(|rest| {
            let (number, rest) = rest.split_once(") var<storage, ")?;
            let (access, rest) = rest.split_once("> ")?;
            let (name, kind) = rest.split_once(">;")?.0.split_once(": ")?;
            absent(number.parse().ok()?).then(|| match access {
                "read" => format!("const {name} = {kind}, 1>();\n"),
                _ => format!("var<private> {name}: {kind}, 1>;\n"),
            })
        });
        declared.unwrap_or_else(|| format!("{line}\n"))
    };
    wgsl.lines().map(line).collect()
}

fn storage_functions(storage: Storage, elem: &str, load: &str, store: &str) -> String {
    // Stores clamp to the largest half: a larger number would become infinity and spoil everything after it.
    match storage {
        Storage::F32 => format!(
            "alias {elem} = vec4<f32>;
fn {load}(v: {elem}) -> vec4<f32> {{ return v; }}
fn {store}(v: vec4<f32>) -> {elem} {{ return v; }}
"
        ),
        Storage::F16 => format!(
            "alias {elem} = vec4<f16>;
fn {load}(v: {elem}) -> vec4<f32> {{ return vec4<f32>(v); }}
fn {store}(v: vec4<f32>) -> {elem} {{ return vec4<f16>(clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0))); }}
"
        ),
        Storage::Packed => format!(
            "alias {elem} = vec2<u32>;
fn {load}(v: {elem}) -> vec4<f32> {{ return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)); }}
fn {store}(v: vec4<f32>) -> {elem} {{
  let c = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  return vec2<u32>(pack2x16float(c.xy), pack2x16float(c.zw));
}}
"
        ),
    }
}
