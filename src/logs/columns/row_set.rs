//! A set of rows of one row group.

use std::ops::Range;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    rows: usize,
}

impl RowSet {
    /// No row of a group of `rows`.
    pub fn none(rows: usize) -> RowSet {
        RowSet { words: vec![0; rows.div_ceil(64)], rows }
    }

    /// All rows of a group of `rows`.
    pub fn all(rows: usize) -> RowSet {
        let mut set = RowSet::none(rows);
        set.insert_range(0..rows as u32);
        set
    }

    /// The rows of a group of `rows` for which `members` says so, one after another.
    pub fn of(rows: usize, members: impl Iterator<Item = bool>) -> RowSet {
        let mut set = RowSet::none(rows);
        let mut members = members.take(rows);
        for word in &mut set.words {
            for bit in 0..64 {
                let Some(member) = members.next() else { return set };
                *word |= u64::from(member) << bit;
            }
        }
        set
    }

    /// Rows of the group, in the set or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row.
    pub fn insert(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut(row as usize / 64).filter(|_| (row as usize) < self.rows) {
            *word |= 1 << (row % 64);
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut(row as usize / 64) {
            *word &= !(1 << (row % 64));
        }
    }

    /// Adds rows.
    pub fn insert_range(&mut self, rows: Range<u32>) {
        let (start, end) = (rows.start as usize, (rows.end as usize).min(self.rows));
        for (i, word) in self.words.iter_mut().enumerate().skip(start / 64).take_while(|(i, _)| i * 64 < end) {
            let from = start.saturating_sub(i * 64).min(64);
            let to = (end - i * 64).min(64);
            let below = |n: usize| if n == 64 { u64::MAX } else { (1 << n) - 1 };
            *word |= below(to) & !below(from);
        }
    }

    /// Whether a row is in the set.
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|w| w >> (row % 64) & 1 == 1)
    }

    /// How many rows are in it.
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// How many rows of a range are in it.
    pub fn count_in(&self, rows: Range<u32>) -> usize {
        let (start, end) = (rows.start as usize, (rows.end as usize).min(self.rows));
        let (first, last) = (start / 64, end.div_ceil(64));
        let below = |n: usize| if n >= 64 { u64::MAX } else { (1 << n) - 1 };
        let words = self.words.iter().enumerate().take(last).skip(first);
        words.map(|(i, w)| (w & below(end - i * 64) & !below(start.saturating_sub(i * 64))).count_ones() as usize).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// Whether all rows of a range are in it.
    pub fn is_all_of(&self, rows: Range<u32>) -> bool {
        let mut range = RowSet::none(self.rows);
        range.insert_range(rows);
        range.words.iter().zip(&self.words).all(|(r, w)| r & !w == 0)
    }

    /// Keeps what is in the other as well.
    pub fn intersect(&mut self, other: &RowSet) {
        for (i, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(i).copied().unwrap_or(0);
        }
    }

    /// Adds what is in the other.
    pub fn unite(&mut self, other: &RowSet) {
        self.words.iter_mut().zip(&other.words).for_each(|(w, o)| *w |= o);
    }

    /// Takes out what is in the other.
    pub fn subtract(&mut self, other: &RowSet) {
        self.words.iter_mut().zip(&other.words).for_each(|(w, o)| *w &= !o);
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                (bit < 64).then(|| {
                    rest &= rest - 1;
                    i as u32 * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let mut s = RowSet::none(130);
        s.insert_range(60..129);
        s.insert(3);
        s.insert(500);
        assert_eq!(s.count(), 70);
        assert_eq!(s.iter().collect::<Vec<_>>(), std::iter::once(3).chain(60..129).collect::<Vec<_>>());
        assert!(s.contains(128) && !s.contains(129) && s.is_all_of(60..129) && !s.is_all_of(59..62));
        assert_eq!(RowSet::all(130).count(), 130);
        for range in [0..130, 0..0, 3..4, 4..60, 60..64, 61..128, 63..200, 128..129, 130..140] {
            let inside = s.iter().filter(|r| range.contains(r)).count();
            assert_eq!(s.count_in(range.clone()), inside, "{range:?}");
        }
        assert_eq!(RowSet::of(130, (0..500).map(|r| s.contains(r))), s);
        assert_eq!(RowSet::of(130, (0..70).map(|r| s.contains(r))).count(), 11);
        let mut o = RowSet::all(130);
        o.subtract(&s);
        assert_eq!(o.count(), 60);
        o.unite(&s);
        assert_eq!(o, RowSet::all(130));
        o.intersect(&s);
        assert_eq!(o, s);
        o.remove(3);
        assert!(!o.contains(3));
    }
}
