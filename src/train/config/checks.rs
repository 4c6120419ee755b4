//! What cannot be used together, in a sentence each.

use super::{Config, Schedule};
use crate::error::{Error, Result};
use crate::tensor::ImageShape;

impl Config {
    /// Whether these values can be used together.
    ///
    /// # Errors
    /// One sentence on the first that cannot.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: &str| Err(Error::config(message));
        self.objective(0.0).terms.validate()?;
        self.final_objective().terms.validate()?;
        if let Some(epochs) = self.epochs.filter(|&epochs| self.lr_warmup > epochs as f64) {
            return Err(Error::config(format!(
                "a learning-rate warm-up of {} epochs is longer than the run's {}; --lr-warmup must be at most that",
                self.lr_warmup, epochs
            )));
        }
        // Epochs that are still to be chosen are as many as a warm-up takes.
        let epochs = self.epochs.or((self.lr_warmup > 0.0).then_some(u64::MAX));
        Self { epochs, ..self.clone() }.learning_rate(1).validate()?;
        // Everything about the network that does not depend on the images is known now.
        self.model(ImageShape::new(64, 64, 1)).validate()?;
        if self.batch == Some(0) {
            return fail("a batch of 0 images; it must be at least 1");
        }
        if self.epochs == Some(0) && (self.adversarial.is_none() || self.start_from.is_none()) {
            return fail("0 epochs; there must be at least 1");
        }
        self.validate_adversarial()?;
        if self.patience == Some(0) {
            return fail("a patience of 0 epochs; it must be at least 1 (leave it out to train to the end)");
        }
        if self.patience.is_some() && self.valid == Some(0) {
            return fail("--patience judges by validation images, and --valid 0 holds out none");
        }
        if self.max_steps == Some(0) {
            return fail("--max-steps 0 trains nothing; it must be at least 1");
        }
        if let Some(share) = self.weight_average.filter(|share| !(0.0..1.0).contains(share)) {
            return Err(Error::config(format!(
                "--weight-average {share}: an average of the weights keeps a share of itself; it must be at least 0 and below 1"
            )));
        }
        if i64::try_from(self.seed).is_err() {
            return fail("the seed is too large; it must be below 2^63");
        }
        if self.threads > 1024 {
            return fail("more than 1024 threads; leave --threads out for one on each core");
        }
        if self.schedule == Schedule::Alternating && self.tie_weights {
            return fail(
                "--schedule alternating trains the halves apart, and --tie-weights makes them one: use either",
            );
        }
        let few = match (&self.labels, self.labelled) {
            (Some(_), Some(_)) => {
                return fail("--labels and --labelled both say which images have a label; use either");
            }
            (None, Some(0)) => {
                return fail("--labelled 0 leaves no label to learn from; it must be at least 1");
            }
            (Some(_), None) => Some("--labels"),
            (None, Some(_)) => Some("--labelled"),
            (None, None) => None,
        };
        if let (Some(few), true) = (few, self.conditional) {
            return Err(Error::config(format!(
                "--conditional gives the model the label of each image, and {few} learns from a few; use either"
            )));
        }
        if let (Some(few), Schedule::Alternating) = (few, self.schedule) {
            return Err(Error::config(format!(
                "--schedule alternating has a step for each half of the model, and {few} adds a third part; use --schedule joint"
            )));
        }
        if self.conditional && self.tie_weights {
            return fail(
                "--tie-weights makes the decoder the encoder's mirror, and --conditional appends labels to both: use either",
            );
        }
        Ok(())
    }

    /// Whether the decoder can learn alone, from its pictures.
    fn validate_adversarial(&self) -> Result<()> {
        let fail = |message: &str| Err(Error::config(message));
        match self.adversarial {
            None => Ok(()),
            Some(0) => {
                fail("--adversarial 0 has no epochs; it must be at least 1 (leave it out to train without)")
            }
            Some(_) if self.tie_weights => fail(
                "--adversarial trains the decoder and leaves the encoder, and --tie-weights makes them one: use either",
            ),
            Some(_) if self.context.is_some() => fail(
                "--adversarial needs pictures that are a function of the code, and --context draws them pixel by pixel: use either",
            ),
            Some(_) => Ok(()),
        }
    }
}
