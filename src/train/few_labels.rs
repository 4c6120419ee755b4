//! Few labels: which images have one, and the training of [`M2`](crate::model::m2) beside the model in every
//! step.
//!
//! ```text
//! each step:  the model's own step on a batch, which gives codes of its images
//!             some of the labelled images are drawn, and encoded
//!             x = μ + ½σ·ε, halfway between μ and the draw z: at μ densities are unbounded,
//!             and whole draws mix the classes
//!             M2's gradient, with the batch as images without labels and those drawn as images with
//! ```
//!
//! M2 takes the codes as given, so the model learns as it would without M2. To remove few labels from the
//! project, delete this file, `src/model/m2.rs`, `src/data/label_file.rs`, and everything that no longer
//! compiles.

use rand::RngExt;

use super::config::Config;
use super::ranks::Team;
use crate::data::{Dataset, Filler, Fingerprint, Images, Labels, SomeLabels};
use crate::error::{Error, Result};
use crate::layers::shared::Latent;
use crate::model::labels::labels_to_learn;
use crate::model::m2::{ALPHA, M2Batch, M2Config, M2Space, M2Values};
use crate::model::{Batch, Vae, Workspace};
use crate::random::{Stream, fill_normal, stream};
use crate::text::printable;

/// The most labelled images in a step.
const STEP: usize = 50;

/// The images with labels that a configuration selects; `None` if it selects none.
///
/// # Errors
/// If the file of labels does not fit the images, or there are too few labels to choose from.
pub(super) fn known(config: &Config, data: &Dataset) -> Result<Option<SomeLabels>> {
    match (&config.labels, config.labelled) {
        (None, None) => Ok(None),
        (Some(path), _) => SomeLabels::read(path, data).map(Some),
        (None, Some(count)) => {
            let all = labels_to_learn(data, "--labelled")?;
            choose(&all, count, config.seed).map(Some).map_err(|message| Error::data(&data.path, message))
        }
    }
}

/// Draws `count` images of each class by the seed; the error is a sentence.
fn choose(all: &Labels, count: usize, seed: u64) -> std::result::Result<SomeLabels, String> {
    let mut chosen = Vec::new();
    for (class, name) in (0..).zip(&all.names) {
        let mut images: Vec<usize> =
            all.ids.iter().enumerate().filter(|(_, id)| **id == class).map(|(image, _)| image).collect();
        if images.len() < count {
            return Err(format!(
                "the class {} has {} images, and --labelled {count} takes {count} of each; every class must have that many",
                printable(name.as_str()),
                images.len()
            ));
        }
        // The first `count` places of a shuffle.
        let mut rng = stream(seed, Stream::Labelled, u64::from(class));
        for place in 0..count {
            let other = rng.random_range(place as u64..images.len() as u64) as usize;
            images.swap(place, other);
        }
        chosen.extend(images[..count].iter().map(|&image| (image, class)));
    }
    chosen.sort_unstable();
    let (images, ids) = chosen.into_iter().unzip();
    Ok(SomeLabels { images, labels: Labels { ids, names: all.names.clone() } })
}

/// 64 bits that change if another image is labelled or a label changes; stored in the checkpoint.
pub(super) fn fingerprint(known: &SomeLabels) -> u64 {
    let mut hash = Fingerprint::new();
    known.images.iter().zip(&known.labels.ids).for_each(|(&image, &id)| {
        hash.number(image as u64);
        hash.number(u64::from(id));
    });
    known.labels.names.iter().for_each(|name| hash.bytes(name.as_bytes()));
    hash.finish()
}

/// The classifier's sizes for these labels.
pub(super) fn sizes(known: &SomeLabels) -> M2Config {
    M2Config::new(known.labels.names.clone())
}

/// The labelled images of a step.
fn step_images(known: &SomeLabels) -> usize {
    known.images.len().min(STEP)
}

/// The numbers that [`FewLabels::new`] allocates for batches of `batch` images.
pub(super) fn memory(known: &SomeLabels, model: &Vae<f32>, batch: usize) -> usize {
    let labelled = step_images(known);
    let m2 = model
        .architecture()
        .m2
        .as_ref()
        .map_or(0, |m2| m2.space_len(batch, labelled) + (batch + labelled) * m2.style());
    m2 + model.activations_len(labelled)
        + labelled * (model.config().pixels() + model.config().latent)
        + (batch + labelled) * model.config().latent
}

