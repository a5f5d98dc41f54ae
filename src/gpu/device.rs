//! One handle to the GPU: the adapter's capabilities, buffers that are counted, errors that are kept.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use web_time::Instant;

use crate::error::{Code, Error, Result};

use super::Storage;
use super::buffer::Allocated;
use super::counts::{Counted, Ledger, Traffic};
use super::failure::{from_wgpu, keep_first, no_gpu};
use super::matrices;
use super::pace::Pace;
use super::pipeline::{Layout, Present};
use super::prepare::Listener;
use super::profile::Profiler;
use super::record::Recording;
use super::subgroups;
use super::trust;
use super::tuning::Tuning;
use super::vendor::Vendor;

/// What to ask of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How numbers are stored; `None` takes f16 where the adapter has it, packed pairs where not.
    pub storage: Option<Storage>,
    /// Prefer the power-saving adapter of two.
    pub low_power: bool,
    /// Whether to take the kernels made for software adapters; `None` asks the adapter. Tests and measurements use it
    /// to run the GPU's kernels where there is no GPU.
    pub software: Option<bool>,
    /// Whether to multiply on the adapter's matrix units, if it has any. Not unless asked: wgpu has them as an experiment, and its
    /// barriers do not yet promise that one thread's matrices see what another has put into workgroup memory (gfx-rs/wgpu#8805).
    pub matrices: bool,
    /// Dispatches of more multiplications and additions are cut, as long as the device is not known to be fast; `None` for
    /// what a slow GPU does in a twentieth of a second. Tests cut small ones with it.
    pub dispatch: Option<u64>,
    /// Nothing is computed and nothing takes memory: plans, traffic and memory are only counted. What is read back is zeros.
    pub count_only: bool,
    /// The device finds no memory for this buffer, counted from 1: see [`Gpu::refuse_buffer`].
    pub refuse_buffer: Option<usize>,
}

/// What the adapter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Name or description, or a browser's words for vendor and architecture; empty where it tells nothing.
    pub name: String,
    /// The API under wgpu: `Vulkan`, `Metal`, `Dx12`, `BrowserWebGpu`.
    pub backend: String,
    /// The adapter is a program on the CPU (SwiftShader, llvmpipe, WARP).
    pub software: bool,
    /// Shaders may use 16-bit floats.
    pub f16: bool,
    /// Whose it is.
    pub vendor: Vendor,
    /// Threads of its smallest subgroup, which can read each other's registers; 0 where shaders cannot ask them to.
    pub subgroups: usize,
    /// Side of the matrices that its matrix units multiply, halves into 32-bit sums; `None` where it has none that we use, as in every
    /// browser, or was not to ([`Options::matrices`]).
    pub matrices: Option<usize>,
}

impl Adapter {
    /// Threads of a workgroup that share what they load, where the adapter is a program on a CPU with subgroups of at least so many:
    /// each of its vector registers holds a number of every thread, but it loads for one after the other. That so small a workgroup lies
    /// in one subgroup is promised nowhere, but so on SwiftShader and lavapipe, and reasonable elsewhere.
    pub fn lanes(&self) -> Option<usize> {
        [8, 4].into_iter().find(|&threads| self.software && threads <= self.subgroups)
    }
}

/// The most memory that a workgroup asks for: twice WebGPU's default, which nearly all adapters have; three times for matrix units.
const WORKGROUP_MEMORY: [u32; 2] = [32 << 10, 48 << 10];

/// A device and its queue. Cheap to clone: a handle.
#[derive(Clone)]
pub struct Gpu {
    pub(super) inner: Rc<Inner>,
}

pub(super) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub adapter: Adapter,
    pub storage: Storage,
    pub recording: RefCell<Option<Recording>>,
    pub pipelines: RefCell<HashMap<String, Rc<wgpu::ComputePipeline>>>,
    pub layouts: RefCell<HashMap<Present, Rc<Layout>>>,
    pub allocated: Rc<Allocated>,
    pub ledger: Ledger,
    pub count_only: bool,
    pub pace: Cell<Pace>,
    /// How many buffers will be made until the one that is refused.
    pub refused_in: Cell<Option<usize>>,
    pub tuning: Tuning,
    pub profiler: RefCell<Option<Profiler>>,
    pub listener: RefCell<Option<Listener>>,
    #[cfg(target_arch = "wasm32")]
    pub background: RefCell<Option<super::prepare::Background>>,
    /// When the first plan was sent that nobody waited for yet, and the work sent since.
    pending: Cell<Option<(Instant, u64)>>,
    pub(super) failure: Arc<Mutex<Option<Error>>>,
}

