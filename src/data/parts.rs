//! The parts of a data set, recognized by the usual names of folders and arrays.

/// The role of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Train,
    Validation,
    Test,
}

impl Role {
    /// The role for a name, ignoring case.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if is(&["train", "training"]) {
            Some(Self::Train)
        } else if is(&["val", "valid", "validation"]) {
            Some(Self::Validation)
        } else if is(&["test", "testing"]) {
            Some(Self::Test)
        } else {
            None
        }
    }
}

/// One thing for each part.
#[derive(Clone, Debug)]
pub(crate) struct Parts<T> {
    pub(crate) train: Option<T>,
    pub(crate) validation: Option<T>,
    pub(crate) test: Option<T>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self { train: None, validation: None, test: None }
    }
}

impl<T> Parts<T> {
    /// The entry for a role.
    pub(crate) fn get_mut(&mut self, role: Role) -> &mut Option<T> {
        match role {
            Role::Train => &mut self.train,
            Role::Validation => &mut self.validation,
            Role::Test => &mut self.test,
        }
    }
}

/// The contents of an archive's array, guessed from its name: `x_train`, `val_labels`, `images`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArrayName {
    pub(crate) role: Option<Role>,
    /// Named as labels; otherwise images, or something else.
    pub(crate) labels: bool,
    /// Named as images.
    pub(crate) images: bool,
}

impl ArrayName {
    /// Parses a name. Its words are joined by `_`, `-` or `.`; one word may state the role, another the
    /// contents.
    pub(crate) fn parse(name: &str) -> Self {
        let words = || name.rsplit('/').next().unwrap_or(name).split(['_', '-', '.']);
        let has =
            |names: &[&str]| words().any(|word| names.iter().any(|name| name.eq_ignore_ascii_case(word)));
        Self {
            role: words().find_map(|word| Role::of(word.as_bytes())),
            labels: has(&["y", "label", "labels", "target", "targets", "class", "classes"]),
            images: has(&["x", "image", "images", "img", "imgs", "data"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_arrays() {
        use Role::{Test, Train, Validation};
        for (name, role, labels, images) in [
            ("x_train", Some(Train), false, true),
            ("Y_test", Some(Test), true, false),
            ("val_images", Some(Validation), false, true),
            ("train_labels", Some(Train), true, false),
            ("test", Some(Test), false, false),
            ("imgs", None, false, true),
            ("latents_classes", None, true, false),
            ("arr_0", None, false, false),
        ] {
            assert_eq!(ArrayName::parse(name), ArrayName { role, labels, images }, "{name}");
        }
    }
}