/// The labelled images in training, and the memory for M2's part of a step.
#[derive(Debug)]
pub(super) struct FewLabels {
    known: SomeLabels,
    /// The fingerprint of the labels: a checkpoint detects other labels by it.
    pub fingerprint: u64,
    workspace: Workspace<f32>,
    space: M2Space<f32>,
    /// The images, labels and pixels of a step.
    indices: Vec<usize>,
    labels: Vec<u32>,
    pixels: Vec<f32>,
    /// The codes of the batch, then those of the labelled images.
    codes: Vec<f32>,
    noise: Vec<f32>,
    /// ε of the labelled images' codes.
    draws: Vec<f32>,
}

impl FewLabels {
    /// For batches of at most `batch` images; `None` if the model has no classifier.
    pub fn new(known: SomeLabels, model: &Vae<f32>, batch: usize) -> Option<Self> {
        let (m2, labelled) = (model.architecture().m2.as_ref()?, step_images(&known));
        Some(Self {
            fingerprint: fingerprint(&known),
            workspace: model.inference_workspace(labelled),
            space: M2Space::new(m2, batch, labelled),
            indices: vec![0; labelled],
            labels: vec![0; labelled],
            pixels: vec![0.0; labelled * model.config().pixels()],
            codes: vec![0.0; (batch + labelled) * model.config().latent],
            noise: vec![0.0; (batch + labelled) * m2.style()],
            draws: vec![0.0; labelled * model.config().latent],
            known,
        })
    }

    /// M2's gradient in its own part of `workspace.gradient()`, for the team's share of the `batch` images
    /// that `workspace` has encoded. The labelled images are also encoded by the team together. M2 itself is
    /// small, and each rank computes its gradient for all codes.
    #[allow(clippy::too_many_arguments)]
    pub fn gradients(
        &mut self,
        model: &Vae<f32>,
        images: &Images,
        filler: &Filler,
        step: u64,
        batch: usize,
        team: &mut Team,
        workspace: &mut Workspace<f32>,
    ) -> M2Values {
        let Some(m2) = &model.architecture().m2 else { return M2Values::default() };
        let (latent, labelled) = (model.config().latent, self.indices.len());
        let mut rng = stream(filler.seed, Stream::LabelledBatch, step);
        let all = self.known.images.len();
        for (place, (index, label)) in self.indices.iter_mut().zip(&mut self.labels).enumerate() {
            // All of them if they are few, else random ones, which may repeat.
            let at = if labelled == all { place } else { rng.random_range(0..all as u64) as usize };
            (*index, *label) = (self.known.images[at], self.known.labels.ids[at]);
        }
        let (own, known) = (team.share(batch).range, team.share(labelled).range);
        let pixels = &mut self.pixels[..known.len() * model.config().pixels()];
        filler.fill(images, &self.indices[known.clone()], 0, pixels);
        model.encode(Batch::new(pixels), &mut self.workspace);
        fill_normal(&mut rng, &mut self.draws);
        model.draw(&self.draws[known.start * latent..known.end * latent], &mut self.workspace);
        let codes = &mut self.codes[..(batch + labelled) * latent];
        let (plain, of_known) = codes.split_at_mut(batch * latent);
        let parts =
            [(plain, batch, own, &workspace.latent), (of_known, labelled, known, &self.workspace.latent)];
        for (codes, count, range, Latent { mu, z, .. }) in parts {
            let part = &mut codes[range.start * latent..range.end * latent];
            part.iter_mut().zip(mu).zip(z).for_each(|((x, &mu), &z)| *x = 0.5 * (mu + z));
            team.complete(codes, count);
        }
        let noise = &mut self.noise[..(batch + labelled) * m2.style()];
        fill_normal(&mut stream(filler.seed, Stream::Style, step), noise);
        let share = all as f64 / images.count as f64;
        let batch = M2Batch { codes, labels: &self.labels, noise, share, alpha: ALPHA };
        m2.gradients(&model.parameters, batch, workspace.gradient_mut(), &mut self.space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_of_each_class_are_chosen_by_the_seed() {
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let all = Labels { ids: (0..60).map(|image| image % 3).collect(), names };
        let chosen = choose(&all, 4, 1).unwrap();
        assert!(chosen.images.is_sorted() && chosen.images.len() == 12);
        for class in 0..3 {
            assert_eq!(chosen.labels.ids.iter().filter(|id| **id == class).count(), 4);
        }
        assert!(chosen.images.iter().zip(&chosen.labels.ids).all(|(image, id)| all.ids[*image] == *id));
        assert_eq!(choose(&all, 4, 1), Ok(chosen.clone()));
        assert_ne!(choose(&all, 4, 2).unwrap().images, chosen.images);
        assert_ne!(fingerprint(&choose(&all, 4, 2).unwrap()), fingerprint(&chosen));
        let error = choose(&all, 21, 1).unwrap_err();
        assert!(error.contains("the class a has 20 images, and --labelled 21"), "{error}");
    }
}
