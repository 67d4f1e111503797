//! Randomness that never changes.
//!
//! Guarantees: SplitMix64 over integers, written out here, so that no release of a library and no
//! platform can alter the sequence a seed gives. Each part of the data draws from a stream of its own
//! (`Random::stream`), so that a change to one part leaves the others as they were.

use crate::rules::{scramble, stable_hash};

/// A stream of pseudo-random numbers. Not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of that name under a seed.
    pub(crate) fn stream(seed: u64, name: &str) -> Self {
        Self { state: scramble(seed) ^ stable_hash(name) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scramble(self.state)
    }

    /// A number from 0 to `bound - 1`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u128::try_from(bound).expect("a usize fits into 128 bits");
        let scaled = (u128::from(self.next()) * bound) >> 64;
        usize::try_from(scaled).expect("the result is below a usize")
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the items, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Puts the items into random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }

    /// The pattern with `#` replaced by digits and `@` by capital letters.
    pub(crate) fn fill(&mut self, pattern: &str) -> String {
        const DIGITS: [char; 10] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
        // Letters that no postal service leaves out.
        const LETTERS: [char; 8] = ['A', 'B', 'E', 'H', 'J', 'L', 'N', 'X'];
        let fill_one = |mark: char| match mark {
            '#' => *self.pick(&DIGITS),
            '@' => *self.pick(&LETTERS),
            other => other,
        };
        pattern.chars().map(fill_one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_pinned_for_all_time() {
        let mut random = Random::stream(1, "test");
        let drawn: Vec<usize> = (0..6).map(|_| random.below(1000)).collect();
        assert_eq!(drawn, [420, 587, 331, 963, 139, 529], "a changed sequence changes every sample company");
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let (mut one, mut other) = (Random::stream(1, "one"), Random::stream(1, "other"));
        assert_ne!(one.next(), other.next());
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<usize> = (0..50).collect();
        Random::stream(3, "shuffle").shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
