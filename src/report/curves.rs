//! Curves over epochs, as SVG.
//!
//! Drawn here because a report needs one kind of diagram and no package: two axes with round ticks, lines and
//! dots. Colours are classes, to which the page's style assigns a value for light and for dark. Every dot has
//! a `title`, which a browser shows under the pointer.

use std::fmt::Write;

use super::html::escape;

/// One line of a diagram.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name, for the legend.
    pub name: String,
    /// The class that determines its colour.
    pub class: &'static str,
    /// (x, y), from left to right; a point that is not finite is left out.
    pub points: Vec<(f64, f64)>,
}

/// A round number of ticks over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticks {
    /// Multiples of 1, 2 or 5 times a power of ten.
    pub values: Vec<f64>,
    /// The digits after the point that tell them apart.
    pub decimals: usize,
}

impl Ticks {
    /// About `count` ticks; the first is at or below `low`, the last at or above `high`.
    pub fn over(low: f64, high: f64, count: usize) -> Self {
        // A single value, or values that hardly differ, still get an axis whose labels fit into the margin.
        let span = (high - low).max(1e-3 * low.abs().max(high.abs())).max(1e-9);
        let rough = span / count.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|m| m * power).into_iter().find(|s| *s >= 0.999 * rough);
        let step = step.unwrap_or(10.0 * power);
        // Counted in whole steps, so that rounding errors do not accumulate.
        let (first, mut last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        if last <= first {
            last = first + 1.0;
        }
        let steps = ((last - first) as usize).min(100);
        Self {
            values: (0..=steps).map(|at| (first + at as f64) * step).collect(),
            decimals: (-step.log10().floor()).clamp(0.0, 9.0) as usize,
        }
    }

    /// The first and last tick.
    pub fn range(&self) -> (f64, f64) {
        (self.values[0], self.values[self.values.len() - 1])
    }

    /// A tick's label.
    pub fn label(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }
}

// The diagram and the margins of its labels, in units that are pixels on a wide screen.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 388.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 202.0;

/// Dots are drawn if a curve has at most this many; more would overlap.
const MOST_DOTS: usize = 60;

/// A diagram of `curves` over epochs, as a `figure` with its title, a legend with each curve's last value,
/// and a dashed line at the epoch `mark`. Empty if there is no point to draw.
pub fn figure(title: &str, curves: &[Curve], mark: Option<f64>) -> String {
    let finite = |curve: &Curve| {
        curve.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect::<Vec<_>>()
    };
    let curves: Vec<Curve> = curves
        .iter()
        .map(|curve| Curve { points: finite(curve), ..curve.clone() })
        .filter(|curve| !curve.points.is_empty())
        .collect();
    let all = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    if curves.is_empty() {
        return String::new();
    }
    let last_x = all().map(|p| p.0).fold(0.0, f64::max);
    let (low, high) =
        all().map(|p| p.1).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
    let (xs, ys) = (epoch_ticks(last_x), Ticks::over(low, high, 5));
    // The axis ends at the values plus a small margin; at the next tick, half of the diagram would often be
    // empty.
    let air = 0.06 * (high - low);
    let (y_low, y_high) = if air > 0.0 { (low - air, high + air) } else { ys.range() };
    let x_at = |x: f64| LEFT + (RIGHT - LEFT) * x / last_x.max(1.0);
    let y_at = |y: f64| BOTTOM - (BOTTOM - TOP) * (y - y_low) / (y_high - y_low);

    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(title));
    for &tick in ys.values.iter().filter(|tick| (y_low..=y_high).contains(*tick)) {
        let (y, label) = (y_at(tick), ys.label(tick));
        let _ =
            write!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        let _ = write!(svg, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{label}</text>", LEFT - 6.0, y + 4.0);
    }
    for &tick in &xs.values {
        let (x, label) = (x_at(tick), xs.label(tick));
        let _ = write!(svg, "<text class=\"middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>", BOTTOM + 16.0);
    }
    let middle = 0.5 * (LEFT + RIGHT);
    let _ = write!(svg, "<text class=\"middle\" x=\"{middle}\" y=\"{}\">epoch</text>", BOTTOM + 33.0);
    if let Some(x) = mark.filter(|x| (0.0..=last_x).contains(x)).map(x_at) {
        let _ = write!(
            svg,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"><title>the best epoch</title></line>"
        );
    }
    for curve in &curves {
        let path: Vec<String> =
            curve.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", x_at(x), y_at(y))).collect();
        let _ = write!(svg, "<polyline class=\"{}\" points=\"{}\"/>", curve.class, path.join(" "));
        for &(x, y) in curve.points.iter().filter(|_| curve.points.len() <= MOST_DOTS) {
            let (cx, cy, name) = (x_at(x), y_at(y), escape(&curve.name));
            let _ = write!(
                svg,
                "<circle class=\"{}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"><title>{name}, epoch {}: {y:.2}</title></circle>",
                curve.class,
                epoch_label(x)
            );
        }
    }
    let mut legend = String::new();
    for curve in &curves {
        let last = curve.points[curve.points.len() - 1].1;
        let _ =
            write!(legend, "<span class=\"key {}\">{} {last:.2}</span> ", curve.class, escape(&curve.name));
    }
    format!(
        "<figure><figcaption><strong>{}</strong> {legend}</figcaption>{svg}</svg></figure>\n",
        escape(title)
    )
}

