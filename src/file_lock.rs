//! A lock beside a file that only one process may use.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// Why a file could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum FileLockError {
    /// Another process, or another part of this one, has it.
    #[error("{path} is in use by another process; stop that one or choose another data folder", path = path.display())]
    InUse {
        /// The file that was to be locked.
        path: PathBuf,
    },
    /// The lock file cannot be opened or locked.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Keeps other processes from using a file, until it is dropped. The operating system releases it when the process ends, however
/// it ends.
#[derive(Debug)]
pub struct FileLock {
    _lock_file: File,
}

impl FileLock {
    /// Locks the file at `path` by one of the same name with `.lock` behind it.
    ///
    /// # Errors
    /// When it is locked already, or the lock file cannot be used.
    pub fn acquire(path: &Path) -> Result<Self, FileLockError> {
        let lock_path = with_ending(path, ".lock");
        let io = |source| FileLockError::Io { path: lock_path.clone(), source };
        let lock_file = OpenOptions::new().create(true).write(true).truncate(false).open(&lock_path).map_err(io)?;
        match lock_file.try_lock() {
            Ok(()) => Ok(Self { _lock_file: lock_file }),
            Err(TryLockError::WouldBlock) => Err(FileLockError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

/// The path with `ending` behind its name.
#[must_use]
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let lock = FileLock::acquire(&path).unwrap();
        let refusal = FileLock::acquire(&path).unwrap_err();
        assert!(matches!(&refusal, FileLockError::InUse { path: named } if *named == path), "{refusal}");
        FileLock::acquire(&folder.path().join("store.db")).unwrap();
        drop(lock);
        FileLock::acquire(&path).unwrap();
        assert!(folder.path().join("log.db.lock").exists());
    }

    #[test]
    fn a_lock_file_that_cannot_be_made_is_named() {
        let refusal = FileLock::acquire(Path::new("/no/such/folder/log.db")).unwrap_err();
        assert!(matches!(&refusal, FileLockError::Io { .. }), "{refusal}");
        assert!(refusal.to_string().starts_with("/no/such/folder/log.db.lock: "), "{refusal}");
    }
}
