//! Pipelines and the layouts they need: one for each text, kept as long as the device.

use std::rc::Rc;

use super::Gpu;
use super::record::Call;
use super::trust;

/// Which of a kernel's bindings are there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Present {
    pub read: Vec<bool>,
    pub write: Vec<bool>,
    pub uniform: bool,
    pub origin: bool,
}

/// A bind group layout and the pipeline layout over it.
pub(super) struct Layout {
    pub group: wgpu::BindGroupLayout,
    pub pipeline: wgpu::PipelineLayout,
}

impl Gpu {
    pub(super) fn layout(&self, call: &Call) -> Rc<Layout> {
        let key = call.present();
        let mut layouts = self.inner.layouts.borrow_mut();
        let layout = layouts.entry(key.clone()).or_insert_with(|| {
            let Present { read, write, uniform, origin } = key;
            let entry = |binding: usize, ty| wgpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            };
            let moving = |mut entry: wgpu::BindGroupLayoutEntry| {
                let ty = wgpu::BufferBindingType::Uniform;
                entry.ty = wgpu::BindingType::Buffer { ty, has_dynamic_offset: true, min_binding_size: None };
                entry
            };
            let storage =
                |binding| entry(binding, wgpu::BufferBindingType::Storage { read_only: binding < read.len() });
            let bound = read.iter().chain(&write).enumerate().filter(|(_, present)| **present);
            let mut entries: Vec<_> = bound.map(|(binding, _)| storage(binding)).collect();
            if uniform {
                entries.push(entry(read.len() + write.len(), wgpu::BufferBindingType::Uniform));
            }
            if origin {
                let binding = read.len() + write.len() + usize::from(uniform);
                entries.push(moving(entry(binding, wgpu::BufferBindingType::Uniform)));
            }
            let device = &self.inner.device;
            let group =
                device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
            let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&group)],
                immediate_size: 0,
            });
            Rc::new(Layout { group, pipeline })
        });
        layout.clone()
    }

    pub(super) fn pipeline(&self, call: &Call, layout: &Layout) -> Rc<wgpu::ComputePipeline> {
        if let Some(pipeline) = self.inner.pipelines.borrow().get(&call.source) {
            return pipeline.clone();
        }
        let device = &self.inner.device;
        let module = module(device, call.name, &call.source);
        let pipeline = Rc::new(pipeline(device, call.name, &module, &layout.pipeline));
        self.inner.pipelines.borrow_mut().insert(call.source.clone(), pipeline.clone());
        pipeline
    }
}

/// A kernel's text on its way to the device.
pub(super) fn module(device: &wgpu::Device, name: &str, source: &str) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::Wgsl(source.into());
    trust::module(device, wgpu::ShaderModuleDescriptor { label: Some(name), source })
}

/// The kernel compiled.
pub(super) fn pipeline(
    device: &wgpu::Device,
    name: &str,
    module: &wgpu::ShaderModule,
    layout: &wgpu::PipelineLayout,
) -> wgpu::ComputePipeline {
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(name),
        layout: Some(layout),
        module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            // Kernels write their workgroup memory before they read it.
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    })
}
