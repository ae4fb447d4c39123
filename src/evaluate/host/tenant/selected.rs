//! Which plugins select each series, as sets of bits: a batch of which a plugin selects nothing costs it next to nothing.

/// For each series a set of plugins.
pub(super) struct Selected {
    /// Words of one set.
    words: usize,
    sets: Vec<u64>,
}

impl Selected {
    /// No series so far, for so many plugins.
    pub(super) fn new(plugins: usize) -> Self {
        Self { words: plugins.div_ceil(64).max(1), sets: Vec::new() }
    }

    /// Adds a series that no plugin selects.
    pub(super) fn add(&mut self) {
        self.sets.resize(self.sets.len() + self.words, 0);
    }

    /// Makes the set of a series anew.
    pub(super) fn set(&mut self, series: u32, mut is_selected: impl FnMut(usize) -> bool) {
        let from = series as usize * self.words;
        for (word, bits) in self.sets[from..from + self.words].iter_mut().enumerate() {
            *bits = (0..64).filter(|bit| is_selected(word * 64 + bit)).fold(0, |bits, bit| bits | 1 << bit);
        }
    }

    /// Whether a plugin selects a series.
    pub(super) fn has(&self, series: u32, plugin: usize) -> bool {
        self.set_of(series).is_some_and(|set| Self::contains(set, plugin))
    }

    /// Whether a set has a plugin.
    pub(super) fn contains(set: &[u64], plugin: usize) -> bool {
        set.get(plugin / 64).is_some_and(|bits| bits >> (plugin % 64) & 1 == 1)
    }

    /// The sets of no series: of those who select one of them, and of those who select each of them.
    pub(super) fn begin(&self, any: &mut Vec<u64>, each: &mut Vec<u64>) {
        any.clear();
        any.resize(self.words, 0);
        each.clear();
        each.resize(self.words, u64::MAX);
    }

    /// Adds a series to both sets.
    pub(super) fn join(&self, series: u32, any: &mut [u64], each: &mut [u64]) {
        let Some(set) = self.set_of(series) else { return };
        for ((bits, any), each) in set.iter().zip(any).zip(each) {
            *any |= bits;
            *each &= bits;
        }
    }

    fn set_of(&self, series: u32) -> Option<&[u64]> {
        let from = series as usize * self.words;
        self.sets.get(from..from + self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::Selected;

    #[test]
    fn sets_of_many_plugins() {
        let mut selected = Selected::new(130);
        (0..3).for_each(|_| selected.add());
        selected.set(0, |plugin| plugin.is_multiple_of(2));
        selected.set(1, |plugin| plugin.is_multiple_of(3));
        for plugin in 0..130 {
            assert_eq!(selected.has(0, plugin), plugin.is_multiple_of(2));
            assert_eq!(selected.has(1, plugin), plugin.is_multiple_of(3));
            assert!(!selected.has(2, plugin) && !selected.has(3, plugin));
        }
        let (mut any, mut each) = (Vec::new(), Vec::new());
        selected.begin(&mut any, &mut each);
        (0..2).for_each(|series| selected.join(series, &mut any, &mut each));
        for plugin in 0..130_usize {
            let (two, three) = (plugin.is_multiple_of(2), plugin.is_multiple_of(3));
            assert_eq!(Selected::contains(&any, plugin), two || three);
            assert_eq!(Selected::contains(&each, plugin), two && three);
        }
        assert!(!Selected::contains(&any, 10_000));
    }
}
