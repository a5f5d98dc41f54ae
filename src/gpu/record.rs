//! Kernel calls, collected while a plan is being recorded.

use std::rc::Rc;

use super::Gpu;
use super::arena::{self, Life};
use super::buffer::Buffer;
use super::counts::Dispatch;
use super::launch::Cut;
use super::pipeline::{Layout, Present};
use super::plan::{Buffers, Command, Plan, Ready, Stats};
use super::shader::{self, Header, Value};
use super::tensor::{Inner, Place, Storage, Tensor, View};
use super::unroll::unrolled;

/// One call of a kernel.
///
/// Bindings are numbered in order: `read`, then `write`, then the parameters. What is `None` takes none of the bindings that
/// a device allows: see [`without`](super::without). A kernel that adds `origin.x` or `origin.y` to its workgroup's index is cut
/// along that axis where it is too much for one dispatch.
pub struct Kernel<'a> {
    /// The kernel's name: its files, its label, its test.
    pub name: &'static str,
    /// What it computes, in the words of the work model: where one kernel has several uses, which of them this is.
    pub class: &'static str,
    /// WGSL, in the order it is put together under the header.
    pub wgsl: &'a [&'static str],
    /// Tile shapes and switches, always part of the text.
    pub constants: &'a [(&'static str, Value)],
    /// Sizes: part of the text on GPUs, a uniform on software adapters.
    pub params: &'a [(&'static str, Value)],
    /// Sizes are a uniform everywhere: for kernels that run once per shape, where compiling costs more than running.
    pub uniform: bool,
    /// Inputs; `None` where this variant has none.
    pub read: &'a [Option<&'a Tensor>],
    /// Results (and tensors changed in place); `None` where this variant has none.
    pub write: &'a [Option<&'a Tensor>],
    /// Workgroups along x, y, z.
    pub workgroups: [usize; 3],
    /// Multiplications and additions this call does.
    pub flops: u64,
}

/// A call as it waits for the plan to be finished.
pub(super) struct Call {
    pub name: &'static str,
    class: &'static str,
    /// That of its result.
    shape: Vec<usize>,
    pub source: String,
    read: Vec<Option<View>>,
    write: Vec<Option<View>>,
    uniform: Option<Vec<u32>>,
    cut: Option<Cut>,
    workgroups: [u32; 3],
    flops: u64,
}

/// The calls so far.
#[derive(Default)]
pub(super) struct Recording {
    calls: Vec<Call>,
}

/// Storage buffers that a kernel may bind on every adapter.
const MOST_BINDINGS: usize = 8;

/// Uniform bindings start at multiples of this.
pub(super) const UNIFORM_ALIGNMENT: u64 = 256;

/// Slabs stay within WebGPU's default binding size where no single tensor is larger.
const SLAB_BYTES: u64 = 128 << 20;

impl Gpu {
    /// Records the kernels that `calls` calls into a plan; also returns what `calls` returns.
    ///
    /// Tensors made inside live in the plan's arena and hold numbers only until it is replayed or dropped, except
    /// those marked with [`Tensor::keep`].
    pub fn record<T>(&self, label: &'static str, calls: impl FnOnce() -> T) -> (Plan, T) {
        self.record_sharing(None, label, calls)
    }

    /// The same in the arena of a plan that never runs at the same time: it grows only where it is too small.
    pub fn record_beside<T>(&self, plan: &Plan, label: &'static str, calls: impl FnOnce() -> T) -> (Plan, T) {
        self.record_sharing(Some(plan), label, calls)
    }

    fn record_sharing<T>(&self, beside: Option<&Plan>, label: &'static str, calls: impl FnOnce() -> T) -> (Plan, T) {
        let outer = self.inner.recording.replace(Some(Recording::default()));
        assert!(outer.is_none(), "recordings do not nest");
        let result = calls();
        let recording = self.inner.recording.take().unwrap_or_default();
        (recording.finish(self, label, beside.map_or(&[], Plan::slabs)), result)
    }

    /// The kernels that `calls` calls; nothing is computed or takes memory.
    pub(super) fn rehearse(&self, calls: &dyn Fn()) -> Vec<Call> {
        let outer = self.inner.recording.replace(Some(Recording::default()));
        assert!(outer.is_none(), "recordings do not nest");
        calls();
        self.inner.recording.take().unwrap_or_default().calls
    }

    /// A tensor for a kernel's result.
    pub fn result(&self, shape: &[usize], storage: Storage) -> Tensor {
        self.declare(shape, storage)
    }

