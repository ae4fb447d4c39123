//! What can go wrong with plugins.

use std::path::PathBuf;

/// Why a plugin cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine cannot be set up.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// The folder of compiled code cannot be used.
    #[error("the folder {path} for compiled plugins cannot be used: {reason}")]
    Cache {
        /// Which folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file cannot be read.
    #[error("the plugin {path} cannot be read: {reason}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Not a component, or one that does not compile.
    #[error("{plugin} is not a WebAssembly component that can be used here (build it for wasm32-wasip2): {reason}")]
    Compile {
        /// The plugin's name or file.
        plugin: String,
        /// What the compiler says.
        reason: String,
    },
    /// It exports none of the four worlds of the contract.
    #[error(
        "{plugin} exports none of the plugin worlds of vitals:plugin@0.2.0 (metric-deriver, outlier-detector, health-scorer, sla-evaluator)"
    )]
    NoWorld {
        /// The plugin's name or file.
        plugin: String,
    },
    /// It was built for another version of the contract.
    #[error(
        "{plugin} was built for version {found} of the plugin contract, this service has version {served}: build it anew with wit/ of this version"
    )]
    Version {
        /// The plugin's name or file.
        plugin: String,
        /// The version that it was built for.
        found: String,
        /// The version that is served.
        served: String,
    },
    /// It wants something that the host does not give.
    #[error("{plugin} imports something that a plugin is not given: {reason}")]
    Imports {
        /// The plugin's name or file.
        plugin: String,
        /// What.
        reason: String,
    },
    /// It cannot be started with its configuration.
    #[error("{plugin} does not start: {failure}")]
    Start {
        /// The plugin's name or file.
        plugin: String,
        /// Why not.
        failure: Failure,
    },
    /// Its name is not the one in the configuration.
    #[error("the plugin in {path} is called {found}, the configuration calls it {expected}")]
    Name {
        /// Which file.
        path: PathBuf,
        /// What the plugin says.
        found: String,
        /// What the configuration says.
        expected: String,
    },
    /// Two plugins have one name.
    #[error("there are two plugins called {0}: give one another name, or disable one")]
    Twice(String),
    /// The configuration names a plugin that is not there.
    #[error("there is no plugin called {name}; known are {known}. Give it a `path`")]
    Unknown {
        /// The name.
        name: String,
        /// The plugins that are there.
        known: String,
    },
    /// More than one thing.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<HostError>),
}

impl HostError {
    /// All that was found as one error.
    pub(super) fn of(mut found: Vec<Self>) -> Option<Self> {
        if found.len() > 1 { Some(Self::Several(found)) } else { found.pop() }
    }

    /// Each thing by itself.
    #[must_use]
    pub fn each(self) -> Vec<Self> {
        if let Self::Several(all) = self { all } else { vec![self] }
    }
}

/// Why a plugin lost its turn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The call took too long.
    #[error("the call took longer than {0} ms of CPU time")]
    Deadline(u64),
    /// It went over a limit.
    #[error(transparent)]
    Limit(#[from] Limit),
    /// It used more of the CPU than it may.
    #[error("the plugin used {percent} % of a CPU, its budget is {budget} % (all plugins together: {total} %)")]
    CpuBudget {
        /// What it used.
        percent: u32,
        /// What it may use.
        budget: f64,
        /// What all may use together.
        total: f64,
    },
    /// It trapped; a panic in the plugin does that.
    #[error("the plugin trapped: {message}{}", at(.functions))]
    Trap {
        /// What the plugin said last, or what the trap is.
        message: String,
        /// The functions that were under way, the innermost first.
        functions: Vec<String>,
    },
    /// It called functions within functions until its stack was full.
    #[error("the plugin's recursion is too deep for its stack{}", at(.functions))]
    Recursion {
        /// The functions that were under way, the innermost first.
        functions: Vec<String>,
    },
    /// Its functions do not have the types of the contract.
    #[error("the plugin does not keep the contract: {0}")]
    Contract(String),
    /// It answered something impossible.
    #[error("the plugin's answer is impossible: {0}")]
    InvalidAnswer(InvalidAnswer),
    /// It does not accept its configuration.
    #[error("the plugin refuses its configuration: {0}")]
    Configuration(String),
}

