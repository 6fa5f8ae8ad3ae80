//! What came lately, found again by a hash: a table of places, in which what comes takes the place of another.

/// Places of a table at first: most clients have a few topics.
const PLACES_MIN: usize = 8;

/// Places at most. Beyond it more is forgotten, and looked for anew.
const PLACES_MAX: usize = 1_024;

/// As many things as have come to stand beside each other, up to [`PLACES_MAX`]: it grows as long as they take each other's
/// place.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    /// Empty, or a power of two.
    places: Vec<Option<T>>,
    /// What has lost its place since the table grew.
    displaced: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            displaced: 0,
        }
    }
}

impl<T> Recent<T> {
    /// What stands at the place of that hash; it may be another thing.
    #[inline]
    pub(crate) fn get(&self, hash: usize) -> Option<&T> {
        self.places
            .get(hash & self.places.len().wrapping_sub(1))?
            .as_ref()
    }

    /// Puts a thing in its place, and gives it back. `hash_of` tells where the others stand when the table grows.
    pub(crate) fn put(&mut self, hash: usize, thing: T, hash_of: impl Fn(&T) -> usize) -> &T {
        if self.places.is_empty() {
            self.places.resize_with(PLACES_MIN, || None);
        }
        if self.get(hash).is_some() {
            self.displaced += 1;
            if self.displaced > self.places.len() && self.places.len() < PLACES_MAX {
                self.grow(hash_of);
            }
        }
        let place = hash & (self.places.len() - 1);
        self.places[place].insert(thing)
    }

    fn grow(&mut self, hash_of: impl Fn(&T) -> usize) {
        let places = self.places.len() * 2;
        let old = std::mem::take(&mut self.places);
        self.places.resize_with(places, || None);
        for thing in old.into_iter().flatten() {
            let place = hash_of(&thing) & (places - 1);
            self.places[place] = Some(thing);
        }
        self.displaced = 0;
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that are their own hash.
    fn come(recent: &mut Recent<usize>, numbers: std::ops::Range<usize>) {
        for number in numbers {
            if recent.get(number) != Some(&number) {
                assert_eq!(recent.put(number, number, |number| *number), &number);
            }
        }
    }

    #[test]
    fn it_grows_until_all_that_comes_again_is_there_or_there_are_too_many() {
        let mut recent = Recent::default();
        assert_eq!(recent.get(3), None);
        come(&mut recent, 0..PLACES_MIN);
        assert_eq!(recent.places.len(), PLACES_MIN);
        for _ in 0..10 {
            come(&mut recent, 0..100);
        }
        assert_eq!(recent.places.len(), 128);
        assert!((0..100).all(|number| recent.get(number) == Some(&number)));
        for _ in 0..10 {
            come(&mut recent, 0..10_000);
        }
        assert_eq!(recent.places.len(), PLACES_MAX);
        recent.clear();
        assert_eq!(recent.get(99), None);
    }
}
