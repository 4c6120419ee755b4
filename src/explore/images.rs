//! The images of the map: their codes, labels and thumbnails, the plane on which they are drawn, and the
//! mixture fitted to their codes.

use serde_json::{Value, json};

use super::weights::half;
use crate::data::Labels;
use crate::generate::principal::Components;
use crate::generate::prior::Mixture;
use crate::generate::traverse::{Measure, activity};
use crate::model::{Codes, ModelConfig};
use crate::report::Picture;
use crate::report::html::{base64, png_uri};
use crate::report::sheet::to_byte;

/// Thumbnails are reduced by a whole factor to at most this many pixels on a side.
const LARGEST_SIDE: usize = 40;

/// The default limit on the bytes of all thumbnails, before compression.
const THUMBNAIL_BYTES: usize = 300 << 10;

/// The default limits on the number of images.
const MOST: usize = 300;
const FEWEST: usize = 40;

/// The most Gaussians of the page's mixture.
const GAUSSIANS: usize = 10;

/// Images with their codes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// Their description: "test images".
    pub what: String,
    /// Their values in [0, 1], count × H·W·C.
    pub pictures: Vec<f32>,
    /// The codes of these images, and then of others; statistics of the codes use all of them.
    pub codes: Codes,
    /// The labels of these images, if they are known.
    pub labels: Option<Labels>,
    /// Their labels in the model's numbers, for a conditional model.
    pub conditions: Vec<u32>,
}

impl Images {
    /// The default number of images of a page: as many as keep it small.
    pub fn default_count(config: &ModelConfig) -> usize {
        let (height, width) = thumbnail_size(config);
        (THUMBNAIL_BYTES / (height * width * config.channels)).clamp(FEWEST, MOST)
    }

    /// All of it in JSON.
    pub(super) fn describe(&self, config: &ModelConfig) -> Value {
        let (latent, count) = (config.latent, self.pictures.len() / config.pixels());
        let halves = |numbers: &[f32]| {
            base64(&numbers.iter().flat_map(|&n| half(n).to_le_bytes()).collect::<Vec<u8>>())
        };
        let active: Vec<Value> = activity(&self.codes, latent, Measure::Kl)
            .iter()
            .map(
                |a| json!({ "dimension": a.dimension, "kl": rounded(a.kl), "variance": rounded(a.variance) }),
            )
            .collect();
        let columns = (count as f64).sqrt().ceil().max(1.0) as usize;
        let (height, width) = thumbnail_size(config);
        json!({
            "what": self.what,
            "count": count,
            "codes": halves(&self.codes.mu[..count * latent]),
            "labels": self.labels.as_ref().map(|labels| &labels.ids),
            "names": self.labels.as_ref().map(|labels| &labels.names),
            "conditions": self.conditions,
            "thumbnails": {
                "height": height,
                "width": width * tiles(config.channels),
                "columns": columns,
                "sheet": png_uri(&self.sheet(config, columns).to_png()),
            },
            "measured_on": self.codes.mu.len() / latent,
            "activity": active,
            "plane": plane(&self.codes.mu, latent),
            "mixture": mixture(&self.codes, latent).map(|mixture| mixture_json(&mixture, &halves)),
        })
    }

    /// The thumbnails in one picture, without gaps.
    fn sheet(&self, config: &ModelConfig, columns: usize) -> Picture {
        let (count, channels) = (self.pictures.len() / config.pixels(), config.channels);
        let (height, width) = thumbnail_size(config);
        let (factor, tiles) = (factor(config), tiles(channels));
        let colors = channels / tiles;
        let (rows, sheet_width) = (count.div_ceil(columns).max(1), columns * width * tiles);
        let mut bytes = vec![0; rows * height * sheet_width * colors];
        for (at, picture) in self.pictures.chunks_exact(config.pixels()).enumerate() {
            let (top, left) = (at / columns * height, at % columns * width * tiles);
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                for channel in 0..channels {
                    let (tile, color) = (channel / colors, channel % colors);
                    // The mean of the pixels that are merged.
                    let rows = y * factor..((y + 1) * factor).min(config.height);
                    let pixels = rows.flat_map(|row| {
                        let columns = x * factor..((x + 1) * factor).min(config.width);
                        columns.map(move |column| row * config.width + column)
                    });
                    let (sum, n) = pixels
                        .fold((0.0, 0.0), |(sum, n), p| (sum + picture[p * channels + channel], n + 1.0));
                    bytes[((top + y) * sheet_width + left + tile * width + x) * colors + color] =
                        to_byte(sum / n);
                }
            }
        }
        Picture { bytes, height: rows * height, width: sheet_width, channels: colors }
    }
}

/// The factor by which thumbnails are reduced.
fn factor(config: &ModelConfig) -> usize {
    config.height.max(config.width).div_ceil(LARGEST_SIDE)
}

