//! The memory of a training, estimated and compared with `--max-memory` before it is allocated.
//!
//! ```text
//! images
//! + parameters, their gradient, Adam's two moments                        4 P
//! + the average of the parameters, if one is taken                          P
//! + activations of a batch, and the gradients between layers
//! + activations for judging
//! + the adversarial stage, if there is one
//! + what is needed for a moment at the end of an epoch, the largest of    tensors of a checkpoint in PyTorch's order
//!                                                                         activations of the sheets' pictures
//!                                                                         the untrained model, to compare with
//! ```
//!
//! Only memory that is written to counts, since the system provides a page when it is first touched. A
//! checkpoint is written tensor by tensor, so only tensors whose order in memory is not PyTorch's are copied:
//! weights of convolutions, and of linear layers next to them.

use super::config::{Config, Schedule};
use crate::data::{Dataset, Outline, Split, excess};
use crate::error::{Error, Result};
use crate::generate::prior::{Mixture, Prior};
use crate::model::adversarial::Discriminator;
use crate::model::architecture::Architecture;
use crate::model::codec::BATCH;
use crate::model::workspace::{activations_len, training_len};
use crate::model::{ModelConfig, Vae};

/// Pictures on the largest sheet.
const DRAWN: usize = 64;
/// Bytes of the program itself: its code, its stacks, its tables.
const PROGRAM: usize = 8 << 20;

/// The bytes that training a model on batches of `batch` images takes, without the images.
pub(crate) fn needed(config: &Config, model: &Vae<f32>, batch: usize) -> u64 {
    needed_by(config, model.architecture(), model.config(), batch)
}

/// [`needed`] of a model before it is created.
fn needed_by(config: &Config, network: &Architecture<f32>, model: &ModelConfig, batch: usize) -> u64 {
    let (parameters, work) = (network.table.len(), network.work_len());
    let averages = usize::from(config.weight_average.is_some());
    let lasting = (3 + averages) * parameters
        + training_len(network, model, batch, rayon::current_num_threads())
        + activations_len(network, model, BATCH.min(batch))
        + work.transposed
        + (rayon::current_num_threads() + 1) * work.scratch;
    let sheets = activations_len(network, model, DRAWN) + DRAWN * 3 * model.pixels();
    let passing = saving(config, network).max(sheets).max(parameters);
    let adversarial = config.adversarial.map_or(0, |_| adversarial(model, parameters, batch));
    (4 * (lasting + passing + adversarial) + PROGRAM) as u64
}

/// The numbers of the adversarial stage: the discriminator with its moments and its passes, batches and their gradients, and the decoder's
/// gradient and moments once more; and the fit of the mixture that samples are drawn from.
fn adversarial(model: &ModelConfig, parameters: usize, batch: usize) -> usize {
    let Ok(discriminator) = Discriminator::<f32>::new(model.image(), model.classes()) else { return 0 };
    // The features that samples are judged by: 14 numbers for each pixel in its convolutions, and the
    // picture.
    let judged = BATCH * (14 * model.height * model.width + model.pixels());
    let own =
        judged + 3 * discriminator.table.len() + discriminator.space_len(batch, rayon::current_num_threads());
    let batches =
        batch * (4 * model.pixels() + model.latent + discriminator.features_len() + model.output_len());
    let threads = rayon::current_num_threads();
    let fit = if Prior::is_fitted_by_default(model) {
        Mixture::most_memory(model.pixels(), model.latent, threads) as usize / size_of::<f32>()
    } else {
        0
    };
    own + batches + 3 * parameters + fit
}

/// The numbers that are copied while a checkpoint is saved: of the parameters and both moments the tensors
/// whose order changes; and moments that are kept in halves, once in one piece.
fn saving(config: &Config, network: &Architecture<f32>) -> usize {
    let table = &network.table;
    let copied: usize = table.parameters.iter().filter(|p| !p.layout.is_plain()).map(|p| p.range.len()).sum();
    let joined = if config.schedule == Schedule::Alternating { 2 * table.len() } else { 0 };
    (3 + usize::from(config.weight_average.is_some())) * copied + joined
}

impl Config {
    /// Whether training on images of which only the outline is known keeps to `load.max_memory`, as far as
    /// the outline tells: this message should come before the images are decoded or written to a cache file
    /// ([`load_if`](crate::data::load_if)). Other errors come later.
    ///
    /// # Errors
    /// If it takes more.
    pub fn check_memory(&self, images: &Outline) -> Result<()> {
        let mut config = self.clone();
        let valid = config.valid.unwrap_or_else(|| Split::default_validation(images.train));
        if images.train <= valid || config.settle(images.train - valid).is_err() {
            return Ok(());
        }
        let network = config.model(images.shape);
        let (Ok(architecture), Some(batch)) = (Architecture::new(&network), config.batch) else {
            return Ok(());
        };
        let bytes = needed_by(&config, &architecture, &network, batch).saturating_add(images.memory);
        within(&config, "this training takes", bytes)
    }
}

/// Refuses a network whose parameters, gradient and moments alone are too large, before they are allocated.
pub(super) fn check_parameters(config: &Config, model: &ModelConfig) -> Result<()> {
    let parameters = Architecture::<f32>::new(model)?.table.len() as u64;
    within(config, "this training takes at least", parameters.saturating_mul(4 * size_of::<f32>() as u64))
}

/// Refuses a training that takes more than `--max-memory`, images included.
///
/// `more` are numbers that are allocated besides.
pub(super) fn check(
    config: &Config,
    data: &Dataset,
    model: &Vae<f32>,
    batch: usize,
    more: usize,
) -> Result<()> {
    let bytes = needed(config, model, batch).saturating_add(data.memory()).saturating_add(4 * more as u64);
    within(config, "this training takes", bytes)
}

fn within(config: &Config, what: &str, bytes: u64) -> Result<()> {
    match excess(what, bytes, config.load.max_memory) {
        Some(message) => {
            Err(Error::config(format!("{message}; a smaller --batch, --size, --channels or --hidden helps")))
        }
        None => Ok(()),
    }
}