/// A backtrace as text, if there is one.
fn at(functions: &[String]) -> String {
    if functions.is_empty() { String::new() } else { format!(" (in {})", functions.join(", called by ")) }
}

/// A limit that a plugin went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// More memory.
    #[error("the plugin wants {wanted} bytes of memory, its limit is {limit}")]
    Memory {
        /// How many bytes it would have had.
        wanted: usize,
        /// How many it may have.
        limit: usize,
    },
    /// More memory than all plugins may have together.
    #[error("the plugin wants {wanted} more bytes of memory, and all plugins together may have {limit}")]
    TotalMemory {
        /// How many bytes more it would have had.
        wanted: usize,
        /// How many all instances may have.
        limit: usize,
    },
    /// A larger state.
    #[error("the plugin's state is larger than {0} bytes; the last good one is kept")]
    State(usize),
    /// Larger tables.
    #[error("the plugin wants a table of {wanted} elements, its limit is {limit}")]
    Table {
        /// How many elements it would have had.
        wanted: usize,
        /// How many it may have.
        limit: usize,
    },
    /// More printed text.
    #[error("the plugin printed more than {0} bytes in one call")]
    Log(usize),
    /// A larger answer.
    #[error("the plugin's answer is larger than {0} bytes")]
    Output(usize),
    /// It asks for too many random bytes.
    #[error("the plugin asks for more than a megabyte of random bytes")]
    Random,
    /// It wants to wait.
    #[error("the plugin wants to wait, which a plugin must not")]
    Wait,
}

/// Something impossible in an answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidAnswer {
    /// Columns have different lengths.
    #[error("columns of {0} and {1} rows")]
    Lengths(usize, usize),
    /// A row that was not in the batch.
    #[error("row {row} of a batch of {rows}")]
    Row {
        /// The row.
        row: u32,
        /// How many there are.
        rows: usize,
    },
    /// Rows do not come in order.
    #[error("row {0} comes twice or out of order")]
    Order(u32),
    /// A score out of its range.
    #[error("a score of {0}")]
    Score(f64),
    /// Bounds that are none.
    #[error("bounds of {0} and {1}")]
    Bounds(f64, f64),
    /// A number that may not be NaN.
    #[error("a value that is no number")]
    Value,
    /// A derived series that was not declared.
    #[error("derived series {0} was never declared")]
    Output(u32),
    /// A series that is not open.
    #[error("series {0} is named, which is not open")]
    Source(u32),
    /// A derived series without sources.
    #[error("a derived series that is made from nothing")]
    NoSource,
    /// Sources of several agents.
    #[error("the sources of a derived series belong to more than one agent")]
    Agents,
    /// A time that does not rise, or lies ahead.
    #[error("a sample at {time}, which is not after {after} or is after {newest}")]
    Time {
        /// Its time.
        time: i64,
        /// The time of the sample before it.
        after: i64,
        /// The newest time that is possible.
        newest: i64,
    },
    /// Something in a manifest that cannot be.
    #[error("the manifest has {0}")]
    Manifest(String),
    /// A manifest that says something else than before.
    #[error("the manifest's name, version, schema or state version is another one after `configure`")]
    Changed,
    /// A name or a unit that is too long or empty.
    #[error("a name or unit of {0} bytes")]
    Name(usize),
    /// More derived series than allowed.
    #[error("more than {0} derived series of one series")]
    Outputs(usize),
    /// A name that the contract does not allow.
    #[error("the name {0:?} or the version: a name has 1 to 64 lower-case letters, digits and hyphens")]
    Metadata(String),
}

impl From<InvalidAnswer> for Failure {
    fn from(lie: InvalidAnswer) -> Self {
        Self::InvalidAnswer(lie)
    }
}
