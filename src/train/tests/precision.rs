//! Training with products in bf16.

use super::{pictures, trainer};
use crate::kernels::precision::Precision;

#[test]
fn training_in_bf16_descends_as_in_single_precision_does() {
    if !Precision::Bf16.is_found() {
        println!("this processor has no AVX512-BF16, so training in bf16 is not tested");
        return;
    }
    let options = "preset = \"conv\"\nchannels = [16, 32]\nhidden = [64]\nlatent = 8\nbatch = 20\nvalid = 0\nseed = 3\n";
    let losses = |precision: &str| {
        let options = format!("{options}precision = \"{precision}\"");
        let mut trainer = trainer(&options, pictures(40, (16, 16, 1)));
        let mut losses = Vec::new();
        while losses.len() < 40 {
            if trainer.epoch_is_complete() {
                trainer.next_epoch();
            }
            losses.push(trainer.step().unwrap().values.loss);
        }
        (losses, trainer.model.parameters)
    };
    let ((single, exact), (rounded, other)) = (losses("f32"), losses("bf16"));
    println!("f32 {:.2} → {:.2}, bf16 {:.2} → {:.2}", single[0], single[39], rounded[0], rounded[39]);
    assert!(exact != other, "nothing was rounded");
    assert!(rounded[39] < 0.9 * rounded[0], "{} → {}", rounded[0], rounded[39]);
    for (step, (single, rounded)) in single.iter().zip(&rounded).enumerate() {
        assert!((single - rounded).abs() < 0.03 * single, "step {step}: {single} and {rounded}");
    }
}
