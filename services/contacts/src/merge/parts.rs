//! What becomes of one value or list when two records are merged, and when they part again. Pure, and the same for
//! contacts and accounts.
//!
//! Guarantees: parting without a change in between gives both records exactly what they had before.

/// A value of two records and what was made of it.
#[derive(Debug, Clone, Copy)]
pub struct Story<'a, T: ?Sized> {
    /// The survivor's, before the merge.
    pub survivor: &'a T,
    /// The loser's, before the merge.
    pub loser: &'a T,
    /// The survivor's, right after it.
    pub merged: &'a T,
    /// The survivor's, now.
    pub now: &'a T,
}

impl<T: Clone + PartialEq> Story<'_, T> {
    /// The survivor's value and the loser's after they have parted. A change belongs to the record that the value came
    /// from, and the other one gets its own back.
    #[must_use]
    pub fn part(self) -> (T, T) {
        let (survivor, loser) = (self.survivor.clone(), self.loser.clone());
        if self.now == self.merged {
            return (survivor, loser);
        }
        let taken_from_loser = self.merged == self.loser && self.merged != self.survivor;
        if taken_from_loser { (survivor, self.now.clone()) } else { (self.now.clone(), loser) }
    }
}

/// What makes an entry of a list the same as another one.
#[derive(Debug)]
pub struct Entries<T> {
    /// Whether both are about the same thing, whatever else they say of it.
    pub is_same: fn(&T, &T) -> bool,
    /// Whether one may be what became of the other that stood in its place.
    pub may_replace: fn(&T, &T) -> bool,
    /// Whether entries that say something else are others, though about the same thing: one that the merge left out is
    /// then not removed with the one that it kept.
    pub words_tell: bool,
    /// The mark of the one to use among others; none in lists without.
    pub primary: Option<fn(&mut T) -> &mut bool>,
}

/// How much two entries have in common, most first.
#[derive(Debug, Clone, Copy)]
enum Likeness {
    /// Everything.
    Whole,
    /// All but the mark.
    Words,
    /// What they are about.
    Thing,
}

impl<T: Clone + PartialEq> Entries<T> {
    /// The entries of both; what both have stays as the survivor has it.
    #[must_use]
    pub fn unite(&self, survivor: &[T], loser: &[T]) -> Vec<T> {
        let added = loser.iter().filter(|entry| !survivor.iter().any(|own| (self.is_same)(own, entry)));
        survivor.iter().chain(added).cloned().collect()
    }

    /// Whether both have an entry about the same thing that says something else.
    #[must_use]
    pub fn disagree(&self, survivor: &[T], loser: &[T]) -> bool {
        let differs = |own: &T, other: &T| (self.is_same)(own, other) && own != other;
        loser.iter().any(|entry| !survivor.contains(entry) && survivor.iter().any(|own| differs(own, entry)))
    }

    /// The survivor's list and the loser's after they have parted.
    #[must_use]
    pub fn part(&self, story: Story<'_, [T]>) -> (Vec<T>, Vec<T>) {
        let of_survivor = self.find(story.survivor, story.merged);
        let of_loser = self.find(story.loser, story.merged);
        let later = self.follow(story.merged, story.now);
        // Where both had it, it is whose words it has.
        let is_losers = |place: usize| {
            let says = |list: &[T], found: &[Option<usize>]| {
                list.iter().zip(found).any(|(own, at)| *at == Some(place) && self.says(own, &story.merged[place]))
            };
            says(story.loser, &of_loser) && !says(story.survivor, &of_survivor)
        };
        let entry = |own: &T, at: Option<usize>, of_loser: bool| {
            // What the merge left out comes back; what was removed since is gone from both.
            let Some(place) = at else { return Some(own.clone()) };
            let Some(later) = later[place] else {
                let was_left_out = self.words_tell && !self.says(own, &story.merged[place]);
                return was_left_out.then(|| own.clone());
            };
            let (merged, now) = (&story.merged[place], &story.now[later]);
            if merged == now || is_losers(place) != of_loser { Some(own.clone()) } else { Some(self.changed(own, merged, now)) }
        };
        let added: Vec<&T> = story.now.iter().enumerate().filter(|(at, _)| !later.contains(&Some(*at))).map(|(_, entry)| entry).collect();
        let is_replaced = |own: &T, at: Option<usize>| at.is_none() && added.iter().any(|added| (self.is_same)(added, own));
        let kept = story.survivor.iter().zip(&of_survivor).filter(|(own, at)| !is_replaced(own, **at));
        let survivor = kept.filter_map(|(own, at)| entry(own, *at, false)).chain(added.iter().copied().cloned()).collect();
        let loser = story.loser.iter().zip(&of_loser).filter_map(|(own, at)| entry(own, *at, true)).collect();
        (survivor, loser)
    }

    /// Leaves the first mark of those that exclude each other.
    pub fn settle_primary(&self, list: &mut [T], excludes: fn(&T, &T) -> bool) {
        let Some(primary) = self.primary else { return };
        for place in 1..list.len() {
            let (before, rest) = list.split_at_mut(place);
            let is_second = *primary(&mut rest[0]) && before.iter_mut().any(|other| excludes(other, &rest[0]) && *primary(other));
            if is_second {
                *primary(&mut rest[0]) = false;
            }
        }
    }

    /// An entry of one record with what was changed of it since; its mark is its own again unless that was changed.
    fn changed(&self, own: &T, merged: &T, now: &T) -> T {
        let mut changed = now.clone();
        if let Some(primary) = self.primary {
            let mark = |entry: &T| *primary(&mut entry.clone());
            if mark(merged) == mark(now) {
                *primary(&mut changed) = mark(own);
            }
        }
        changed
    }

    /// Whether both say the same but for the mark.
    fn says(&self, own: &T, other: &T) -> bool {
        let Some(primary) = self.primary else { return own == other };
        let (mut own, mut other) = (own.clone(), other.clone());
        (*primary(&mut own), *primary(&mut other)) = (false, false);
        own == other
    }

    /// For each of `list` the place in `among` where the same stands, each place once: word for word rather than not.
    fn find(&self, list: &[T], among: &[T]) -> Vec<Option<usize>> {
        let mut found = vec![None; list.len()];
        let mut free = vec![true; among.len()];
        for likeness in [Likeness::Whole, Likeness::Words, Likeness::Thing] {
            for (own, place) in list.iter().zip(&mut found).filter(|(_, place)| place.is_none()) {
                *place = among.iter().enumerate().position(|(at, other)| free[at] && self.is_like(own, other, likeness));
                if let Some(at) = *place {
                    free[at] = false;
                }
            }
        }
        found
    }

    fn is_like(&self, own: &T, other: &T, likeness: Likeness) -> bool {
        match likeness {
            Likeness::Whole => own == other,
            Likeness::Words => (self.is_same)(own, other) && self.says(own, other),
            Likeness::Thing => (self.is_same)(own, other),
        }
    }

    /// The same for a list and what it became: in lists of one length, what stands in the place of another one may be
    /// what became of it.
    fn follow(&self, list: &[T], now: &[T]) -> Vec<Option<usize>> {
        let mut found = self.find(list, now);
        if list.len() == now.len() {
            for place in 0..list.len() {
                if found[place].is_none() && !found.contains(&Some(place)) && (self.may_replace)(&list[place], &now[place]) {
                    found[place] = Some(place);
                }
            }
        }
        found
    }
}
