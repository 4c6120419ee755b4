//! Interpolation: paths from one code to another, whose decoded pictures turn one image into another.
//!
//! ```text
//! straight    z(t) = (1−t)·a + t·b
//! spherical   z(t) = sin((1−t)Ω)/sin Ω · a + sin(tΩ)/sin Ω · b,     Ω the angle between a and b
//! ```
//!
//! The spherical path is Shoemake's (1985, "Animating rotation with quaternion curves"), applied to latent
//! codes as White 2016 ("Sampling generative networks") does. In many dimensions nearly all of the prior lies
//! at a distance of about √Z from the origin; the middle of a straight path between two such codes is nearer
//! to the origin than any image's code.

use crate::error::{Error, Result};
use crate::text::names::named;

/// The path from one code to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Walk {
    /// The straight line.
    #[default]
    Straight,
    /// Along the arc.
    Spherical,
}

named!(Walk, "path", Straight => "straight", Spherical => "spherical");

/// sin Ω below which two codes count as parallel, and the arc is a straight line.
const PARALLEL: f64 = 1e-6;

impl Walk {
    /// The code at `t` in [0, 1] of the way from `a` to `b`; exactly `a` at 0 and `b` at 1.
    ///
    /// ```
    /// use elbo::generate::interpolate::Walk;
    /// assert_eq!(Walk::Straight.between(&[0.0, 2.0], &[2.0, 0.0], 0.5), [1.0, 1.0]);
    /// let middle = Walk::Spherical.between(&[0.0, 2.0], &[2.0, 0.0], 0.5);
    /// assert!((middle[0] - 2.0_f32.sqrt()).abs() < 1e-6); // on the circle
    /// ```
    ///
    /// # Panics
    /// If the codes have different lengths.
    pub fn between(self, a: &[f32], b: &[f32], t: f64) -> Vec<f32> {
        assert_eq!(a.len(), b.len(), "two codes of the same model");
        let (from, to) = match self {
            _ if t <= 0.0 => return a.to_vec(),
            _ if t >= 1.0 => return b.to_vec(),
            Self::Straight => (1.0 - t, t),
            Self::Spherical => arc(a, b, t).unwrap_or((1.0 - t, t)),
        };
        a.iter().zip(b).map(|(&a, &b)| (from * f64::from(a) + to * f64::from(b)) as f32).collect()
    }

    /// `steps` codes from `a` to `b`, both included: steps × Z.
    ///
    /// # Errors
    /// If there are fewer than two steps.
    pub fn strip(self, a: &[f32], b: &[f32], steps: usize) -> Result<Vec<f32>> {
        if steps < 2 {
            return Err(Error::config(format!("a path of {steps} steps; there must be at least 2")));
        }
        let last = (steps - 1) as f64;
        Ok((0..steps).flat_map(|step| self.between(a, b, step as f64 / last)).collect())
    }
}

/// The weights of both ends; `None` if there is no angle between them.
fn arc(a: &[f32], b: &[f32], t: f64) -> Option<(f64, f64)> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms == 0.0 {
        return None;
    }
    let angle = (dot(a, b) / norms).clamp(-1.0, 1.0).acos();
    let sine = angle.sin();
    (sine > PARALLEL).then(|| (((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_exact_and_the_arc_keeps_its_distance() {
        let (a, b) = ([1.0_f32, 0.3, -2.0], [0.5_f32, -2.0, 0.9]);
        for walk in [Walk::Straight, Walk::Spherical] {
            let strip = walk.strip(&a, &b, 7).unwrap();
            assert_eq!((&strip[..3], &strip[18..]), (&a[..], &b[..]));
        }
        let length = |z: &[f32]| z.iter().map(|z| z * z).sum::<f32>().sqrt();
        let (a, b) = ([3.0_f32, 0.0, 0.0], [0.0_f32, 2.4, -1.8]);
        for step in Walk::Spherical.strip(&a, &b, 9).unwrap().chunks(3) {
            assert!((length(step) - 3.0).abs() < 1e-5);
        }
        assert!(length(&Walk::Straight.between(&a, &b, 0.5)) < 2.2);
    }

    #[test]
    fn codes_without_an_angle_are_joined_by_a_line() {
        assert_eq!(Walk::Spherical.between(&[0.0, 0.0], &[2.0, 4.0], 0.5), [1.0, 2.0]);
        assert_eq!(Walk::Spherical.between(&[1.0, 1.0], &[3.0, 3.0], 0.5), [2.0, 2.0]);
        assert_eq!(Walk::Spherical.between(&[1.0, 0.0], &[-1.0, 0.0], 0.5), [0.0, 0.0]);
        assert!(Walk::Straight.strip(&[0.0], &[1.0], 1).is_err());
    }
}