impl Gpu {
    /// Opens the system's preferred adapter.
    ///
    /// # Errors
    /// [`Code::NoGpu`] with advice when there is none.
    pub async fn open(options: Options) -> Result<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        let instance = wgpu::Instance::new(descriptor);
        let preference =
            if options.low_power { wgpu::PowerPreference::LowPower } else { wgpu::PowerPreference::HighPerformance };
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions { power_preference: preference, ..Default::default() })
            .await
            .map_err(|e| no_gpu(&e.to_string()))?;

        let info = adapter.get_info();
        let f16 = adapter.features().contains(wgpu::Features::SHADER_F16);
        let vendor = Vendor::of(&info);
        let mut described = Adapter {
            software: options
                .software
                .unwrap_or_else(|| info.device_type == wgpu::DeviceType::Cpu || is_software_name(&info.name)),
            name: info.name,
            backend: format!("{:?}", info.backend),
            f16,
            vendor,
            subgroups: 0,
            matrices: matrices::offered(&adapter).filter(|_| options.matrices),
        };
        let storage = options.storage.unwrap_or(if f16 { Storage::F16 } else { Storage::Packed });
        if storage == Storage::F16 && !f16 {
            return Err(Error::new(
                Code::BadOption,
                "dtype f16 needs an adapter with shader-f16, and this one has none: use packed (same memory, same pictures) or auto",
            ));
        }

        // The kernels fit WebGPU's default limits; only the sizes of buffers are raised to what the adapter has,
        // for pictures above 512×512.
        let offered = adapter.limits();
        let mut limits = wgpu::Limits::default();
        limits.max_buffer_size = limits.max_buffer_size.max(offered.max_buffer_size.min(1 << 30));
        limits.max_storage_buffer_binding_size =
            limits.max_storage_buffer_binding_size.max(offered.max_storage_buffer_binding_size.min(1 << 30));
        // Some tile shapes need more than the default; which one is taken depends on what is there.
        let memory = WORKGROUP_MEMORY[usize::from(described.matrices.is_some())];
        limits.max_compute_workgroup_storage_size = offered.max_compute_workgroup_storage_size.min(memory);
        let limits = limits.or_worse_values_from(&offered);
        let mut wanted = wgpu::DeviceDescriptor {
            label: Some("wordbrush"),
            required_features: adapter.features()
                & (wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP),
            required_limits: limits,
            ..Default::default()
        };
        if described.matrices.is_some() {
            wanted.required_features |= matrices::FEATURES;
            wanted.experimental_features = trust::experiment();
        }
        let (device, queue) = adapter.request_device(&wanted).await.map_err(|e| no_gpu(&e.to_string()))?;
        if let Some((vendor, model)) = Vendor::told_by(&device) {
            described.vendor = vendor;
            if described.name.is_empty() {
                described.name = model.trim().to_string();
            }
        }
        described.subgroups = subgroups::size(&device, info.subgroup_min_size);
        let pace = Pace::unknown(described.software);
        let pace = options.dispatch.map_or(pace, |most| pace.cut_to(most));
        let gpu = Self::assemble((device, queue), described, (storage, pace), options.count_only);
        gpu.inner.refused_in.set(options.refuse_buffer);
        Ok(gpu)
    }

    fn assemble(
        (device, queue): (wgpu::Device, wgpu::Queue),
        adapter: Adapter,
        (storage, pace): (Storage, Pace),
        count_only: bool,
    ) -> Self {
        let failure = Arc::new(Mutex::new(None));
        let kept = failure.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| keep_first(&kept, from_wgpu(&e))));
        let kept = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                let message = format!(
                    "the GPU device was lost ({message}): often the memory ran out or the driver restarted; load the model again, with a smaller picture"
                );
                keep_first(&kept, Error::new(Code::DeviceLost, message));
            }
        });
        Self {
            inner: Rc::new(Inner {
                device,
                queue,
                adapter,
                storage,
                recording: RefCell::default(),
                pipelines: RefCell::default(),
                layouts: RefCell::default(),
                allocated: Rc::default(),
                ledger: Ledger::default(),
                count_only,
                pace: Cell::new(pace),
                refused_in: Cell::default(),
                tuning: Tuning::default(),
                profiler: RefCell::default(),
                listener: RefCell::default(),
                #[cfg(target_arch = "wasm32")]
                background: RefCell::default(),
                pending: Cell::default(),
                failure,
            }),
        }
    }

    /// What the adapter says of itself.
    pub fn adapter(&self) -> &Adapter {
        &self.inner.adapter
    }

    /// How weights and activations are stored.
    pub fn storage(&self) -> Storage {
        self.inner.storage
    }

    /// The largest tensor that can be bound.
    pub fn largest_tensor(&self) -> u64 {
        let limits = self.inner.device.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// The largest tensor that can exist; what is larger than [`largest_tensor`](Self::largest_tensor) is bound in parts.
    pub fn largest_buffer(&self) -> u64 {
        self.inner.device.limits().max_buffer_size
    }

    /// Bytes of memory that a workgroup may have.
    pub fn workgroup_memory(&self) -> usize {
        self.inner.device.limits().max_compute_workgroup_storage_size as usize
    }

    /// Bytes that live buffers take on the GPU.
    pub fn allocated(&self) -> u64 {
        self.inner.allocated.now.get()
    }

    /// The most bytes that buffers ever took at once.
    pub fn peak(&self) -> u64 {
        self.inner.allocated.peak.get()
    }

    /// What passed between the CPU and the device so far.
    pub fn traffic(&self) -> Traffic {
        self.inner.ledger.traffic.get()
    }

    /// The plans recorded so far, on a device that only counts.
    pub fn counted(&self) -> Vec<Counted> {
        self.inner.ledger.plans.borrow().clone()
    }

    /// Of the buffers that are made from now on the `nth`, counted from 1, finds no memory: tests see what happens then.
    pub fn refuse_buffer(&self, nth: usize) {
        self.inner.refused_in.set(Some(nth));
    }

    /// Waits until everything submitted has run, then raises the first error that came up. From how long it took the device
    /// learns how much it may be sent at once: see [`Pace`].
    ///
    /// # Errors
    /// Out of memory, a lost device, or a refused command.
    pub async fn finish(&self) -> Result<()> {
        // What is sent while this waits is the next one's.
        let pending = self.inner.pending.take();
        self.submitted().await?;
        self.check().await?;
        if let Some((begun, flops)) = pending {
            let mut pace = self.inner.pace.get();
            pace.learn(flops, begun.elapsed().as_secs_f64());
            self.inner.pace.set(pace);
        }
        Ok(())
    }

    /// Waits until everything submitted has run or was refused.
    pub(super) async fn submitted(&self) -> Result<()> {
        let (done, wait) = futures_channel::oneshot::channel();
        self.inner.queue.on_submitted_work_done(move || {
            let _ = done.send(());
        });
        self.poll()?;
        // A lost device may drop the callback instead of calling it; `failure` then says why.
        let _ = wait.await;
        Ok(())
    }

    /// Notes that work is about to be sent.
    pub(super) fn started(&self, flops: u64) {
        // A device that only counts is done at once, which says nothing.
        if !self.inner.count_only {
            let (begun, before) = self.inner.pending.take().unwrap_or_else(|| (Instant::now(), 0));
            self.inner.pending.set(Some((begun, before + flops)));
        }
    }

    /// Lets a native device do its callbacks; the browser does so by itself.
    pub(super) fn poll(&self) -> Result<()> {
        self.inner
            .device
            .poll(wgpu::PollType::wait_indefinitely())
            .map(drop)
            .map_err(|e| Error::new(Code::DeviceLost, format!("the GPU does not answer: {e}")))
    }
}

fn is_software_name(name: &str) -> bool {
    let name = name.to_lowercase();
    ["swiftshader", "llvmpipe", "softpipe", "basic render"].iter().any(|known| name.contains(known))
}
