//! Labels: a class for each image, and the classes' names.

use super::fingerprint::Fingerprint;

/// Numbers up to this one are their own class index, so that a training and a test part agree if they are
/// read separately.
const SMALL: u32 = 1024;

/// A class for each image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The class of each image: an index into `names`.
    pub ids: Vec<u32>,
    /// The name of each class: the number in the file, or the name of a subfolder.
    pub names: Vec<String>,
}

impl Labels {
    /// Labels of the training and of the test images, from the numbers in their files; both share their
    /// names.
    pub(crate) fn from_values(
        train: Option<Vec<u32>>,
        test: Option<Vec<u32>>,
    ) -> (Option<Self>, Option<Self>) {
        let values = || train.iter().chain(&test).flatten().copied();
        let Some(largest) = values().max() else { return (None, None) };
        let classes: Vec<u32> = if largest < SMALL {
            (0..=largest).collect()
        } else {
            let mut classes: Vec<u32> = values().collect();
            classes.sort_unstable();
            classes.dedup();
            classes
        };
        let names: Vec<String> = classes.iter().map(u32::to_string).collect();
        let labels = |values: Option<Vec<u32>>| {
            values.map(|mut ids| {
                // Every value is in the sorted list, so the search cannot fail.
                ids.iter_mut().for_each(|id| *id = classes.binary_search(id).unwrap_or(0) as u32);
                Self { ids, names: names.clone() }
            })
        };
        (labels(train), labels(test))
    }

    /// The number of different classes of the images.
    pub fn classes(&self) -> usize {
        let mut used = vec![false; self.names.len()];
        self.ids.iter().for_each(|&id| used[id as usize] = true);
        used.into_iter().filter(|&used| used).count()
    }

    pub(crate) fn add_to(&self, hash: &mut Fingerprint) {
        hash.number(self.ids.len() as u64);
        self.ids.iter().for_each(|&id| hash.number(u64::from(id)));
        self.names.iter().for_each(|name| hash.bytes(name.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_their_own_class() {
        let (train, test) = Labels::from_values(Some(vec![3, 0]), Some(vec![5]));
        let (train, test) = (train.unwrap(), test.unwrap());
        assert_eq!((train.ids, test.ids), (vec![3, 0], vec![5]));
        assert_eq!(train.names, ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(test.names, train.names);
    }

    #[test]
    fn large_numbers_do_not_make_large_tables() {
        let (train, test) = Labels::from_values(Some(vec![u32::MAX, 7, u32::MAX]), None);
        let train = train.unwrap();
        assert_eq!(train.ids, [1, 0, 1]);
        assert_eq!(train.names, ["7", "4294967295"]);
        assert_eq!(train.classes(), 2);
        assert!(test.is_none());
    }
}