fn thumbnail_size(config: &ModelConfig) -> (usize, usize) {
    (config.height.div_ceil(factor(config)), config.width.div_ceil(factor(config)))
}

/// The number of grey tiles, side by side, for a picture whose channels are not colours; else 1.
fn tiles(channels: usize) -> usize {
    if matches!(channels, 1 | 3 | 4) { 1 } else { channels }
}

/// The plane of the map: a point (x, y) is the code origin + x·across + y·up. It uses the two dimensions if
/// there are two, else two principal components; a model with one dimension has a line.
fn plane(mu: &[f32], latent: usize) -> Value {
    let unit = |index: usize| (0..latent).map(|i| f64::from(u8::from(i == index))).collect::<Vec<f64>>();
    match latent {
        1 => json!({ "origin": [0.0], "across": [1.0], "up": [0.0], "names": ["dimension 0", ""] }),
        2 => {
            let names = ["dimension 0", "dimension 1"];
            json!({ "origin": [0.0, 0.0], "across": unit(0), "up": unit(1), "names": names })
        }
        _ => {
            let components = Components::of(mu, latent);
            let all: f64 = components.variances.iter().sum();
            let share = |i: usize| if all > 0.0 { 100.0 * components.variances[i] / all } else { 0.0 };
            let name =
                |i: usize| format!("principal component {} ({:.0} % of the variance)", i + 1, share(i));
            let numbers = |values: &[f64]| values.iter().map(|&v| rounded(v)).collect::<Vec<f64>>();
            json!({
                "origin": numbers(&components.mean),
                "across": numbers(&components.directions[0]),
                "up": numbers(&components.directions[1]),
                "names": [name(0), name(1)],
            })
        }
    }
}

/// Rounded to five decimals, more than a map shows.
fn rounded(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

/// The mixture fitted to the codes; `None` if there are too few codes.
fn mixture(codes: &Codes, latent: usize) -> Option<Mixture> {
    let images = codes.mu.len() / latent;
    let components = Mixture::default_components(images).min(GAUSSIANS);
    Mixture::fit(codes, latent, components, 0).ok().map(|(mixture, _)| mixture)
}

/// Weights, means, and the roots of the covariances; of a full one the lower triangle, row by row.
fn mixture_json(mixture: &Mixture, halves: &dyn Fn(&[f32]) -> String) -> Value {
    let latent = mixture.latent;
    let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    let scales: Vec<f32> = if mixture.is_full() {
        let matrices = mixture.scales.chunks_exact(latent * latent);
        let triangle = |matrix: &[f64]| {
            let rows = matrix.chunks_exact(latent).enumerate();
            rows.flat_map(|(row, values)| single(&values[..=row])).collect::<Vec<f32>>()
        };
        matrices.flat_map(triangle).collect()
    } else {
        single(&mixture.scales)
    };
    json!({
        "weights": mixture.weights.iter().map(|&w| rounded(w)).collect::<Vec<f64>>(),
        "means": halves(&single(&mixture.means)),
        "scales": halves(&scales),
        "full": mixture.is_full(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::random_vec;
    use crate::model::Preset;

    #[test]
    fn thumbnails_are_means_and_lie_side_by_side() {
        // 80×80 pixels become 40×40: if every second pixel is 1, the mean is a half.
        let config = ModelConfig::new(Preset::Mlp, (80, 80, 1));
        let pictures: Vec<f32> = (0..2 * 6400).map(|i| if i < 6400 { (i % 2) as f32 } else { 1.0 }).collect();
        let images = Images { pictures, ..Images::default() };
        let sheet = images.sheet(&config, 2);
        assert_eq!((sheet.height, sheet.width, sheet.bytes[0], sheet.bytes[40]), (40, 80, 128, 255));
    }

    #[test]
    fn planes_and_mixtures_fit_any_number_of_dimensions() {
        for latent in [1, 2, 3, 130] {
            let config = ModelConfig { latent, ..ModelConfig::new(Preset::Mlp, (8, 8, 1)) };
            let mu: Vec<f32> = random_vec(3, 300 * latent).iter().map(|&v| v as f32).collect();
            let codes = Codes { log_variance: vec![-2.0; mu.len()], mu };
            let pictures = vec![0.5; 5 * 64];
            let described = Images { codes, pictures, ..Images::default() }.describe(&config);
            assert_eq!((&described["count"], &described["measured_on"]), (&json!(5), &json!(300)));
            assert_eq!(described["plane"]["across"].as_array().unwrap().len(), latent);
            assert_eq!(described["activity"].as_array().unwrap().len(), latent);
            assert_eq!(described["mixture"]["full"], json!(latent < 130));
        }
    }
}
