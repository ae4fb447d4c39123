//! What an instance can reach, which is nothing, and its limits.

use super::config::PluginLimits;
use super::cpu_time;
use super::error::Limit;
use super::ground::{self, Ground};
use super::memory_pool::MemoryLease;
use super::plugin_log::{self, LogRoom};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime::{Engine, ResourceLimiter};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The host's side of one instance.
pub(super) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) caps: Caps,
    pub(super) log: Log,
    pub(super) call: CallClock,
    /// The plugin's name, for what it logs.
    pub(super) name: String,
    pub(super) ground: Ground,
    pub(super) log_room: LogRoom,
}

/// When the call under way began, by the CPU time of its thread, and how long it may take.
#[derive(Default)]
pub(super) struct CallClock {
    began: Duration,
    deadline: Duration,
}

impl CallClock {
    /// Begins to measure a call.
    pub(super) fn start(&mut self, deadline: Duration) {
        *self = Self { began: cpu_time::of_thread(), deadline };
    }

    /// The time that is left; `None` when there is none.
    pub(super) fn left(&self) -> Option<Duration> {
        let used = cpu_time::of_thread().saturating_sub(self.began);
        self.deadline.checked_sub(used).filter(|left| !left.is_zero())
    }
}

impl Guest {
    pub(super) fn new(name: String, limits: &PluginLimits, lease: MemoryLease, ground: &Ground) -> Self {
        let log = Log { text: Arc::default(), limit: limits.log_bytes };
        // No file, no argument, no variable, no address, no name: that is the builder's own default, said again. Its clocks
        // are not: they would tell the time.
        let wasi = WasiCtx::builder()
            .stdout(log.clone())
            .stderr(log.clone())
            .wall_clock(ground.clock())
            .monotonic_clock(ground.clock())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(|_, _| Box::pin(async { false }))
            .build();
        let memory = limits.memory_mb.saturating_mul(1 << 20);
        let caps = Caps { memory, table_elements: limits.table_elements, lease };
        Self {
            wasi,
            table: ResourceTable::new(),
            caps,
            log,
            call: CallClock::default(),
            name,
            ground: ground.clone(),
            log_room: LogRoom::default(),
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// WASI, as far as Rust's standard library and others need it to start, without the means to wait: a plugin that waits in the
/// host would not be seen by its deadline.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    linker.allow_shadowing(true);
    let mut poll = linker.instance("wasi:io/poll@0.2.12")?;
    poll.func_wrap("[method]pollable.block", |_, (_,): (Resource<DynPollable>,)| -> wasmtime::Result<()> {
        Err(Limit::Wait.into())
    })?;
    poll.func_wrap("poll", |_, (_,): (Vec<Resource<DynPollable>>,)| -> wasmtime::Result<(Vec<u32>,)> {
        Err(Limit::Wait.into())
    })?;
    ground::add_random(&mut linker)?;
    linker.allow_shadowing(false);
    plugin_log::add_log(&mut linker)?;
    Ok(linker)
}

/// Memory and tables. Going over them is a trap, so that the cause is known.
pub(super) struct Caps {
    memory: usize,
    table_elements: usize,
    lease: MemoryLease,
}

impl ResourceLimiter for Caps {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.memory {
            return Err(Limit::Memory { wanted: desired, limit: self.memory }.into());
        }
        let wanted = desired.saturating_sub(current);
        if !self.lease.grow(wanted) {
            return Err(Limit::TotalMemory { wanted, limit: self.lease.total() }.into());
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.table_elements {
            return Err(Limit::Table { wanted: desired, limit: self.table_elements }.into());
        }
        Ok(true)
    }

    // A component made of a few modules (the plugin, an adapter) has so many; each memory may be as large as the limit.
    fn instances(&self) -> usize {
        32
    }

    fn tables(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        1
    }
}

/// What a plugin prints during one call.
#[derive(Clone)]
pub(super) struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl Log {
    /// What was printed since the last time.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.text.lock())
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Log {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    // Only the third preview asks for this, which no linker here offers.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut text = self.text.lock();
        if text.len() + bytes.len() > self.limit {
            return Err(StreamError::Trap(Limit::Log(self.limit).into()));
        }
        text.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(4096)
    }
}
