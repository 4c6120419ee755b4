//! Compressed files through the library: every kind of model restores every kind of image byte for byte;
//! every flipped bit and every truncation of a file is detected.

mod support;

use elbo::Vae;
use elbo::compress::{CompressOptions, Compressed, Contents, DecompressOptions, compress, memory};
use elbo::data::{Images, Labels};
use elbo::loss::Likelihood;
use elbo::model::{ContextInputs, ModelConfig, Preset};
use elbo::tensor::ImageShape;
use support::Numbers;

const LIKELIHOODS: [Likelihood; 3] = [
    Likelihood::BetaBinomial,
    Likelihood::DiscretizedLogistic,
    Likelihood::LogisticMixture { components: 2 },
];

/// An untrained model with small layers, its weights made larger so that its outputs are not all the same.
fn model(preset: Preset, image: ImageShape, likelihood: Likelihood, labels: &[&str]) -> Vae<f32> {
    let whole = ModelConfig::new(preset, image);
    // The article's widths are fixed.
    let small = |widths: &[usize], width| match preset {
        Preset::Article => widths.to_vec(),
        _ => vec![width; widths.len()],
    };
    let (widths, hidden) = (small(&whole.widths, 4), small(&whole.hidden, 12));
    let labels = labels.iter().map(|label| label.to_string()).collect();
    let config = ModelConfig { latent: 3, widths, hidden, likelihood, labels, ..whole };
    let mut model = Vae::new(config, 1).unwrap();
    model.parameters.iter_mut().for_each(|weight| *weight *= 1.5);
    model
}

/// Black, white, noise, and smooth images.
fn images(count: usize, image: ImageShape) -> Images {
    let mut numbers = Numbers(11);
    let mut bytes = Vec::new();
    for at in 0..count {
        for place in 0..image.len() {
            bytes.push(match at % 4 {
                0 => 0,
                1 => 255,
                2 => numbers.next() as u8,
                _ => (place * 3 + at) as u8,
            });
        }
    }
    Images::from_bytes(bytes, count, image.height, image.width, image.channels)
}

fn plain(images: &Images) -> Contents<'_> {
    Contents { images, names: &[], labels: None }
}

fn back(file: &[u8], model: &Vae<f32>) -> elbo::Result<Images> {
    let file = Compressed::from_bytes(file.to_vec(), "file.elbo");
    file.decompress(model, &DecompressOptions::default(), &|_| ()).map(|back| back.images)
}

#[test]
fn every_image_comes_back_from_every_model() {
    for preset in [Preset::Conv, Preset::Mlp, Preset::Article, Preset::Residual] {
        for image in [ImageShape::new(8, 8, 1), ImageShape::new(9, 13, 3)] {
            for likelihood in LIKELIHOODS {
                let model = model(preset, image, likelihood, &[]);
                let images = images(11, image);
                let options = CompressOptions { block: Some(4), ..CompressOptions::default() };
                let file = compress(&model, &plain(&images), &options, &|_| ()).unwrap();
                let found =
                    back(&file, &model).unwrap_or_else(|e| panic!("{preset} {image} {likelihood}: {e}"));
                assert!(found == images, "{preset} {image} {likelihood}");
            }
        }
    }
}

/// A small untrained model with a context network; in colour and with the preset mlp its inputs are
/// differences, if the likelihood has means.
fn with_context(preset: Preset, image: ImageShape, likelihood: Likelihood) -> Vae<f32> {
    let has_means = likelihood.means_and_log_scales().is_some();
    let sees_differences = has_means && (image.channels > 1 || preset == Preset::Mlp);
    let context_inputs = if sees_differences { ContextInputs::Differences } else { ContextInputs::Values };
    let base = model(preset, image, likelihood, &[]);
    Vae::new(ModelConfig { context: Some(8), context_inputs, ..base.config().clone() }, 2).unwrap()
}

