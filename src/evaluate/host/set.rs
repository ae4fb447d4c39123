//! All plugins of a service, compiled once.

use super::abi::Manifest;
use super::component::Compiled;
use super::config::{PluginConfig, PluginLimits};
use super::error::{Failure, HostError, InvalidAnswer};
use super::ground::Ground;
use super::guest::{self, Guest};
use super::memory_pool::MemoryPool;
use super::plugin::{Plugin, PluginInfo};
use super::refused::{RefusedComponent, RefusedPlugin};
use super::running::{Running, TICK};
use super::settings::Settings;
use super::tenant::WasmPlugins;
use crate::evaluate::tenant_plugins::TenantPlugins;
use crate::workers;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vitals_core::ids::TenantId;
use vitals_core::registry::Registry;
use wasmtime::component::Linker;
use wasmtime::{Cache, CacheConfig, Config, Engine};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// All plugins of a service.
pub struct PluginSet {
    plugins: Vec<Arc<Plugin>>,
    refused: Vec<RefusedPlugin>,
    /// The names of plugins whose state is not kept.
    disabled: Arc<[String]>,
    limits: Arc<PluginLimits>,
}

/// Where a component comes from.
struct Candidate {
    label: String,
    path: Option<PathBuf>,
    bytes: Vec<u8>,
}

/// What compiles and starts components.
struct Compiler {
    engine: Engine,
    linker: Linker<Guest>,
    limits: Arc<PluginLimits>,
    memory: Arc<MemoryPool>,
}

impl Compiler {
    /// One for so many plugins.
    fn new(limits: &PluginLimits, cache_dir: Option<&Path>, plugins: usize) -> Result<Self, HostError> {
        let engine = engine(cache_dir)?;
        let linker = guest::linker(&engine).map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let memory = MemoryPool::new(limits.total_memory_mb.saturating_mul(1 << 20), plugins);
        Ok(Self { engine, linker, limits: Arc::new(limits.clone()), memory })
    }
}

impl Candidate {
    /// Compiles it, and asks it who it is.
    fn compile(&self, compiler: &Compiler, number: usize) -> Result<Compiled, HostError> {
        let memory = (compiler.memory.clone(), number);
        let mut compiled = Compiled::new(&compiler.engine, &compiler.linker, memory, &self.label, &self.bytes)?;
        let manifest = Running::describe_unconfigured(&compiled, &compiler.limits)
            .map_err(|failure| HostError::Start { plugin: self.label.clone(), failure })?;
        compiled.manifest = Some(manifest);
        Ok(compiled)
    }

    /// `embedded`, or the file.
    fn source(&self) -> String {
        self.path.as_ref().map_or_else(|| "embedded".to_owned(), |path| path.display().to_string())
    }

    /// This one refused, when nothing is known but its place.
    fn refused(&self, configs: &[PluginConfig], error: HostError) -> RefusedPlugin {
        let of_path = configs.iter().find(|config| config.path.is_some() && config.path == self.path);
        let name = of_path.map_or_else(|| self.label.clone(), |config| config.name.clone());
        RefusedPlugin::unknown(name, self.source(), error)
    }
}

impl PluginSet {
    /// Compiles the embedded plugins, those of `folder` (files that end in `.wasm`) and those with a path in `plugins`, and starts each
    /// once with its configuration, so that a wrong one is told now. Compiled code is kept in `cache_dir`, which is made and must
    /// be writable by this service only: what is there is executed. Without it nothing is kept.
    ///
    /// # Errors
    /// When plugins cannot be used, or the configuration names one that is not there: all of it.
    pub fn load(
        limits: &PluginLimits,
        folder: Option<&Path>,
        plugins: &[PluginConfig],
        cache_dir: Option<&Path>,
    ) -> Result<Self, HostError> {
        let mut set = Self::load_usable(limits, folder, plugins, cache_dir)?;
        match HostError::of(set.refused.drain(..).map(|refused| refused.error).collect()) {
            Some(error) => Err(error),
            None => Ok(set),
        }
    }

    /// As [`PluginSet::load`], without the plugins that cannot be used: [`PluginSet::list`] has them with the reason.
    ///
    /// # Errors
    /// When no plugin at all can be run here.
    pub fn load_usable(
        limits: &PluginLimits,
        folder: Option<&Path>,
        plugins: &[PluginConfig],
        cache_dir: Option<&Path>,
    ) -> Result<Self, HostError> {
        // A guest that prints is served by a small runtime of its own, which must not be started inside of another one.
        apart(|| Self::load_here(limits, folder, plugins, cache_dir))
    }

