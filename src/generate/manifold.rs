//! Maps of the latent space: a grid of pictures over the prior, and a scatter plot of images' codes.
//!
//! Between any two neighbours of the grid lies the same share of the prior: its coordinates are quantiles,
//!
//! ```text
//! z_i = Φ⁻¹((i + ½)/n),   i = 0 … n−1
//! ```
//!
//! as in figure 4 of Kingma & Welling 2014. With two latent dimensions the grid covers the whole latent
//! space; with more, a plane through the origin.

use super::principal::Components;
use super::quantile::inverse_normal;
use crate::error::{Error, Result};
use crate::model::codec::Codec;

/// The codes of a grid of `side × side` pictures over two axes of the latent space; all other dimensions are
/// 0. The first axis grows to the right, the second upwards: rows from the top, side² × Z. A model with one
/// dimension has one row.
///
/// ```
/// let codes = elbo::generate::manifold::grid(2, (0, 1), 2)?;
/// let q = 0.67448975_f32; // quarter of the prior beyond it
/// assert_eq!(codes, [-q, q, q, q, -q, -q, q, -q]);
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// If an axis is not a dimension of the model, or the side is 0.
pub fn grid(latent: usize, axes: (usize, usize), side: usize) -> Result<Vec<f32>> {
    if side == 0 || side > 1000 {
        return Err(Error::config(format!(
            "a grid of {side}×{side} pictures; a side must be from 1 to 1000"
        )));
    }
    let quantile = |i: usize| inverse_normal((i as f64 + 0.5) / side as f64) as f32;
    let rows = if latent == 1 { 1 } else { side };
    if latent > 1 {
        check_axes(latent, axes)?;
    }
    let mut codes = vec![0.0; rows * side * latent];
    for (at, code) in codes.chunks_exact_mut(latent).enumerate() {
        let (row, column) = (at / side, at % side);
        if latent > 1 {
            code[axes.1] = quantile(side - 1 - row);
        }
        code[if latent > 1 { axes.0 } else { 0 }] = quantile(column);
    }
    Ok(codes)
}

/// [`grid`], decoded: the pictures' values in [0, 1], row by row. A conditional model draws the given label,
/// or its first one.
///
/// # Errors
/// As [`grid`].
pub fn draw_grid(
    codec: &mut Codec<'_>,
    axes: (usize, usize),
    side: usize,
    label: Option<u32>,
) -> Result<Vec<f32>> {
    let config = codec.model().config();
    let codes = grid(config.latent, axes, side)?;
    Ok(codec.decode_as(&codes, &config.same_label(label.unwrap_or(0), codes.len() / config.latent)))
}

/// How codes of Z dimensions are projected onto two.
#[derive(Clone, Debug, PartialEq)]
pub enum Projection {
    /// Two of their dimensions.
    Axes(usize, usize),
    /// Their two principal components.
    Principal,
}

/// Points in the plane, with the names of their axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// One point per code.
    pub points: Vec<(f64, f64)>,
    /// The names of the two axes.
    pub axes: (String, String),
}

/// Codes (N × Z) as points.
///
/// # Errors
/// If an axis is not a dimension of the codes, or they have only one.
pub fn project(codes: &[f32], latent: usize, projection: &Projection) -> Result<Map> {
    if latent < 2 {
        return Err(Error::config(
            "a scatter has two axes, and the model's codes have 1 dimension; its grid is a .png",
        ));
    }
    match *projection {
        Projection::Axes(x, y) => {
            check_axes(latent, (x, y))?;
            let point = |z: &[f32]| (f64::from(z[x]), f64::from(z[y]));
            Ok(Map {
                points: codes.chunks_exact(latent).map(point).collect(),
                axes: (format!("z{x}"), format!("z{y}")),
            })
        }
        Projection::Principal => {
            let components = Components::of(codes, latent);
            let point = |z: &[f32]| (components.project(z, 0), components.project(z, 1));
            let all: f64 = components.variances.iter().sum();
            let name = |i: usize| {
                let share = if all > 0.0 { 100.0 * components.variances[i] / all } else { 0.0 };
                format!("principal component {} ({share:.0}% of the variance)", i + 1)
            };
            Ok(Map { points: codes.chunks_exact(latent).map(point).collect(), axes: (name(0), name(1)) })
        }
    }
}

fn check_axes(latent: usize, (x, y): (usize, usize)) -> Result<()> {
    if x.max(y) >= latent || x == y {
        return Err(Error::config(format!(
            "axes {x},{y} of a model with {latent} latent dimensions; two different ones from 0 to {} are needed",
            latent - 1
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_symmetric_and_lies_in_its_plane() {
        let codes = grid(5, (3, 1), 4).unwrap();
        assert_eq!(codes.len(), 16 * 5);
        for (at, code) in codes.chunks(5).enumerate() {
            assert_eq!((code[0], code[2], code[4]), (0.0, 0.0, 0.0));
            let opposite = &codes[(15 - at) * 5..][..5];
            assert!((code[1] + opposite[1]).abs() < 1e-6 && (code[3] + opposite[3]).abs() < 1e-6);
        }
        assert!(codes[3] < codes[8] && codes[1] > codes[4 * 5 + 1]); // right, and down
        assert_eq!(grid(1, (0, 1), 3).unwrap().len(), 3);
        assert!(grid(2, (0, 2), 3).is_err() && grid(2, (1, 1), 3).is_err() && grid(2, (0, 1), 0).is_err());
    }

    #[test]
    fn points_are_two_of_the_numbers_or_the_directions_of_most_variance() {
        let codes = [0.0, 5.0, 1.0, 0.0, 5.0, -1.0, 0.1, 5.0, 3.0];
        let map = project(&codes, 3, &Projection::Axes(2, 0)).unwrap();
        assert_eq!(map.points[0], (1.0, 0.0));
        let map = project(&codes, 3, &Projection::Principal).unwrap();
        assert!(map.points[2].0 > map.points[0].0 && map.points[0].0 > map.points[1].0);
        assert!(map.axes.0.contains("100%"), "{}", map.axes.0);
        assert!(project(&[1.0], 1, &Projection::Principal).is_err());
    }
}