#[test]
fn every_image_comes_back_from_every_model_with_context() {
    for preset in [Preset::Conv, Preset::Mlp, Preset::Article, Preset::Residual] {
        for image in [ImageShape::new(8, 8, 1), ImageShape::new(9, 13, 3)] {
            for likelihood in LIKELIHOODS {
                let model = with_context(preset, image, likelihood);
                let images = images(7, image);
                let options = CompressOptions { block: Some(4), ..CompressOptions::default() };
                let file = compress(&model, &plain(&images), &options, &|_| ()).unwrap();
                let found =
                    back(&file, &model).unwrap_or_else(|e| panic!("{preset} {image} {likelihood}: {e}"));
                assert!(found == images, "{preset} {image} {likelihood}");
            }
        }
    }
}

#[test]
fn a_file_with_context_is_the_same_for_any_number_of_threads() {
    let image = ImageShape::new(8, 10, 1);
    let model = with_context(Preset::Conv, image, Likelihood::BetaBinomial);
    let images = images(30, image);
    let options = CompressOptions { block: Some(2), ..CompressOptions::default() };
    let file = compress(&model, &plain(&images), &options, &|_| ()).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let again = compress(&model, &plain(&images), &options, &|_| ()).unwrap();
            assert!(again == file, "{threads} threads");
            assert!(back(&file, &model).unwrap() == images, "{threads} threads");
        });
    }
    // Blocks alone, in a batch of one image.
    let part = DecompressOptions { images: Some(7..8), ..DecompressOptions::default() };
    let found = Compressed::from_bytes(file, "file.elbo").decompress(&model, &part, &|_| ()).unwrap();
    assert!(found.images == images.select(&[7]));
}

#[test]
fn a_file_is_the_same_for_any_number_of_threads_and_reads_in_parts() {
    let image = ImageShape::new(8, 10, 1);
    let model = model(Preset::Conv, image, Likelihood::BetaBinomial, &[]);
    let images = images(150, image);
    let options = CompressOptions { block: Some(2), ..CompressOptions::default() };
    let file = compress(&model, &plain(&images), &options, &|_| ()).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            assert!(
                compress(&model, &plain(&images), &options, &|_| ()).unwrap() == file,
                "{threads} threads"
            );
            assert!(back(&file, &model).unwrap() == images, "{threads} threads");
        });
    }
    // A block alone is decoded in batches of one image; all together in batches of 64.
    let compressed = Compressed::from_bytes(file, "file.elbo");
    for range in [0..1, 1..4, 7..8, 149..150, 20..150] {
        let part = DecompressOptions { images: Some(range.clone()), ..DecompressOptions::default() };
        let found = compressed.decompress(&model, &part, &|_| ()).unwrap();
        assert_eq!(found.first, range.start);
        assert!(found.images == images.select(&range.clone().collect::<Vec<_>>()), "{range:?}");
    }
    for range in [150..151, 3..3, 0..151] {
        let part = DecompressOptions { images: Some(range), ..DecompressOptions::default() };
        let message = compressed.decompress(&model, &part, &|_| ()).unwrap_err().to_string();
        assert!(message.contains("file.elbo has 150, counted from 0"), "{message}");
    }
}

#[test]
fn every_number_of_latent_bits_works() {
    let image = ImageShape::new(8, 8, 1);
    let model = model(Preset::Mlp, image, Likelihood::DiscretizedLogistic, &[]);
    let images = images(5, image);
    for latent_bits in 4..=16 {
        let options = CompressOptions { latent_bits, ..CompressOptions::default() };
        let file = compress(&model, &plain(&images), &options, &|_| ()).unwrap();
        assert!(back(&file, &model).unwrap() == images, "{latent_bits}");
    }
    for latent_bits in [0, 3, 17, u32::MAX] {
        let options = CompressOptions { latent_bits, ..CompressOptions::default() };
        assert!(compress(&model, &plain(&images), &options, &|_| ()).is_err());
    }
}

