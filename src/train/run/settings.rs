//! A run's config.toml: written when it starts, read when it is resumed.

use std::path::Path;

use crate::error::Result;
use crate::storage::atomic::write_atomically;
use crate::storage::filesystem::FileSystem;
use crate::train::config::Config;
use crate::train::options::TrainOptions;

/// Writes a run's config.toml.
pub(super) fn save_config(fs: &dyn FileSystem, folder: &Path, config: &Config) -> Result<()> {
    let text = config_text(config);
    write_atomically(fs, &folder.join("config.toml"), |out| out.write_all(text.as_bytes()))
}

/// The configuration, as in config.toml.
pub(super) fn config_text(config: &Config) -> String {
    let mut config = config.clone();
    // The run may be repeated or resumed from another folder.
    config.data = std::path::absolute(&config.data).unwrap_or(config.data);
    config.labels = config.labels.map(|path| std::path::absolute(&path).unwrap_or(path));
    config.to_options().to_toml()
}

/// The configuration of a run.
///
/// # Errors
/// If config.toml is missing or invalid.
pub fn read_config(folder: &Path) -> Result<Config> {
    resumed_config(folder, TrainOptions::default())
}

/// The configuration of a run that is resumed with some options.
///
/// # Errors
/// As [`read_config`].
pub(crate) fn resumed_config(folder: &Path, options: TrainOptions) -> Result<Config> {
    let path = folder.join("config.toml");
    let own = TrainOptions::read(&path)?;
    let mut merged = own;
    let (m, o) = (&mut merged.model, options.model);
    m.epochs = o.epochs.or(m.epochs);
    m.adversarial = o.adversarial.or(m.adversarial);
    m.max_steps = o.max_steps.or(m.max_steps);
    m.threads = o.threads.or(m.threads);
    m.checkpoint_every = o.checkpoint_every.or(m.checkpoint_every.take());
    Config::new(&merged)
}