    fn load_here(
        limits: &PluginLimits,
        folder: Option<&Path>,
        configs: &[PluginConfig],
        cache_dir: Option<&Path>,
    ) -> Result<Self, HostError> {
        let (candidates, refused) = candidates(folder, configs);
        let compiler = Compiler::new(limits, cache_dir, candidates.len())?;
        let disabled = configs.iter().filter(|config| config.disabled).map(|config| config.name.clone()).collect();
        let mut set = Self { plugins: Vec::new(), refused, disabled, limits: compiler.limits.clone() };
        let mut seen = Vec::new();
        for (number, candidate) in candidates.into_iter().enumerate() {
            match candidate.compile(&compiler, number) {
                Ok(compiled) => {
                    seen.extend(compiled.manifest.as_ref().map(|manifest| manifest.name.clone()));
                    set.add(compiled, &candidate, configs);
                }
                Err(error) => set.refused.push(candidate.refused(configs, error)),
            }
        }
        // One with a path was read, or it was said why not.
        let lost =
            configs.iter().filter(|config| !config.disabled && config.path.is_none() && !seen.contains(&config.name));
        let unknown = |lost: &PluginConfig| {
            let error = HostError::Unknown { name: lost.name.clone(), known: seen.join(", ") };
            RefusedPlugin::unknown(lost.name.clone(), String::new(), error)
        };
        set.refused.extend(lost.map(unknown));
        Ok(set)
    }

    /// Starts a compiled plugin once with its configuration, and adds it if it does start.
    fn add(&mut self, compiled: Compiled, candidate: &Candidate, configs: &[PluginConfig]) {
        let said = |of: fn(&Manifest) -> &String| compiled.manifest.as_ref().map(of).cloned().unwrap_or_default();
        let name = said(|manifest| &manifest.name);
        let component = RefusedComponent {
            kind: compiled.kind,
            version: said(|manifest| &manifest.version),
            digest: compiled.digest.clone(),
        };
        let plugin = match configured(candidate, &name, configs) {
            Err(error) => Err(error),
            Ok(Some(config)) if config.disabled => return,
            Ok(_) if self.plugins.iter().any(|plugin| plugin.evidence.plugin == name) => {
                Err(HostError::Twice(name.clone()))
            }
            Ok(config) => started(compiled, &config.cloned().unwrap_or_default(), candidate, &self.limits),
        };
        match plugin {
            Ok(plugin) => self.plugins.push(Arc::new(plugin)),
            Err(error) => {
                self.refused.push(RefusedPlugin {
                    name,
                    source: candidate.source(),
                    component: Some(component),
                    error,
                });
            }
        }
    }

    /// Instances of all plugins for one tenant on one shard; they are started at their first use.
    #[must_use]
    pub fn instances(&self, tenant: &TenantId, registry: &Arc<Registry>) -> Box<dyn TenantPlugins + Send> {
        let (disabled, limits) = (self.disabled.clone(), self.limits.clone());
        Box::new(WasmPlugins::new(tenant.clone(), &self.plugins, disabled, limits, registry.clone()))
    }

    /// All plugins with what became of them so far; then those that cannot be used.
    #[must_use]
    pub fn list(&self) -> Vec<PluginInfo> {
        let in_force = self.plugins.iter().map(|plugin| plugin.info());
        in_force.chain(self.refused.iter().map(RefusedPlugin::info)).collect()
    }

    /// What the component in `path` is, after it was compiled and started with `config` (a JSON object) under `limits`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn check(path: &Path, config: &str, limits: &PluginLimits) -> Result<PluginInfo, HostError> {
        apart(|| {
            let compiler = Compiler::new(limits, None, 1)?;
            let candidate =
                Candidate { label: path.display().to_string(), bytes: read(path)?, path: Some(path.to_owned()) };
            let compiled = candidate.compile(&compiler, 0)?;
            let object = serde_json::from_str(config).map_err(|error| {
                let failure = Failure::Configuration(format!("it is no JSON object: {error}"));
                HostError::Start { plugin: candidate.label.clone(), failure }
            })?;
            let config = PluginConfig { config: object, ..PluginConfig::default() };
            Ok(started(compiled, &config, &candidate, &compiler.limits)?.info())
        })
    }
}

/// The embedded plugins, those of `folder`, and those with a path in `configs`; and what cannot be read.
fn candidates(folder: Option<&Path>, configs: &[PluginConfig]) -> (Vec<Candidate>, Vec<RefusedPlugin>) {
    let embedded = EMBEDDED.iter();
    let mut found: Vec<Candidate> = embedded
        .map(|(name, bytes)| Candidate { label: (*name).to_owned(), path: None, bytes: bytes.to_vec() })
        .collect();
    let mut refused = Vec::new();
    let in_folder = in_folder(folder).unwrap_or_else(|error| {
        let path = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
        refused.push(RefusedPlugin::unknown(path.clone(), path, error));
        Vec::new()
    });
    let named = configs.iter().filter(|config| !config.disabled).filter_map(|config| config.path.clone());
    for path in in_folder.into_iter().chain(named) {
        let mut candidate =
            Candidate { label: path.display().to_string(), bytes: Vec::new(), path: Some(path.clone()) };
        match read(&path) {
            Ok(bytes) => {
                candidate.bytes = bytes;
                found.push(candidate);
            }
            Err(error) => refused.push(candidate.refused(configs, error)),
        }
    }
    (found, refused)
}

