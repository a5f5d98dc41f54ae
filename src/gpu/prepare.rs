//! What the recording of a plan would wait for, done before it and told: its pipelines.

#[cfg(target_arch = "wasm32")]
use std::pin::Pin;
use std::rc::Rc;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(target_arch = "wasm32"))]
use std::{sync::mpsc, thread};

use crate::error::Result;

use super::Gpu;
use super::pipeline::{module, pipeline};
use super::record::Call;

/// What happens before a plan is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparing {
    /// Variants of kernels are measured.
    Measuring,
    /// Kernels are compiled.
    Kernels,
}

/// Hears how far something is: what, how many of it are done, how many there are.
pub type Listener = Rc<dyn Fn(Preparing, usize, usize)>;

/// Hears how many are done, and how many there are.
pub type Count = Rc<dyn Fn(usize, usize)>;

/// Makes pipelines in the background, as a browser can and wgpu does not. The first function asks the device for some, whose answers
/// are thrown away; once the future is done, the device has them at hand when it is asked again.
#[cfg(target_arch = "wasm32")]
pub type Background = Rc<dyn Fn(&dyn Fn(), Count) -> Pin<Box<dyn Future<Output = ()>>>>;

impl Gpu {
    /// From now on `listener` hears of all that is prepared on this device.
    pub fn listen(&self, listener: Listener) {
        self.inner.listener.replace(Some(listener));
    }

    /// Tells how far something is.
    pub fn tell(&self, what: Preparing, done: usize, total: usize) {
        let listener = self.inner.listener.borrow().clone();
        if let Some(listener) = listener {
            listener(what, done, total);
        }
    }

    /// Makes the pipelines of the kernels that `calls` calls, as far as they are not there yet, and tells how far that is; nothing is
    /// computed or takes other memory.
    ///
    /// # Errors
    /// A lost device, or a kernel that cannot be compiled.
    pub async fn prepare<T>(&self, calls: impl Fn() -> T) -> Result<()> {
        if self.inner.count_only {
            return Ok(());
        }
        let (calls, gpu) = (self.rehearse(&|| drop(calls())), self.clone());
        self.make_all(calls, Rc::new(move |done, total| gpu.tell(Preparing::Kernels, done, total))).await
    }

    /// The same, and tells nothing.
    ///
    /// # Errors
    /// As for [`prepare`](Self::prepare).
    pub async fn prepare_silently<T>(&self, calls: impl Fn() -> T) -> Result<()> {
        let calls = self.rehearse(&|| drop(calls()));
        self.make_all(calls, Rc::new(|_, _| ())).await
    }

    async fn make_all(&self, calls: Vec<Call>, count: Count) -> Result<()> {
        let mut open: Vec<&Call> = Vec::new();
        for call in &calls {
            let known = self.inner.pipelines.borrow().contains_key(&call.source);
            if !known && !open.iter().any(|other| other.source == call.source) {
                open.push(call);
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        count(0, open.len());
        self.make(open, count).await
    }

    /// On threads, as many as there are processors.
    #[cfg(not(target_arch = "wasm32"))]
    async fn make(&self, calls: Vec<&Call>, count: Count) -> Result<()> {
        let device = &self.inner.device;
        let layouts: Vec<_> = calls.iter().map(|call| self.layout(call)).collect();
        let texts = calls.iter().map(|call| (call.name, call.source.as_str()));
        let wanted: Vec<_> = texts.zip(layouts.iter().map(|layout| &layout.pipeline)).collect();
        let next = AtomicUsize::new(0);
        let (done, made) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(wanted.len()) {
                let (done, next, wanted) = (done.clone(), &next, &wanted);
                scope.spawn(move || {
                    while let Some(&((name, source), layout)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let made = pipeline(device, name, &module(device, name, source), layout);
                        // Whoever listens does so until all are done.
                        let _ = done.send((source, made));
                    }
                });
            }
            drop(done);
            for (i, (source, pipeline)) in made.iter().enumerate() {
                self.inner.pipelines.borrow_mut().insert(source.to_string(), Rc::new(pipeline));
                count(i + 1, wanted.len());
            }
        });
        self.check().await
    }

    /// In the background, if there is one; else one after the other.
    #[cfg(target_arch = "wasm32")]
    async fn make(&self, calls: Vec<&Call>, count: Count) -> Result<()> {
        let Some(background) = self.inner.background.borrow().clone() else {
            for (i, call) in calls.iter().enumerate() {
                self.pipeline(call, &self.layout(call));
                self.finish().await?;
                count(i + 1, calls.len());
            }
            return Ok(());
        };
        let device = &self.inner.device;
        // By its module a pipeline is known again.
        let wanted = calls.iter().map(|call| (*call, module(device, call.name, &call.source), self.layout(call)));
        let wanted: Vec<_> = wanted.collect();
        let ask = || wanted.iter().map(|(call, module, layout)| pipeline(device, call.name, module, &layout.pipeline));
        background(&|| ask().for_each(drop), count).await;
        for (call, pipeline) in calls.iter().zip(ask()) {
            self.inner.pipelines.borrow_mut().insert(call.source.clone(), Rc::new(pipeline));
        }
        self.check().await
    }

    /// From now on pipelines are made there.
    #[cfg(target_arch = "wasm32")]
    pub fn set_background(&self, background: Background) {
        self.inner.background.replace(Some(background));
    }

    /// The device as the browser has it.
    #[cfg(target_arch = "wasm32")]
    pub fn raw_device(&self) -> Option<&wgpu::webgpu::GpuDevice> {
        self.inner.device.as_webgpu()
    }
}
