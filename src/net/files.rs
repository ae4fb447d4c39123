//! The limit on files that the process may have open, and how many of them the connections of each listener get.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files kept for everything but connections: the store, the log, plugins, exports, notifications.
const RESERVED: usize = 256;

/// Most connections of each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of OTLP/gRPC and of OTLP/HTTP, each.
    pub otlp: usize,
    /// Of REST, live streams included.
    pub rest: usize,
}

impl ConnectionLimits {
    /// The files that the process may have open with so many connections.
    fn files(self) -> usize {
        RESERVED.saturating_add(self.otlp.saturating_mul(2)).saturating_add(self.rest)
    }

    /// As many of these connections as fit into `files` open files. A quarter of the files stays with the process, and
    /// REST with its probes keeps a quarter of the connections, so that a flood of OTLP connections cannot take them.
    fn fitted(self, files: usize) -> Self {
        if self.files() <= files {
            return self;
        }
        let connections = files - RESERVED.min(files / 4);
        let rest = self.rest.min((connections / 4).max(1));
        let otlp = self.otlp.min(((connections - rest.min(connections)) / 2).max(1));
        Self { otlp, rest }
    }
}

/// Raises the soft limit on open files to the hard one. Gives the limits on connections that fit into it: those that are
/// `wanted`, or lower ones, with a warning.
pub fn raise_open_file_limit(wanted: ConnectionLimits) -> ConnectionLimits {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        // A refusal leaves the limit as it was, which is looked at below.
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum }) {
            tracing::warn!(%error, "the limit on open files could not be raised");
        }
    }
    let limit =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let fitted = wanted.fitted(limit);
    if fitted == wanted {
        tracing::debug!(limit, needed = wanted.files(), "the limit on open files");
    } else {
        tracing::warn!(
            limit,
            needed = wanted.files(),
            otlp = fitted.otlp,
            rest = fitted.rest,
            "the limit on open files (ulimit -n, LimitNOFILE) is too low for the configured connections; \
             each listener takes fewer of them"
        );
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let lower = hard.map_or(1 << 16, |hard| hard - 1);
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), maximum: hard }).unwrap();
        raise_open_file_limit(ConnectionLimits { otlp: 10, rest: 10 });
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }

    #[test]
    fn few_files_leave_a_share_for_rest_and_for_the_process() {
        let wanted = ConnectionLimits { otlp: 1_024, rest: 1_024 };
        assert_eq!(wanted.fitted(usize::MAX), wanted);
        assert_eq!(wanted.fitted(wanted.files()), wanted);
        assert_eq!(wanted.fitted(1_024), ConnectionLimits { otlp: 288, rest: 192 });
        for files in 0..wanted.files() {
            let fitted = wanted.fitted(files);
            assert!(fitted.otlp >= 1 && fitted.rest >= 1, "{files}: {fitted:?}");
            // One connection of each listener is needed, however few the files.
            if files >= 64 {
                let connections = 2 * fitted.otlp + fitted.rest;
                assert!(connections + RESERVED.min(files / 4) <= files, "{files}: {fitted:?}");
                assert!(fitted.rest * 5 >= connections, "{files}: {fitted:?}");
            }
        }
        // Who wants few connections has them.
        let few = ConnectionLimits { otlp: 10, rest: 1_024 };
        assert_eq!(few.fitted(1_024), ConnectionLimits { otlp: 10, rest: 192 });
    }
}