/// What is configured of a plugin that calls itself `name`.
fn configured<'a>(
    candidate: &Candidate,
    name: &str,
    configs: &'a [PluginConfig],
) -> Result<Option<&'a PluginConfig>, HostError> {
    let by_path = configs.iter().find(|config| config.path.is_some() && config.path == candidate.path);
    match (by_path, &candidate.path) {
        (Some(config), Some(path)) if config.name != name => {
            Err(HostError::Name { path: path.clone(), found: name.to_owned(), expected: config.name.clone() })
        }
        (Some(config), _) => Ok(Some(config)),
        (None, _) => Ok(configs.iter().find(|config| config.path.is_none() && config.name == name)),
    }
}

/// The plugin, after an instance of it was started and dropped.
fn started(
    compiled: Compiled,
    config: &PluginConfig,
    candidate: &Candidate,
    limits: &Arc<PluginLimits>,
) -> Result<Plugin, HostError> {
    let wrong = |failure: Failure| HostError::Start { plugin: candidate.label.clone(), failure };
    let (manifest, schema, settings) = configured_manifest(&compiled, config, limits).map_err(wrong)?;
    Ok(Plugin::new(compiled, manifest, schema, settings, config, candidate.source()))
}

/// What a plugin says of itself with this configuration; its schema; the configuration, which fits it.
fn configured_manifest(
    compiled: &Compiled,
    config: &PluginConfig,
    limits: &Arc<PluginLimits>,
) -> Result<(Manifest, serde_json::Value, Settings), Failure> {
    let Some(first) = &compiled.manifest else {
        return Err(Failure::Contract("it was not asked who it is".to_owned()));
    };
    let schema = serde_json::from_str(&first.config_schema)
        .map_err(|error| Failure::Contract(format!("its configuration schema is no JSON: {error}")))?;
    let settings = Settings::new(config, &schema)?;
    let mut running = Running::start(compiled, settings.text(), limits, &Ground::default())?;
    let manifest = running.describe(compiled.kind)?;
    let same = |manifest: &Manifest| {
        (manifest.name.clone(), manifest.version.clone(), manifest.config_schema.clone(), manifest.state_version)
    };
    if same(&manifest) != same(first) {
        return Err(InvalidAnswer::Changed.into());
    }
    Ok((manifest, schema, settings))
}

/// An engine whose epoch goes on by one each [`TICK`], for as long as something uses it.
fn engine(cache_dir: Option<&Path>) -> Result<Engine, HostError> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    if let Some(dir) = cache_dir {
        config.cache(Some(cache(dir)?));
    }
    let engine = Engine::new(&config).map_err(|error| HostError::Engine(format!("{error:#}")))?;
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    workers::spawn("plugin-clock", tick).map_err(|error| HostError::Engine(error.to_string()))?;
    Ok(engine)
}

fn cache(dir: &Path) -> Result<Cache, HostError> {
    let wrong = |reason: String| HostError::Cache { path: dir.to_owned(), reason };
    fs::create_dir_all(dir).map_err(|error| wrong(error.to_string()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(|error| wrong(error.to_string()))?;
    }
    let absolute = fs::canonicalize(dir).map_err(|error| wrong(error.to_string()))?;
    let mut config = CacheConfig::new();
    config.with_directory(absolute);
    Cache::new(config).map_err(|error| wrong(format!("{error:#}")))
}

fn in_folder(folder: Option<&Path>) -> Result<Vec<PathBuf>, HostError> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let wrong = |error: std::io::Error| HostError::Read { path: folder.to_owned(), reason: error.to_string() };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|end| end == "wasm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, HostError> {
    fs::read(path).map_err(|error| HostError::Read { path: path.to_owned(), reason: error.to_string() })
}

/// Runs `f` on a thread of its own.
fn apart<T: Send>(f: impl FnOnce() -> Result<T, HostError> + Send) -> Result<T, HostError> {
    let workers = workers::current();
    let f = || match workers {
        Some(workers) => workers.within(f),
        None => f(),
    };
    std::thread::scope(|scope| {
        scope.spawn(f).join().unwrap_or_else(|_| Err(HostError::Engine("loading plugins panicked".to_owned())))
    })
}
