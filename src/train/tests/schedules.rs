//! Checks that the schedules `joint` and `alternating` agree, and which numbers a step may change.

use super::{pictures, same_bits, trainer};
use crate::loss::{Objective, ObjectiveTerms};
use crate::model::Batch;
use crate::optim::adam::{clip_factor, gradient_norm, norm_partials};
use crate::random::{Stream, fill_normal, stream};
use crate::train::Trainer;

const NETWORKS: [(&str, &str); 3] = [
    ("conv", "preset = \"conv\"\nchannels = [4, 6]\nhidden = [16]\nlatent = 3\n"),
    ("mlp", "preset = \"mlp\"\nhidden = [12]\nlatent = 3\n"),
    ("article", "preset = \"article\"\nlatent = 3\n"),
];

/// The images and the noise of the trainer's next step, made as in the loop's header.
fn next_batch(trainer: &Trainer) -> (Vec<f32>, Vec<f32>) {
    let p = &trainer.progress;
    let mut order = Vec::new();
    crate::data::epoch_order(trainer.config.seed, p.epoch, &trainer.split.train, &mut order);
    let at = p.step_in_epoch as usize * trainer.batch_size();
    let indices = &order[at..order.len().min(at + trainer.batch_size())];
    let mut images = vec![0.0; indices.len() * trainer.model.config().pixels()];
    trainer.filler().fill(&trainer.data.train, indices, p.epoch, &mut images);
    let mut noise = vec![0.0; indices.len() * trainer.model.config().latent];
    fill_normal(&mut stream(trainer.config.seed, Stream::Noise, p.step), &mut noise);
    (images, noise)
}

#[test]
fn the_decoders_gradient_is_that_of_the_joint_schedule_and_knows_no_divergence() {
    for ((name, options), divergence) in NETWORKS.into_iter().flat_map(|n| ["kl", "jeffreys"].map(|d| (n, d)))
    {
        for likelihood in crate::loss::Likelihood::ALL {
            let options = format!("{options}divergence = \"{divergence}\"\nlikelihood = \"{likelihood}\"\n");
            let t = trainer(&format!("{options}batch = 5\nvalid = 0\n"), pictures(5, (9, 8, 2)));
            let (images, noise) = next_batch(&t);
            let batch = Batch::new(&images);
            let objective = |terms| Objective { divergence: t.config.divergence, terms };
            let mut space = t.model.training_workspace(5);
            t.model.gradients(batch, &noise, &objective(ObjectiveTerms::ELBO), &mut space);
            let (encoder, decoder) = space.gradient().split_at(t.model.architecture().table.decoder_start);
            assert!(encoder.iter().chain(decoder).all(|g| g.is_finite()));
            let plain = ObjectiveTerms::ELBO;
            for terms in [
                plain,
                ObjectiveTerms { beta: 7.5, ..plain },
                ObjectiveTerms { free_bits: 0.1, capacity: Some(3.0), ..plain },
            ] {
                // A new workspace, so that an encoder's gradient that was touched shows.
                let mut half = t.model.training_workspace(5);
                t.model.decoder_gradients(batch, &noise, &objective(terms), &mut half);
                let (untouched, again) = half.gradient().split_at(encoder.len());
                assert!(same_bits(again, decoder), "{name}, {likelihood}, {divergence}");
                // Except the article's shared layer, whose transposed direction is the decoder's first layer.
                let first = &t.model.architecture().decoder_slots[..2];
                let touched = |at: usize| first.iter().any(|slot| slot.range.contains(&at));
                let others = untouched.iter().enumerate().filter(|&(at, _)| !touched(at));
                assert!(
                    others.clone().count() > encoder.len() / 2 && others.map(|(_, g)| g).all(|&g| g == 0.0)
                );
            }
        }
    }
}

/// Several steps by the trainer against the same steps written out. The encoder's step leaves the decoder
/// bit-identical, and vice versa, because the halves written out here cannot touch each other.
#[test]
fn each_half_moves_by_its_own_gradient_alone() {
    for (name, options) in NETWORKS {
        let options = format!(
            "{options}schedule = \"alternating\"\nbatch = 4\nvalid = 0\nweight-decay = 0.01\nclip-norm = 0.5\n\
             divergence = \"jeffreys\"\nfree-bits = 0.01\nlr-schedule = \"cosine\"\nepochs = 2\n"
        );
        let mut t = trainer(&options, pictures(10, (9, 8, 2)));
        let decoder = t.model.architecture().table.decoder_start;
        let mut adam = t.adam.clone();
        let mut space = t.model.training_workspace(4);
        let mut partials = vec![0.0; norm_partials([t.model.parameters.len()])];
        for _ in 0..5 {
            let (images, noise) = next_batch(&t);
            let epochs = t.progress.step as f64 / t.steps_per_epoch() as f64;
            let objective = t.config.objective(epochs);
            let rate = t.config.learning_rate(t.steps_per_epoch()).at(t.progress.step);
            let constants = t.config.adam;
            let mut scale = |gradient: &[f32]| clip_factor(gradient_norm([gradient], &mut partials), 0.5);

            // First the encoder, on reconstruction and divergence.
            let mut model = t.model.clone();
            model.gradients(Batch::new(&images), &noise, &objective, &mut space);
            let mut encoder_half = t.model.parameters[..decoder].to_vec();
            let gradient = &space.gradient()[..decoder];
            constants.step(&mut encoder_half, gradient, &mut adam[0], rate, scale(gradient));
            assert!(!same_bits(&encoder_half, &t.model.parameters[..decoder]), "{name}: nothing moved");
            // Then the decoder, on reconstruction, with the encoder where it is now.
            model.parameters[..decoder].copy_from_slice(&encoder_half);
            model.decoder_gradients(Batch::new(&images), &noise, &objective, &mut space);
            let mut decoder_half = t.model.parameters[decoder..].to_vec();
            let gradient = &space.gradient()[decoder..];
            constants.step(&mut decoder_half, gradient, &mut adam[1], rate, scale(gradient));

            t.step().unwrap();
            assert!(same_bits(&t.model.parameters[..decoder], &encoder_half), "{name}: encoder");
            assert!(same_bits(&t.model.parameters[decoder..], &decoder_half), "{name}: decoder");
            assert_eq!(t.adam, adam, "{name}: moments");
            if t.epoch_is_complete() {
                t.next_epoch();
            }
        }
        assert_eq!((t.progress.step, t.progress.epoch), (5, 1));
    }
}

/// The first encoder step of both schedules is the same, since both start from the same parameters and ε.
#[test]
fn the_encoders_first_step_is_that_of_the_joint_schedule() {
    for (name, options) in NETWORKS {
        let after = |schedule: &str| {
            let options = format!("{options}schedule = \"{schedule}\"\nbatch = 4\nvalid = 0\n");
            let mut t = trainer(&options, pictures(8, (8, 9, 1)));
            let decoder = t.model.architecture().table.decoder_start;
            let report = t.step().unwrap();
            (t.model.parameters[..decoder].to_vec(), report.values)
        };
        let (joint, alternating) = (after("joint"), after("alternating"));
        assert!(same_bits(&joint.0, &alternating.0), "{name}");
        assert_eq!(joint.1, alternating.1, "{name}: the reported values are those before the step");
    }
}
