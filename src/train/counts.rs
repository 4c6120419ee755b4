//! The counts of steps that a checkpoint holds: those of the VAE's epochs, and those of the adversarial
//! stage.

/// More steps than any run takes; up to here a step's number is exact in f64, in which schedules compute.
const MOST_STEPS: u64 = 1 << 53;

/// The reason why `step` cannot be the count of steps after some epochs of `steps` and some more steps.
pub(super) fn miscounted(step: u64, (epoch, step_in_epoch): (u64, u64), steps: u64) -> Option<String> {
    if step_in_epoch >= steps {
        return Some(format!("says that {step_in_epoch} of {steps} steps of an epoch are taken"));
    }
    let counted = epoch.checked_mul(steps).and_then(|n| n.checked_add(step_in_epoch));
    (counted != Some(step) || step > MOST_STEPS)
        .then(|| format!("says {step} steps, after {epoch} epochs of {steps} and {step_in_epoch} steps more"))
}
