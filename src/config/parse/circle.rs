//! Things that depend on each other must not do so in a circle.

use std::collections::{BTreeMap, BTreeSet};

/// A circle, each of whose members depends on the next and the last on the first; `None` when there is none.
pub(super) fn find<K: Ord + Copy>(mut depends: BTreeMap<K, BTreeSet<K>>) -> Option<Vec<K>> {
    // What depends on nothing cannot be part of a circle, nor what depends on such alone: what is left is one, or leads there.
    loop {
        let is_free = |on: &BTreeSet<K>| on.iter().all(|other| !depends.contains_key(other));
        let free: Vec<K> = depends.iter().filter(|(_, on)| is_free(on)).map(|(one, _)| *one).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|one| drop(depends.remove(one)));
    }
    // From one on until it comes back to where it was.
    let mut path = vec![*depends.first_key_value()?.0];
    loop {
        let last = path.last()?;
        let next = *depends.get(last)?.iter().find(|other| depends.contains_key(*other))?;
        match path.iter().position(|known| *known == next) {
            Some(begin) => return Some(path.split_off(begin)),
            None => path.push(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_circles_are_circles() {
        let depends =
            |pairs: &[(u8, &[u8])]| pairs.iter().map(|(one, on)| (*one, on.iter().copied().collect())).collect();
        assert_eq!(find::<u8>(depends(&[])), None);
        assert_eq!(find(depends(&[(1, &[2, 3]), (2, &[3]), (3, &[])])), None);
        assert_eq!(find(depends(&[(1, &[1])])), Some(vec![1]));
        assert_eq!(find(depends(&[(1, &[2]), (2, &[3, 4]), (3, &[]), (4, &[2])])), Some(vec![2, 4]));
    }
}
