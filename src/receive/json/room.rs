//! The bounds on what reading JSON may write, which can be more than the JSON has: a number of two characters becomes eight bytes.

use super::NotOtlpJson;
use crate::receive::compression::MayUse;

/// Written without asking: a key, a number, and the lengths of all messages that are open.
const SLACK: usize = 1024;
/// The least that is allocated at a time.
const LEAST_STEP: usize = 4 << 10;

/// Room for the bytes that are written.
pub struct Room<'m> {
    limit: usize,
    /// In use beside the bytes that are written.
    besides: usize,
    may_use: &'m mut MayUse<'m>,
    used_up: Option<NotOtlpJson>,
}

impl<'m> Room<'m> {
    /// Room for `limit` bytes as far as `may_use` allows, which is told of `besides` bytes more.
    pub fn new(limit: usize, besides: usize, may_use: &'m mut MayUse<'m>) -> Self {
        Self { limit, besides, may_use, used_up: None }
    }

    /// Whether there was no room for something, so that nothing more need be read.
    pub fn is_used_up(&self) -> bool {
        self.used_up.is_some()
    }

    /// Makes room for `bytes` more in `out`; false when there is none.
    #[inline]
    pub fn make(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool {
        let needed = out.len().saturating_add(bytes).saturating_add(SLACK);
        needed <= out.capacity() && self.used_up.is_none() || self.grow(out, needed)
    }

    #[cold]
    fn grow(&mut self, out: &mut Vec<u8>, needed: usize) -> bool {
        // What is written without asking may be past the limit, and is refused at the end.
        let most = self.limit.saturating_add(2 * SLACK);
        let room = out.capacity().saturating_mul(2).max(LEAST_STEP).min(most).max(needed);
        if self.used_up.is_some() {
            return false;
        }
        if room > most {
            self.used_up = Some(NotOtlpJson::TooLarge);
            return false;
        }
        if !(self.may_use)(room.saturating_add(self.besides)) {
            self.used_up = Some(NotOtlpJson::NoMemory);
            return false;
        }
        out.reserve_exact(room - out.len());
        true
    }

    /// Whether all of the `written` bytes had room.
    ///
    /// # Errors
    /// Why they had not.
    pub fn outcome(self, written: usize) -> Result<(), NotOtlpJson> {
        match self.used_up {
            Some(why) => Err(why),
            None if written > self.limit => Err(NotOtlpJson::TooLarge),
            None => Ok(()),
        }
    }
}
