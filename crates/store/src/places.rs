//! Places by number, in little memory: numbers are given out in order, and most neighbours live and die together.

use std::collections::BTreeMap;

use martlet_journal::Place;

/// A map from numbers to places.
///
/// It is a tree of sorted pages. New numbers are the highest, so pages fill up to the last entry, of 16 bytes; a page that
/// has lost most of what it had joins the next one.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// By a number that is not above those in it.
    pages: BTreeMap<u64, Vec<Entry>>,
    len: usize,
}

/// A number, counted from that of its page, and a place.
#[derive(Debug, Clone, Copy)]
struct Entry {
    above: u32,
    segment: u32,
    offset: u32,
    bytes: u32,
}

/// Entries of a page.
const PAGE: usize = 256;

/// A page with fewer looks for a neighbour.
const FEW: usize = PAGE / 8;

impl Entry {
    fn new(above: u32, place: Place) -> Self {
        let Place {
            segment,
            offset,
            bytes,
        } = place;
        Self {
            above,
            segment,
            offset,
            bytes,
        }
    }

    fn place(self) -> Place {
        Place {
            segment: self.segment,
            offset: self.offset,
            bytes: self.bytes,
        }
    }
}

impl Places {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, number: u64) -> Option<Place> {
        let (first, page) = self.pages.range(..=number).next_back()?;
        let above = u32::try_from(number - first).ok()?;
        Some(page[search(page, above).ok()?].place())
    }

    /// Gives a number a place; returns the one that it had.
    pub(crate) fn insert(&mut self, number: u64, place: Place) -> Option<Place> {
        let page = self.pages.range_mut(..=number).next_back();
        let found = page.and_then(|(first, page)| Some((*first, u32::try_from(number - first).ok()?, page)));
        let Some((first, above, page)) = found else {
            self.begin_page(number, place);
            return None;
        };
        let entry = Entry::new(above, place);
        let at = match search(page, above) {
            Ok(at) => return Some(std::mem::replace(&mut page[at], entry).place()),
            Err(at) => at,
        };
        if page.len() < PAGE {
            page.insert(at, entry);
            self.len += 1;
        } else if at == PAGE {
            self.begin_page(number, place);
        } else {
            let mut upper = page.split_off(PAGE / 2);
            page.shrink_to_fit();
            let up = upper[0].above;
            for entry in &mut upper {
                entry.above -= up;
            }
            self.pages.insert(first + u64::from(up), upper);
            return self.insert(number, place);
        }
        None
    }

    fn begin_page(&mut self, number: u64, place: Place) {
        self.pages.insert(number, vec![Entry::new(0, place)]);
        self.len += 1;
    }

    /// Takes the place of a number away; returns it.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Place> {
        let (first, page) = self.pages.range_mut(..=number).next_back()?;
        let above = u32::try_from(number - first).ok()?;
        let removed = page.remove(search(page, above).ok()?);
        let (first, left) = (*first, page.len());
        if left * 4 < page.capacity() {
            page.shrink_to(left * 2);
        }
        self.len -= 1;
        if left == 0 {
            self.pages.remove(&first);
        } else if left < FEW && !self.join(first) {
            let before = self.pages.range(..first).next_back();
            if let Some(before) = before.map(|(before, _)| *before) {
                self.join(before);
            }
        }
        Some(removed.place())
    }

    /// Puts what is in the next page into this one, if together they are far from full.
    fn join(&mut self, first: u64) -> bool {
        let mut pages = self.pages.range_mut(first..);
        let (Some((_, page)), Some((next, upper))) = (pages.next(), pages.next()) else {
            return false;
        };
        let highest = upper.last().map_or(0, |entry| entry.above);
        let up = u32::try_from(next - first).ok();
        let Some(up) = up.filter(|up| highest.checked_add(*up).is_some()) else {
            return false;
        };
        if page.len() + upper.len() > PAGE / 2 {
            return false;
        }
        page.extend(upper.iter().map(|entry| Entry {
            above: entry.above + up,
            ..*entry
        }));
        let next = *next;
        self.pages.remove(&next);
        true
    }
}

fn search(page: &[Entry], above: u32) -> Result<usize, usize> {
    // The last is asked for most, and the first.
    match page {
        [.., last] if last.above < above => Err(page.len()),
        [first, ..] if first.above == above => Ok(0),
        page => page.binary_search_by_key(&above, |entry| entry.above),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(offset: u64) -> Place {
        Place {
            segment: (offset >> 32) as u32,
            offset: offset as u32,
            bytes: 7,
        }
    }

    fn capacity(places: &Places) -> usize {
        places.pages.values().map(Vec::capacity).sum()
    }

    /// Numbers as they are: in order, with gaps, and now and then far away.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            8 => 0..2_000_u64,
            4 => (0..500_u64).prop_map(|number| number << 16 | 1),
            1 => (0..8_u64).prop_map(|number| number << 31),
            1 => (0..50_u64).prop_map(|number| u64::MAX - number),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((number(), prop::bool::weighted(0.6)), 0..4_000)) {
            let (mut places, mut map) = (Places::default(), BTreeMap::new());
            for (at, (number, comes)) in steps.into_iter().enumerate() {
                let place = place(at as u64);
                if comes {
                    prop_assert_eq!(places.insert(number, place), map.insert(number, place));
                } else {
                    prop_assert_eq!(places.remove(number), map.remove(&number));
                }
                prop_assert_eq!(places.get(number), map.get(&number).copied());
            }
            prop_assert_eq!(places.len(), map.len());
            for (number, place) in map {
                prop_assert_eq!(places.get(number), Some(place));
                prop_assert_eq!(places.remove(number), Some(place));
            }
            prop_assert_eq!((places.len(), places.pages.len()), (0, 0));
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_pages() {
        let mut places = Places::default();
        for number in 0..100_000 {
            places.insert(number << 16 | 1, place(number));
        }
        assert!(capacity(&places) <= 100_000 + PAGE);
    }

    #[test]
    fn pages_that_have_lost_most_join() {
        let mut places = Places::default();
        for number in 0..100_000 {
            places.insert(number, place(number));
        }
        for number in (0..100_000).filter(|number| number % 100 != 0) {
            places.remove(number);
        }
        assert_eq!(places.len(), 1_000);
        assert!(capacity(&places) <= 4_000, "{}", capacity(&places));
        assert!(places.pages.len() <= 32, "{}", places.pages.len());
    }
}