    /// Notes a call in the recording.
    pub fn run(&self, kernel: Kernel) {
        for groups in kernel.workgroups {
            assert!((1..=65535).contains(&groups), "{}: {:?} workgroups", kernel.name, kernel.workgroups);
        }
        let tensors = || kernel.read.iter().chain(kernel.write);
        let bound = tensors().flatten().count();
        assert!(bound <= MOST_BINDINGS, "{}: {bound} storage buffers, WebGPU promises {MOST_BINDINGS}", kernel.name);
        let storage = self.kernel_storage(&kernel);
        let out = kernel.write[0].map_or(storage, Tensor::storage);
        let bake = kernel.params.is_empty() || !(kernel.uniform || self.inner.adapter.software);
        let bindings = kernel.read.len() + kernel.write.len();
        let absent = |binding: usize| tensors().nth(binding).is_some_and(Option::is_none);
        let body = shader::without(&unrolled(&kernel.wgsl.concat(), kernel.constants), absent);
        let workgroups = kernel.workgroups.map(|groups| groups as u32);
        let cut = Cut::new(&body, workgroups, kernel.flops, self.inner.pace.get().least());
        let header = Header {
            storage,
            out,
            subgroups: body.contains("subgroup"),
            matrices: body.contains("coop_mat"),
            constants: kernel.constants,
            params: kernel.params,
            binding: (!bake).then_some(bindings),
            origin: cut.map(|_| bindings + usize::from(!bake)),
        };
        let source = shader::text(&header) + &body;
        let call = Call {
            name: kernel.name,
            class: kernel.class,
            shape: kernel.write[0].map_or(Vec::new(), |tensor| tensor.shape().to_vec()),
            source,
            read: kernel.read.iter().map(|tensor| tensor.map(Tensor::view)).collect(),
            write: kernel.write.iter().map(|tensor| tensor.map(Tensor::view)).collect(),
            uniform: (!bake).then(|| kernel.params.iter().map(|(_, value)| value.bits()).collect()),
            cut,
            workgroups,
            flops: kernel.flops,
        };
        let mut recording = self.inner.recording.borrow_mut();
        recording.as_mut().expect("kernels run inside Gpu::record").calls.push(call);
    }

    /// The storage of `elem4`: that of the device's tensors. Tests may store single tensors otherwise.
    fn kernel_storage(&self, kernel: &Kernel) -> Storage {
        let halves = |tensor: &&Tensor| tensor.storage() != Storage::F32;
        let first = kernel.read.iter().flatten().copied().find(halves);
        first
            .or_else(|| kernel.write.iter().flatten().copied().find(halves))
            .map_or(Storage::F32, |tensor| tensor.storage())
    }
}

impl Call {
    /// Which bindings it has.
    pub fn present(&self) -> Present {
        let present = |views: &[Option<View>]| views.iter().map(Option::is_some).collect();
        let (read, write) = (present(&self.read), present(&self.write));
        Present { read, write, uniform: self.uniform.is_some(), origin: self.cut.is_some() }
    }

    /// What is bound where, and what that is in numbers.
    fn places(&self, slabs: &[(Rc<Buffer>, u64)]) -> (Dispatch, Vec<Bound>) {
        let made_here = |place: &Place| slabs.iter().any(|(slab, _)| Rc::ptr_eq(slab, &place.buffer));
        let Self { name, class, flops, .. } = *self;
        let mut dispatch =
            Dispatch { name, class, flops, held: 0, read: 0, written: 0, largest: 0, parts: 1, part: flops };
        (dispatch.parts, dispatch.part) = self.cut.map_or((1, flops), |cut| (cut.parts, cut.flops));
        let mut places = Vec::new();
        for (binding, view) in self.read.iter().chain(&self.write).enumerate() {
            let Some(View { inner, offset, bytes }) = view else { continue };
            let bytes = *bytes;
            let mut place = inner.place.borrow().clone().unwrap_or_else(|| panic!("{name}: input never computed"));
            place.offset += offset;
            let sum = match binding < self.read.len() {
                false => &mut dispatch.written,
                true if made_here(&place) => &mut dispatch.read,
                true => &mut dispatch.held,
            };
            *sum += bytes;
            dispatch.largest = dispatch.largest.max(bytes);
            places.push(Bound { binding, place, bytes });
        }
        (dispatch, places)
    }
}

/// A binding and what it covers.
struct Bound {
    binding: usize,
    place: Place,
    bytes: u64,
}

