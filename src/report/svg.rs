//! A scatter of points as SVG: one self-contained file, readable by any browser, with axes and a legend.
//!
//! All points of a class are one path of strokes of length 0, whose round ends are the dots. That takes ten
//! bytes a point, so that the 10,000 test images of MNIST make a file of 120 kB.

use std::fmt::Write;
use std::path::Path;

use crate::error::Result;
use crate::storage::atomic::write_new;
use crate::storage::system::system;

/// Points with their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter<'a> {
    /// The title.
    pub title: &'a str,
    /// The names of the two axes.
    pub axes: (&'a str, &'a str),
    /// The points; those that are not finite are left out.
    pub points: &'a [(f64, f64)],
    /// The class of each point, an index into `names`; empty without classes.
    pub classes: &'a [u32],
    /// The names of the classes.
    pub names: &'a [String],
}

/// The plot's side, and the margins around it, in pixels.
const PLOT: f64 = 640.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
const LEGEND: f64 = 170.0;
/// Classes with their own line in the legend; the others are counted in its last line.
const NAMED: usize = 30;

impl Scatter<'_> {
    /// The file's text.
    pub fn to_svg(&self) -> String {
        let (x, y) = (Axis::of(self.points.iter().map(|p| p.0)), Axis::of(self.points.iter().map(|p| p.1)));
        let across = |value: f64| LEFT + x.share(value) * PLOT;
        let down = |value: f64| TOP + (1.0 - y.share(value)) * PLOT;
        let labelled = !self.classes.is_empty();
        let width = LEFT + PLOT + if labelled { LEGEND } else { 30.0 };
        let height = TOP + PLOT + BOTTOM;
        let mut svg = String::new();
        let mut line = |text: String| {
            svg.push_str(&text);
            svg.push('\n');
        };
        line(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">"
        ));
        line("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>".into());
        let middle = LEFT + PLOT / 2.0;
        line(format!(
            "<text x=\"{middle}\" y=\"28\" text-anchor=\"middle\" font-size=\"16\">{}</text>",
            escape(self.title)
        ));
        for tick in x.ticks() {
            let at = across(tick);
            line(format!("<path d=\"M{at:.1} {TOP}v{PLOT}\" stroke=\"#ddd\"/>"));
            let under = TOP + PLOT + 20.0;
            line(format!(
                "<text x=\"{at:.1}\" y=\"{under}\" text-anchor=\"middle\">{}</text>",
                x.label(tick)
            ));
        }
        for tick in y.ticks() {
            let at = down(tick);
            line(format!("<path d=\"M{LEFT} {at:.1}h{PLOT}\" stroke=\"#ddd\"/>"));
            let (beside, base) = (LEFT - 8.0, at + 4.5);
            line(format!(
                "<text x=\"{beside}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>",
                y.label(tick)
            ));
        }
        line(format!(
            "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{PLOT}\" height=\"{PLOT}\" fill=\"none\" stroke=\"#999\"/>"
        ));
        let (below, centre) = (TOP + PLOT + 45.0, TOP + PLOT / 2.0);
        line(format!(
            "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>",
            escape(self.axes.0)
        ));
        line(format!(
            "<text transform=\"translate(20 {centre}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(self.axes.1)
        ));

        let classes = if labelled { self.names.len().max(1) } else { 1 };
        let mut paths = vec![String::new(); classes];
        let mut counts = vec![0_usize; classes];
        for (at, &(px, py)) in
            self.points.iter().enumerate().filter(|(_, p)| p.0.is_finite() && p.1.is_finite())
        {
            let class = self.classes.get(at).map_or(0, |&class| class as usize).min(classes - 1);
            write!(paths[class], "M{:.1} {:.1}h0", across(px), down(py)).expect("a string takes all");
            counts[class] += 1;
        }
        let used: Vec<usize> = (0..classes).filter(|&class| counts[class] > 0).collect();
        // A few points are drawn large, many small.
        let dot = (14.0 - 2.2 * (self.points.len().max(1) as f64).ln()).clamp(3.5, 8.0);
        line(format!(
            "<g fill=\"none\" stroke-width=\"{dot:.1}\" stroke-linecap=\"round\" stroke-opacity=\"0.65\">"
        ));
        for (rank, &class) in used.iter().enumerate() {
            line(format!("<path stroke=\"{}\" d=\"{}\"/>", color(rank, used.len()), paths[class]));
        }
        line("</g>".into());
        if labelled {
            let left = LEFT + PLOT + 22.0;
            for (rank, &class) in used.iter().take(NAMED).enumerate() {
                let at = TOP + 12.0 + rank as f64 * 21.0;
                line(format!(
                    "<circle cx=\"{left}\" cy=\"{at}\" r=\"6\" fill=\"{}\"/>",
                    color(rank, used.len())
                ));
                let name = self.names.get(class).map_or("", String::as_str);
                let (x, y) = (left + 14.0, at + 4.5);
                line(format!(
                    "<text x=\"{x}\" y=\"{y}\">{} ({})</text>",
                    escape(&shorten(name)),
                    counts[class]
                ));
            }
            if used.len() > NAMED {
                let y = TOP + 16.5 + NAMED as f64 * 21.0;
                line(format!("<text x=\"{left}\" y=\"{y}\">and {} more</text>", used.len() - NAMED));
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Writes the file, which must not exist yet.
    ///
    /// # Errors
    /// If it exists, or the system refuses.
    pub fn save_new(&self, path: &Path) -> Result<()> {
        let text = self.to_svg();
        write_new(system(), path, |out| out.write_all(text.as_bytes()))
    }
}

/// The values that an axis spans.
struct Axis {
    low: f64,
    high: f64,
    /// From one tick to the next: 1, 2 or 5 times a power of ten.
    step: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (-1.0, 1.0) };
        let margin = ((high - low) * 0.04).max(high.abs().max(1.0) * 1e-3);
        let (low, high) = (low - margin, high + margin);
        let rough = (high - low) / 6.0;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = power * [1.0, 2.0, 5.0].into_iter().find(|&n| n * power >= rough).unwrap_or(10.0);
        Self { low, high, step }
    }

    fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step).ceil();
        (0..20).map(|i| (first + f64::from(i)) * self.step).take_while(|&tick| tick <= self.high).collect()
    }

    fn label(&self, tick: f64) -> String {
        let digits = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        let text = format!("{tick:.digits$}");
        if text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.')) {
            text.trim_start_matches('-').into()
        } else {
            text.replace('-', "−")
        }
    }
}

