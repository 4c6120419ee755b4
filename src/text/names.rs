//! Options with a few named values: one table for each enum, from which `FromStr`, `Display` and the error
//! are derived.
//!
//! ```text
//! named!(Preset, "preset", Conv => "conv", Article => "article", Mlp => "mlp");
//! ```
//!
//! The error for an unknown name suggests the nearest one: "there is no preset cnov; did you mean conv?
//! (preset is one of conv, article, mlp, residual)".

use crate::error::{Error, Result};

/// An enum whose variants have the names that options and files use. Implemented by [`named!`].
pub(crate) trait Named: Copy + Sized + 'static {
    /// The option's name: "preset".
    const WHAT: &'static str;
    /// Every variant with its name.
    const TABLE: &'static [(Self, &'static str)];

    /// The names, in the table's order.
    fn names() -> impl Iterator<Item = &'static str> {
        Self::TABLE.iter().map(|(_, name)| *name)
    }

    /// The variant of a name.
    ///
    /// # Errors
    /// [`Error::Config`] with the nearest name and all names.
    fn parse(name: &str) -> Result<Self> {
        match Self::TABLE.iter().find(|(_, known)| *known == name) {
            Some((value, _)) => Ok(*value),
            None => Err(unknown(Self::WHAT, name, Self::names())),
        }
    }
}

/// `FromStr`, `Display`, `ALL` and `name` of an enum of plain variants, from one table of names.
macro_rules! named {
    ($type:ty, $what:literal, $($variant:ident => $name:literal),+ $(,)?) => {
        impl $crate::text::names::Named for $type {
            const WHAT: &'static str = $what;
            const TABLE: &'static [(Self, &'static str)] = &[$((Self::$variant, $name)),+];
        }

        impl $type {
            /// All variants.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name, as options and files write it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::Error;

            /// The variant of that name; any other text is a configuration error that lists the names.
            fn from_str(name: &str) -> $crate::Result<Self> {
                <Self as $crate::text::names::Named>::parse(name)
            }
        }
    };
}
pub(crate) use named;

/// "there is no preset cnov; did you mean conv? (preset is one of conv, article, mlp, residual)"
pub(crate) fn unknown(what: &str, name: &str, names: impl IntoIterator<Item = &'static str>) -> Error {
    let names: Vec<&str> = names.into_iter().collect();
    let near = did_you_mean(name, &names);
    let name = super::printable(name);
    Error::config(format!("there is no {what} {name}{near} ({what} is one of {})", names.join(", ")))
}

/// "; did you mean conv?", or nothing if no name is near.
pub(crate) fn did_you_mean<S: AsRef<str>>(word: &str, names: impl IntoIterator<Item = S>) -> String {
    nearest(word, names).map_or(String::new(), |near| format!("; did you mean {near}?"))
}

/// The nearest of some names, if one is near: at most a third of the letters differ, or one starts with the
/// other.
fn nearest<S: AsRef<str>>(word: &str, names: impl IntoIterator<Item = S>) -> Option<String> {
    let word = word.to_lowercase().replace('_', "-");
    let distances = names.into_iter().map(|name| {
        let name = name.as_ref().to_string();
        let begins = name.starts_with(&word) || (word.starts_with(&name) && name.len() > 2);
        let distance = edit_distance(&word, &name);
        (if begins && !word.is_empty() { distance.min(1) } else { distance }, name)
    });
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.len().max(word.len())).div_ceil(3)).then_some(name)
}

/// The number of letters to insert, remove, replace, or swap with the next to turn one word into the other
/// (Levenshtein 1966, Damerau 1964).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(100).collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let least = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                let is_swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if is_swapped { least.min(table[i - 2][j - 2] + 1) } else { least }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Binarize, Color, Layout};
    use crate::loss::Divergence;
    use crate::model::Preset;
    use crate::optim::{LearningRateSchedule, OnSpike};
    use crate::train::Schedule;

    #[test]
    fn letters_that_changed_places_are_one_mistake() {
        assert_eq!(nearest("mpl", ["conv", "article", "mlp"]), Some("mlp".into()));
        assert_eq!(nearest("cnov", ["conv", "article", "mlp"]), Some("conv".into()));
        assert_eq!(nearest("xyz", ["conv", "article", "mlp"]), None);
        assert_eq!((edit_distance("", "ab"), edit_distance("kitten", "sitting")), (2, 3));
    }

    /// Each name parses back to its variant, and the table has every variant: `ALL` and `name` are made from
    /// one list, and `name` would not compile with one missing.
    fn round_trip<T>()
    where
        T: Named + PartialEq + std::fmt::Debug + std::fmt::Display + std::str::FromStr<Err = Error>,
    {
        for (value, name) in T::TABLE {
            assert_eq!(value.to_string(), *name);
            assert_eq!(name.parse::<T>().unwrap(), *value);
            assert!(name.to_uppercase().parse::<T>().is_err());
        }
    }

    #[test]
    fn every_name_is_read_as_it_is_written() {
        round_trip::<Preset>();
        round_trip::<Divergence>();
        round_trip::<LearningRateSchedule>();
        round_trip::<OnSpike>();
        round_trip::<Schedule>();
        round_trip::<Binarize>();
        round_trip::<Color>();
        round_trip::<Layout>();
    }

    #[test]
    fn files_and_options_use_the_same_names() {
        for preset in Preset::ALL {
            assert_eq!(serde_json::to_string(preset).unwrap(), format!("\"{preset}\""));
        }
        for layout in Layout::ALL {
            assert_eq!(serde_json::to_string(layout).unwrap(), format!("\"{layout}\""));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let message = |error: Result<Preset>| error.unwrap_err().to_string();
        assert_eq!(
            message("cnov".parse()),
            "there is no preset cnov; did you mean conv? (preset is one of conv, article, mlp, residual)"
        );
        assert_eq!(
            message("".parse()),
            "there is no preset  (preset is one of conv, article, mlp, residual)"
        );
        assert!(message("\u{1b}[31m".parse()).contains("\\u{1b}[31m"));
    }
}
