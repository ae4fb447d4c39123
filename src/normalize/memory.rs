//! The bound on the memory that a request may become: a few bytes of a request can be a row, and a row a new series.

/// A row's series, time and value, and that of another start.
pub const ROW_BYTES: usize = 32;
/// A new series without its names and attributes: its description, its place in the maps, and the row that waits for it.
pub const NEW_SERIES_BYTES: usize = 640;
/// Asked for at a time, at least.
const STEP: usize = 16 << 10;

/// The memory of one request.
pub struct Memory<'m> {
    may_use: &'m mut dyn FnMut(usize) -> bool,
    used: usize,
    allowed: usize,
    used_up: bool,
}

impl<'m> Memory<'m> {
    /// Memory as far as `may_use` allows it.
    pub fn new(may_use: &'m mut dyn FnMut(usize) -> bool) -> Self {
        Self { may_use, used: 0, allowed: 0, used_up: false }
    }

    /// Counts `bytes` that are about to be allocated; false when there are none left, now or before.
    #[inline]
    pub fn take(&mut self, bytes: usize) -> bool {
        self.used = self.used.saturating_add(bytes);
        self.used <= self.allowed || self.ask()
    }

    #[cold]
    fn ask(&mut self) -> bool {
        if self.used_up {
            return false;
        }
        // In growing steps, as the columns grow.
        let wanted = self.used.saturating_add(self.used / 2).max(STEP);
        if (self.may_use)(wanted) {
            self.allowed = wanted;
            return true;
        }
        self.used_up = true;
        self.allowed = 0;
        false
    }

    /// Whether memory was asked for that there was not.
    pub fn is_used_up(&self) -> bool {
        self.used_up
    }
}