impl Recording {
    fn finish(self, gpu: &Gpu, label: &'static str, there: &[Rc<Buffer>]) -> Plan {
        let slabs = self.place_tensors(gpu, label, there);
        let uniforms = upload_uniforms(gpu, label, self.calls.iter().filter_map(|call| call.uniform.clone()));
        let origins = self.calls.iter().filter_map(|call| call.cut).flat_map(Cut::origins);
        let origins = upload_uniforms(gpu, label, origins.map(|origin| origin.to_vec()));
        let mut stats =
            Stats { dispatches: self.calls.len(), arena: slabs.iter().map(|(_, size)| size).sum(), ..Stats::default() };
        let mut commands = Vec::with_capacity(self.calls.len());
        let mut held = Vec::new();
        let (mut uniform_offset, mut first_origin) = (0, 0);
        for call in &self.calls {
            stats.flops += call.flops;
            let (dispatch, mut places) = call.places(&slabs);
            if let (Some(values), Some(buffer)) = (&call.uniform, &uniforms) {
                let place = Place { buffer: buffer.clone(), offset: uniform_offset };
                places.push(Bound {
                    binding: call.read.len() + call.write.len(),
                    place,
                    bytes: values.len() as u64 * 4,
                });
                uniform_offset += UNIFORM_ALIGNMENT;
            }
            let cut = call.cut.map(|cut| Cut { first: first_origin, ..cut });
            if let (Some(cut), Some(buffer)) = (cut, &origins) {
                let binding = call.read.len() + call.write.len() + usize::from(call.uniform.is_some());
                places.push(Bound { binding, place: Place { buffer: buffer.clone(), offset: 0 }, bytes: 16 });
                first_origin += cut.parts;
            }
            let ready = (!gpu.inner.count_only).then(|| {
                let layout = gpu.layout(call);
                let pipeline = gpu.pipeline(call, &layout);
                Ready { pipeline, bind_group: bind_group(gpu, call.name, &layout, &places) }
            });
            commands.push(Command { dispatch, shape: call.shape.clone(), workgroups: call.workgroups, cut, ready });
            held.extend(places.into_iter().map(|bound| bound.place.buffer));
        }
        Plan::new(
            gpu,
            label,
            commands,
            stats,
            Buffers { slabs: slabs.into_iter().map(|(buffer, _)| buffer).collect(), held },
        )
    }

    /// Gives every tensor that was made here its place: in the arena, for which the slabs that are `there` may be used, or
    /// in a buffer of its own if kept.
    fn place_tensors(&self, gpu: &Gpu, label: &str, there: &[Rc<Buffer>]) -> Vec<(Rc<Buffer>, u64)> {
        let mut tensors: Vec<Rc<Inner>> = Vec::new();
        let mut lives: Vec<Life> = Vec::new();
        let find = |tensors: &[Rc<Inner>], wanted: &Rc<Inner>| tensors.iter().position(|t| Rc::ptr_eq(t, wanted));
        for (i, call) in self.calls.iter().enumerate() {
            let inputs: Vec<usize> =
                call.read.iter().flatten().filter_map(|view| find(&tensors, &view.inner)).collect();
            for &input in &inputs {
                lives[input].last = i;
            }
            let written = call.write.iter().flatten().map(|view| &view.inner);
            for tensor in written.filter(|tensor| tensor.place.borrow().is_none()) {
                if tensor.kept.get() {
                    let buffer = gpu.tensor_buffer(call.name, tensor.bytes);
                    *tensor.place.borrow_mut() = Some(Place { buffer, offset: 0 });
                } else if let Some(known) = find(&tensors, tensor) {
                    lives[known].last = i;
                    lives[known].inputs.extend(&inputs);
                } else {
                    tensors.push(tensor.clone());
                    lives.push(Life { bytes: tensor.bytes, first: i, last: i, inputs: inputs.clone() });
                }
            }
        }
        let there_sizes: Vec<u64> = there.iter().map(|slab| slab.size()).collect();
        let (spots, sizes) = arena::lay_out(&lives, SLAB_BYTES, &there_sizes);
        let slab = |(i, &size): (usize, &u64)| {
            let known = there.get(i).filter(|slab| slab.size() == size).cloned();
            (known.unwrap_or_else(|| gpu.tensor_buffer(label, size)), size)
        };
        let slabs: Vec<_> = sizes.iter().enumerate().map(slab).collect();
        for (tensor, spot) in tensors.iter().zip(spots) {
            *tensor.place.borrow_mut() = Some(Place { buffer: slabs[spot.slab].0.clone(), offset: spot.offset });
        }
        slabs
    }
}

/// Numbers that are bound one by one; `None` where there are none.
fn upload_uniforms(gpu: &Gpu, label: &str, all: impl Iterator<Item = Vec<u32>>) -> Option<Rc<Buffer>> {
    let mut bytes: Vec<u8> = Vec::new();
    for values in all {
        bytes.extend(bytemuck::cast_slice(&values));
        bytes.resize(bytes.len().next_multiple_of(UNIFORM_ALIGNMENT as usize), 0);
    }
    if bytes.is_empty() {
        return None;
    }
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = gpu.buffer(label, bytes.len() as u64, usage);
    gpu.write(&buffer, 0, &bytes);
    Some(buffer)
}

fn bind_group(gpu: &Gpu, name: &str, layout: &Layout, places: &[Bound]) -> wgpu::BindGroup {
    gpu.inner.ledger.note(|traffic| traffic.bind_groups += 1);
    let entries: Vec<_> = places
        .iter()
        .map(|bound| wgpu::BindGroupEntry {
            binding: bound.binding as u32,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &bound.place.buffer.raw,
                offset: bound.place.offset,
                size: std::num::NonZeroU64::new(bound.bytes.max(16)),
            }),
        })
        .collect();
    gpu.inner.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(name),
        layout: &layout.group,
        entries: &entries,
    })
}