/// Ten distinguishable colours; more classes get evenly spaced hues.
fn color(rank: usize, classes: usize) -> String {
    const TEN: [&str; 10] = [
        "#4269d0", "#e8781e", "#d0393a", "#28a197", "#3f9a2f", "#b8a000", "#d765b6", "#8d5bd0", "#8a5a3c",
        "#6b7480",
    ];
    if classes <= TEN.len() {
        return TEN[rank].into();
    }
    let hue = 360.0 * rank as f64 / classes as f64;
    // Neighbours on the wheel differ in lightness as well.
    format!("hsl({hue:.0} 70% {}%)", [42, 58][rank % 2])
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= 14 { name.into() } else { name.chars().take(13).chain(['…']).collect() }
}

/// Text escaped for XML, without the control characters that XML does not allow.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars().filter(|c| !c.is_control()) {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_bring_markup_and_odd_points_do_no_harm() {
        let names = ["<script>&\u{7}".to_owned(), "b".to_owned()];
        let points = [(0.0, 0.0), (f64::NAN, 1.0), (1e-3, 2.0)];
        let scatter =
            Scatter { title: "a<b", axes: ("x", "y"), points: &points, classes: &[0, 1, 1], names: &names };
        let svg = scatter.to_svg();
        assert!(svg.contains("&lt;script&gt;&amp; (1)") && svg.contains("a&lt;b") && svg.contains("b (1)"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        for points in [&[][..], &[(3.0, 3.0)][..], &[(f64::INFINITY, 0.0)][..]] {
            let svg = Scatter { title: "", axes: ("", ""), points, classes: &[], names: &[] }.to_svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::of([-3.1, 2.9].into_iter());
        assert_eq!(axis.ticks(), [-2.0, 0.0, 2.0]);
        assert_eq!((axis.label(-2.0), axis.label(-0.0)), ("−2".into(), "0".into()));
        let axis = Axis::of([0.0, 0.07].into_iter());
        assert_eq!(axis.label(axis.ticks()[1]), "0.02");
    }
}
