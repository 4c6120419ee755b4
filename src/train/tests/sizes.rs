//! Images of many sizes and channels through every preset: a step, and a reconstruction of exactly their
//! size.

use super::{pictures, trainer};
use crate::layers::Describe;
use crate::model::{Architecture, Codec, ModelConfig, Preset};

/// Options that keep the tests' linear layers small; the convolutions have fixed widths.
fn options(preset: &str) -> String {
    let hidden = if preset == "article" { "" } else { "hidden = [32]\n" };
    format!("preset = \"{preset}\"\n{hidden}latent = 4\nbatch = 2\nvalid = 0\n")
}

fn one_step(preset: &str, size: (usize, usize, usize)) {
    let mut t = trainer(&options(preset), pictures(2, size));
    let before = t.model.parameters.clone();
    let report = t.step().unwrap_or_else(|error| panic!("{preset} {size:?}: {error}"));
    assert!(report.values.loss.is_finite() && report.norm > 0.0, "{preset} {size:?}: {report:?}");
    // Adam's first step moves every number with a gradient.
    let moved = t.model.parameters.iter().zip(&before).filter(|(a, b)| a != b).count();
    assert!(moved * 4 > before.len(), "{preset} {size:?}: only {moved} of {} moved", before.len());
    let mut codec = Codec::new(&t.model);
    let codes = codec.encode(&t.data.train, &[0, 1], None);
    assert_eq!(codes.mu.len(), 2 * 4);
    let pictures = codec.decode(&codes.mu);
    assert_eq!(pictures.len(), 2 * size.0 * size.1 * size.2, "{preset} {size:?}");
    assert!(pictures.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "{preset} {size:?}");
}

#[test]
fn conv_and_mlp_take_a_step_at_any_size() {
    for (preset, (height, width)) in ["conv", "mlp"]
        .into_iter()
        .flat_map(|p| [(8, 8), (9, 8), (28, 28), (33, 47), (64, 64), (128, 128)].map(|size| (p, size)))
    {
        for channels in [1, 3, 4] {
            one_step(preset, (height, width, channels));
        }
    }
    one_step("conv", (13, 31, 7));
}

/// The article's widths are fixed, so its largest layers grow with the image: 54 million parameters at 64×64,
/// for which a step takes 0.9 GB. At 128×128 there are 202 million; that network is only built here, since
/// its numbers, gradient and moments would take 3.2 GB.
#[test]
fn article_takes_a_step_at_any_size() {
    for (height, width) in [(8, 8), (9, 8), (28, 28), (33, 47)] {
        for channels in [1, 3, 4] {
            one_step("article", (height, width, channels));
        }
    }
    one_step("article", (64, 64, 3));
    for channels in [1, 3, 4] {
        let config = ModelConfig::new(Preset::Article, (128, 128, channels));
        let architecture = Architecture::<f32>::new(&config).unwrap();
        assert!(architecture.table.len() > 200_000_000);
        assert_eq!(architecture.decoder.output().len(), 128 * 128 * channels);
    }
}

#[test]
fn conv_with_three_convolutions_learns_pictures_of_64_by_64_in_colour() {
    let options =
        "preset = \"conv\"\nchannels = [32, 64, 128]\nbatch = 16\nvalid = 0\nlr = 0.002\nepochs = 12\n";
    let mut t = trainer(options, pictures(32, (64, 64, 3)));
    let mut losses = Vec::new();
    while !t.is_done() {
        losses.push(t.step().unwrap().values.loss);
        if t.epoch_is_complete() {
            t.next_epoch();
        }
    }
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.8 * first, "{losses:?}");
    assert_eq!(
        t.model.architecture().table.parameters.iter().filter(|p| p.name.contains("conv")).count(),
        12
    );
}
