//! A hash table from keys that live elsewhere to their numbers: eight bytes a slot, no key stored.

/// Open addressing with linear probing. A slot holds 32 bits of the hash and the number plus one; zero is free.
#[derive(Debug, Default)]
pub(crate) struct IdTable {
    slots: Vec<u64>,
    len: usize,
}

fn fragment(hash: u64) -> u64 {
    hash >> 32
}

impl IdTable {
    /// The number of the key with this hash for which `is_key` holds.
    pub(crate) fn find(&self, hash: u64, mut is_key: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut i = fragment(hash) as usize & mask;
        loop {
            let slot = *self.slots.get(i)?;
            if slot == 0 {
                return None;
            }
            let id = (slot as u32).wrapping_sub(1);
            if slot >> 32 == fragment(hash) && is_key(id) {
                return Some(id);
            }
            i = (i + 1) & mask;
        }
    }

    /// Adds a number whose key is not in the table.
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        // At most three quarters full: linear probing stays short.
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![0; (old.len() * 2).max(16)];
            for slot in old.into_iter().filter(|s| *s != 0) {
                self.place(slot);
            }
        }
        self.place((fragment(hash) << 32) | u64::from(id.wrapping_add(1)));
        self.len += 1;
    }

    fn place(&mut self, new: u64) {
        let mask = self.slots.len().saturating_sub(1);
        let mut i = (new >> 32) as usize & mask;
        while let Some(slot) = self.slots.get_mut(i) {
            if *slot == 0 {
                *slot = new;
                return;
            }
            i = (i + 1) & mask;
        }
    }

    /// Removes a number that is in the table under this hash.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let Some(mask) = self.slots.len().checked_sub(1) else { return };
        let wanted = (fragment(hash) << 32) | u64::from(id.wrapping_add(1));
        let mut hole = fragment(hash) as usize & mask;
        while self.at(hole) != wanted {
            if self.at(hole) == 0 {
                return;
            }
            hole = (hole + 1) & mask;
        }
        self.len -= 1;
        // Later entries of the same run move up, so that no probe ends early.
        let mut i = hole;
        loop {
            i = (i + 1) & mask;
            let slot = self.at(i);
            if slot == 0 {
                break;
            }
            let home = (slot >> 32) as usize & mask;
            if (i.wrapping_sub(home) & mask) >= (i.wrapping_sub(hole) & mask) {
                self.set(hole, slot);
                hole = i;
            }
        }
        self.set(hole, 0);
    }

    fn at(&self, i: usize) -> u64 {
        self.slots.get(i).copied().unwrap_or(0)
    }

    fn set(&mut self, i: usize, v: u64) {
        if let Some(s) = self.slots.get_mut(i) {
            *s = v;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((any::<bool>(), 0u32..200), 0..600)) {
            let hash = |id: u32| u64::from(id % 37) << 32; // many collisions
            let (mut table, mut model) = (IdTable::default(), BTreeMap::new());
            for (insert, id) in steps {
                if insert && model.insert(id, ()).is_none() {
                    table.insert(hash(id), id);
                } else if !insert && model.remove(&id).is_some() {
                    table.remove(hash(id), id);
                }
                for id in 0..200 {
                    prop_assert_eq!(table.find(hash(id), |x| x == id).is_some(), model.contains_key(&id));
                }
            }
        }
    }
}