/// Ticks from 0 to the last epoch, at whole epochs if there is more than one.
fn epoch_ticks(last: f64) -> Ticks {
    let mut ticks = Ticks::over(0.0, last.max(1.0), 5);
    ticks.values.retain(|x| *x <= last.max(1.0) * (1.0 + 1e-9) && (last < 1.0 || x.fract() == 0.0));
    if ticks.values.iter().all(|x| x.fract() == 0.0) {
        ticks.decimals = 0;
    }
    ticks
}

/// An epoch's number, with its fraction if training ended within it.
fn epoch_label(epoch: f64) -> String {
    if epoch.fract() == 0.0 { format!("{epoch}") } else { format!("{epoch:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_range() {
        assert_eq!(Ticks::over(98.6, 131.0, 4).values, [90.0, 100.0, 110.0, 120.0, 130.0, 140.0]);
        for (low, high) in
            [(0.0, 1.0), (98.6, 131.0), (-3.2, 4.9), (1e-7, 3e-7), (5.0, 5.0), (0.0, 0.0), (2e9, 9e9)]
        {
            let ticks = Ticks::over(low, high, 4);
            let (first, last) = ticks.range();
            assert!(first <= low + 1e-9 && last >= high - 1e-9 && first < last, "{low} {high}: {ticks:?}");
            assert!((2..=7).contains(&ticks.values.len()), "{low} {high}: {ticks:?}");
            let labels: std::collections::HashSet<String> =
                ticks.values.iter().map(|v| ticks.label(*v)).collect();
            assert_eq!(labels.len(), ticks.values.len(), "{ticks:?}");
        }
        assert_eq!(Ticks::over(0.0, 10.0, 5).values, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn points_that_are_no_numbers_are_left_out() {
        let curve = |points: &[(f64, f64)]| Curve { name: "a".into(), class: "train", points: points.into() };
        assert_eq!(figure("t", &[curve(&[(1.0, f64::NAN)])], None), "");
        assert_eq!(figure("t", &[], None), "");
        let drawn = figure("t", &[curve(&[(1.0, 2.0), (2.0, f64::INFINITY), (3.0, 4.0)])], Some(3.0));
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 2);
    }

    #[test]
    fn whole_epochs_where_there_are_some() {
        assert_eq!(epoch_ticks(3.0).values, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(epoch_ticks(10.0).values, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(epoch_ticks(0.46).values.first(), Some(&0.0));
        assert_eq!(epoch_label(0.4651), "0.47");
    }
}
