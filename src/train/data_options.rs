//! The options for images: their path and how they are read, for every command that takes images.

use std::path::PathBuf;

use super::options::DataOptions;
use crate::data::{Augment, Binarize, Color, LoadOptions, Part, cache_folder};
use crate::error::{Error, Result};
use crate::text::values;

impl DataOptions {
    /// The path of the images: the given one, else that of the bundled MNIST.
    ///
    /// # Errors
    /// If no path was given and the bundled files are not found.
    pub fn path(&self) -> Result<PathBuf> {
        match &self.data {
            Some(path) => Ok(path.clone()),
            None => crate::data::find_bundled().ok_or_else(|| {
                Error::config("the bundled data/mnist was not found; --data PATH names the images to use")
            }),
        }
    }

    /// How the images are read.
    ///
    /// # Errors
    /// If an option is invalid.
    pub fn load_options(&self) -> Result<LoadOptions> {
        let defaults = LoadOptions::default();
        let color = match (self.grey.unwrap_or(false), self.rgb.unwrap_or(false)) {
            (true, true) => return Err(Error::config("--grey and --rgb exclude each other")),
            (true, false) => Some(Color::Grey),
            (false, true) => Some(Color::Rgb),
            (false, false) => None,
        };
        Ok(LoadOptions {
            size: read(&self.size, values::parse_size)?,
            fit: read(&self.fit, str::parse)?.unwrap_or_default(),
            color,
            background: read(&self.background, values::parse_color)?.unwrap_or(defaults.background),
            layout: read(&self.layout, str::parse)?,
            range: read(&self.range, values::parse_range)?,
            trained_range: None,
            array: self.array.clone(),
            cache: cache_folder(),
            max_memory: read(&self.max_memory, values::parse_memory)?.unwrap_or(defaults.max_memory),
            skip_bad: self.skip_bad.unwrap_or(false),
            part: Part::Train,
        })
    }

    /// Whether and how pixels are binarized.
    ///
    /// # Errors
    /// If the name is unknown.
    pub fn binarize(&self) -> Result<Option<Binarize>> {
        read(&self.binarize, str::parse)
    }

    /// The random augmentation of training images.
    ///
    /// # Errors
    /// If a name is not an augmentation.
    pub fn augment(&self) -> Result<Augment> {
        Ok(read(&self.augment, str::parse)?.unwrap_or_default())
    }
}

/// The value of an option's text, if the option is given.
pub(super) fn read<T>(text: &Option<String>, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    text.as_deref().map(parse).transpose()
}