/// A file with everything in it: two blocks, names, labels, the model.
fn full_file() -> (Vae<f32>, Images, Vec<u8>) {
    let image = ImageShape::new(8, 8, 1);
    let model = model(Preset::Mlp, image, Likelihood::BetaBinomial, &["even", "odd"]);
    let images = images(3, image);
    let names = ["a.png", "b/c.png", "b/d.png"].map(String::from);
    let labels = Labels { ids: vec![1, 0, 0], names: vec!["odd".into(), "even".into()] };
    let contents = Contents { images: &images, names: &names, labels: Some(&labels) };
    let options = CompressOptions { block: Some(2), with_model: true, ..CompressOptions::default() };
    let file = compress(&model, &contents, &options, &|_| ()).unwrap();
    let found = Compressed::from_bytes(file.clone(), "file.elbo");
    let found = found.decompress(&model, &DecompressOptions::default(), &|_| ()).unwrap();
    assert_eq!((found.images, found.names, found.labels), (images.clone(), names.to_vec(), Some(labels)));
    (model, images, file)
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let (model, images, file) = full_file();
    let inside = Compressed::from_bytes(file.clone(), "file.elbo").model().unwrap().unwrap();
    assert!(inside == model);
    let is_refused = |bytes: &[u8]| match Compressed::from_bytes(bytes.to_vec(), "file.elbo").model() {
        Err(_) => true,
        Ok(_) => back(bytes, &model).is_err(),
    };
    let mut damaged = file.clone();
    for bit in 0..8 * file.len() {
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(is_refused(&damaged), "bit {bit} of {}", 8 * file.len());
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    for length in 0..file.len() {
        assert!(is_refused(&file[..length]), "{length} of {} bytes", file.len());
    }
    let longer = [&file[..], &[0]].concat();
    assert!(back(&longer, &model).unwrap_err().to_string().contains("continues after"));
    assert!(back(&file, &model).unwrap() == images);
}

#[test]
fn undamaged_blocks_are_salvaged() {
    let image = ImageShape::new(8, 8, 1);
    let model = model(Preset::Mlp, image, Likelihood::BetaBinomial, &[]);
    let images = images(6, image);
    let options = CompressOptions { block: Some(2), ..CompressOptions::default() };
    let file = compress(&model, &plain(&images), &options, &|_| ()).unwrap();
    let salvage = DecompressOptions { salvage: true, ..DecompressOptions::default() };
    let found = |bytes: &[u8]| {
        Compressed::from_bytes(bytes.to_vec(), "file.elbo").decompress(&model, &salvage, &|_| ()).unwrap()
    };
    let mut damaged = file.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for bytes in [&damaged[..], &file[..file.len() - 1]] {
        let message = back(bytes, &model).unwrap_err().to_string();
        assert!(message.contains("--salvage") || message.contains("cut off"), "{message}");
        let found = found(bytes);
        assert_eq!(found.missing.len(), 1);
        assert_eq!(found.missing[0].0, 4..6);
        assert!(found.images.select(&[0, 1, 2, 3]) == images.select(&[0, 1, 2, 3]));
        assert!(found.images.select(&[4]).to_bytes(0).iter().all(|&byte| byte == 0));
    }
    assert_eq!(found(&file).missing, []);
}

#[test]
fn what_cannot_be_is_said() {
    let image = ImageShape::new(8, 8, 1);
    let of = |likelihood| model(Preset::Mlp, image, likelihood, &[]);
    let good = of(Likelihood::BetaBinomial);
    let small = images(2, image);
    let refused = |model: &Vae<f32>, contents: Contents<'_>, part: &str| {
        let message =
            compress(model, &contents, &CompressOptions::default(), &|_| ()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(&of(Likelihood::Bernoulli), plain(&small), "beta-binomial");
    refused(&of(Likelihood::Gaussian { sigma: 0.1 }), plain(&small), "--likelihood discretized-logistic");
    refused(&good, plain(&images(2, ImageShape::new(8, 9, 1))), "8×8×1, and these are 8×9×1");
    let levels = Images { range: elbo::data::Range::UNIT, ..small.clone() };
    refused(&good, plain(&levels), "256 levels");
    let twice = ["a.png", "a.png"].map(String::from);
    refused(&good, Contents { names: &twice, ..plain(&small) }, "two images are named a.png");
    let outside = ["a.png", "../b.png"].map(String::from);
    refused(&good, Contents { names: &outside, ..plain(&small) }, "no file inside of the output folder");

    let file = compress(&good, &plain(&small), &CompressOptions::default(), &|_| ()).unwrap();
    let mut other = good.clone();
    other.parameters[0] += 1e-3;
    let message = back(&file, &other).unwrap_err().to_string();
    assert!(message.contains("made with the model of checksum"), "{message}");
    let message = back(b"\x89PNG\r\n\x1a\n", &good).unwrap_err().to_string();
    assert!(message.contains("no file of `elbo compress`"), "{message}");
    let mut newer = file.clone();
    newer[8] = 2;
    let message = back(&newer, &good).unwrap_err().to_string();
    assert!(message.contains("has version 2 of the format"), "{message}");
    let little = DecompressOptions { max_memory: 255, ..DecompressOptions::default() };
    let file = Compressed::from_bytes(file, "file.elbo");
    let message = file.decompress(&good, &little, &|_| ()).unwrap_err().to_string();
    assert!(message.contains("256 bytes of memory") && message.contains("--max-memory"), "{message}");
}

#[test]
fn codes_come_back_as_the_pictures_of_rounded_codes() {
    let image = ImageShape::new(8, 8, 1);
    for likelihood in [Likelihood::Bernoulli, Likelihood::BetaBinomial] {
        let model = model(Preset::Mlp, image, likelihood, &[]);
        let images = images(300, image);
        let options = CompressOptions { lossy: Some(0.01), ..CompressOptions::default() };
        let file = compress(&model, &plain(&images), &options, &|_| ()).unwrap();
        let found = back(&file, &model).unwrap();
        let mut codec = elbo::model::Codec::new(&model);
        let codes = codec.encode(&images, &(0..300).collect::<Vec<_>>(), None);
        let rounded: Vec<f32> =
            codes.mu.iter().map(|mu| ((f64::from(*mu) / 0.01).round() * 0.01) as f32).collect();
        let pictures = codec.decode(&rounded);
        for (at, picture) in pictures.chunks_exact(64).enumerate() {
            let bytes: Vec<u8> = picture.iter().map(|v| (v * 255.0).round() as u8).collect();
            assert_eq!(found.to_bytes(at), bytes, "{at}");
        }
        for step in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let options = CompressOptions { lossy: Some(step), ..CompressOptions::default() };
            assert!(compress(&model, &plain(&images), &options, &|_| ()).is_err(), "{step}");
        }
    }
}

#[test]
fn refined_codes_come_back_from_models_of_every_kind() {
    let image = ImageShape::new(8, 8, 1);
    let labelled = model(Preset::Mlp, image, Likelihood::BetaBinomial, &["even", "odd"]);
    let plain_model = model(Preset::Conv, image, Likelihood::DiscretizedLogistic, &[]);
    let context = with_context(Preset::Mlp, image, Likelihood::DiscretizedLogistic);
    let images = images(5, image);
    let labels = Labels { ids: vec![1, 0, 0, 1, 0], names: vec!["odd".into(), "even".into()] };
    let (lossy, refine) = (Some(0.1), 3);
    let options = CompressOptions { lossy, refine, block: Some(2), ..CompressOptions::default() };
    let unrefined = CompressOptions { refine: 0, ..options.clone() };
    for model in [&labelled, &plain_model, &context] {
        let labels = (model.config().classes() > 0).then_some(&labels);
        let contents = Contents { images: &images, names: &[], labels };
        let file = compress(model, &contents, &options, &|_| ()).unwrap();
        assert!(file != compress(model, &contents, &unrefined, &|_| ()).unwrap());
        assert_eq!(back(&file, model).unwrap().count, 5);
        let [much, little] = [&options, &unrefined].map(|options| memory(model, &images, options, true));
        assert!(much >= little + 4 * model.training_len(1, 1) as u64, "{much} and {little} bytes");
    }
    for (lossy, refine, part) in [(None, 1, "--lossy"), (Some(0.1), usize::MAX, "at most 10000 steps")] {
        let options = CompressOptions { lossy, refine, ..CompressOptions::default() };
        let said = compress(&plain_model, &plain(&images), &options, &|_| ()).unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
}
