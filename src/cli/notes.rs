//! Notes and warnings of `elbo train` about a run that will hardly learn, did not learn, or changed its
//! schedule.

use crate::train::config::steps::DEFAULT_EPOCHS;
use crate::train::defaults::Chosen;
use crate::train::{Config, Run, Trainer};

/// Steps below which a run rarely gets further than the mean image.
const FEW_STEPS: u64 = 300;

/// The options that were chosen for the user's own pictures, with reasons.
pub(super) fn choices(chosen: Option<&Chosen>) -> Vec<String> {
    let Some(chosen) = chosen else { return Vec::new() };
    let flags: Vec<String> = chosen
        .choices
        .iter()
        .map(|choice| format!("--{} {}", choice.option, choice.value.trim_matches('"')))
        .collect();
    let width = flags.iter().map(|flag| flag.chars().count()).max().unwrap_or(0);
    let closes = chosen.choices.iter().any(|choice| choice.option == "preset");
    let hint = if closes { " (--preset conv chooses nothing)" } else { "" };
    let heading = format!("chosen for {}, unless given{hint}:", chosen.pictures);
    let lines = flags.iter().zip(&chosen.choices);
    let lines = lines.map(|(flag, choice)| format!("  {flag:<width$}  {}", choice.reason));
    std::iter::once(heading).chain(lines).collect()
}

/// The epochs and batch that were chosen for few images; `None` if they are those of many images.
pub(super) fn chosen(trainer: &Trainer) -> Option<String> {
    let (config, per_epoch) = (&trainer.config, trainer.steps_per_epoch());
    (config.epochs() != DEFAULT_EPOCHS).then(|| {
        format!(
            "few images, so the run has {} epochs in batches of {}, which are {} steps: {DEFAULT_EPOCHS} epochs are too few to learn from; \
             --epochs and --batch set others",
            config.epochs(),
            trainer.batch_size(),
            config.epochs() * per_epoch
        )
    })
}

/// Images below which the best epoch is chosen by chance as much as by the model.
const FEW_HELD_OUT: usize = 10;

/// A note if few images choose the best epoch, and --valid was not given.
pub(super) fn few_held_out(trainer: &Trainer) -> Option<String> {
    let count = trainer.split.validation.len();
    ((1..FEW_HELD_OUT).contains(&count)).then(|| {
        let images = if count == 1 { "image is" } else { "images are" };
        format!(
            "note: {count} validation {images} few to choose the best epoch by; --valid N holds out N, and with --valid 0 the model is that of \
             the last epoch"
        )
    })
}

/// A warning if the whole run has few steps. One whose `--max-steps` was given has as many as were asked for, and one that begins with a model has
/// learned before.
pub(super) fn few_steps(trainer: &Trainer) -> Option<String> {
    let (config, per_epoch) = (&trainer.config, trainer.steps_per_epoch());
    let steps = config.epochs().saturating_add(config.adversarial.unwrap_or(0)).saturating_mul(per_epoch);
    (steps < FEW_STEPS && config.max_steps.is_none() && config.start_from.is_none()).then(|| {
        format!(
            "warning: the run has {steps} steps in all, and a model rarely learns more than the mean image in fewer than {FEW_STEPS}: \
             --epochs {} makes {} steps, and a smaller --batch makes an epoch longer",
            FEW_STEPS.div_ceil(per_epoch),
            FEW_STEPS.div_ceil(per_epoch) * per_epoch
        )
    })
}

/// A note if another number of epochs changes the learning rate at the step at which a run is resumed: a
/// falling schedule spans all epochs.
pub(super) fn schedule_jump(before: &Config, trainer: &Trainer) -> Option<String> {
    let (steps, step) = (trainer.steps_per_epoch(), trainer.progress.step);
    let [old, new] = [before, &trainer.config].map(|config| config.learning_rate(steps).at(step));
    (old != new).then(|| {
        format!(
            "note: the learning-rate schedule now spans {} epochs instead of {}: at step {step} the rate is {new:.3e}, and would have been \
             {old:.3e}",
            trainer.config.epochs(),
            before.epochs()
        )
    })
}

/// A warning if the trained model is no better than an untrained one, both judged on the same few images.
pub(super) fn learned_nothing(run: &mut Run) -> Option<String> {
    let (before, after, images) = run.untrained_and_trained()?;
    // Written so that a loss that is not a number is reported too.
    let better = after < before;
    (!better).then(|| {
        format!(
            "warning: training made the model no better: the loss on {images} images is {after:.2}, and {before:.2} before the first step. \
             A smaller --lr or --clip-norm often helps"
        )
    })
}
