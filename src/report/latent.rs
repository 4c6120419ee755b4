//! The use of each latent dimension, as SVG: bars of its KL, sorted, and below each bar the variance of its
//! μ.
//!
//! The posterior of a dimension that the decoder ignores is the prior for every image: no bar, and a dot far
//! below the line. The variances are drawn on a logarithmic axis, because it matters on which side of the
//! line they are, and by how much.

use std::fmt::Write;

use super::curves::Ticks;

/// The most dimensions that are drawn; those with the least KL are left out.
pub const MOST: usize = 256;

const WIDTH: f64 = 800.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 790.0;
// The panel of the bars, and that of the dots below it.
const BARS: (f64, f64) = (12.0, 172.0);
const DOTS: (f64, f64) = (196.0, 282.0);
const HEIGHT: f64 = 320.0;

/// The lowest variance on the axis; lower ones are drawn at this value.
const LOWEST: f64 = 1e-5;

/// The dimensions in descending order of KL.
pub fn by_kl(kl: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..kl.len()).collect();
    order.sort_by(|&a, &b| kl[b].total_cmp(&kl[a]));
    order
}

/// The diagram. `kl` is in nats and `variance` is Var(μ), one each per dimension; a dimension above
/// `threshold` is active.
pub fn figure(kl: &[f64], variance: &[f64], threshold: f64) -> String {
    let order = by_kl(kl);
    let shown = &order[..order.len().min(MOST)];
    let Some(&first) = shown.first() else { return String::new() };
    let ticks = Ticks::over(0.0, kl[first].max(1e-3), 4);
    let (_, highest) = ticks.range();
    let bar_y = |nats: f64| BARS.1 - (BARS.1 - BARS.0) * (nats / highest).clamp(0.0, 1.0);
    let largest = variance.iter().copied().fold(1.0, f64::max);
    let (low, high) = (LOWEST.log10(), largest.log10().ceil());
    let dot_y =
        |v: f64| DOTS.1 - (DOTS.1 - DOTS.0) * ((v.max(LOWEST).log10() - low) / (high - low)).clamp(0.0, 1.0);
    let place = (RIGHT - LEFT) / shown.len() as f64;
    let width = (0.72 * place).min(40.0);

    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"KL and variance of the mean per latent dimension\">"
    );
    for &tick in &ticks.values {
        axis_line(&mut svg, "grid", bar_y(tick), &ticks.label(tick));
    }
    for power in (low as i32..=high as i32).filter(|power| power.rem_euclid(2) == 0) {
        let label = if power < -2 { format!("1e{power}") } else { format!("{}", 10_f64.powi(power)) };
        axis_line(&mut svg, "grid", dot_y(10_f64.powi(power)), &label);
    }
    axis_line(&mut svg, "mark", dot_y(threshold), "");
    // Numbers under the bars; all of them if there is room.
    let every = (18.0 / place).ceil() as usize;
    for (at, &dimension) in shown.iter().enumerate() {
        let middle = LEFT + (at as f64 + 0.5) * place;
        let (nats, var) = (kl[dimension], variance[dimension]);
        let is_active = var > threshold;
        let (class, word) = if is_active { ("active", "active") } else { ("idle", "not active") };
        let top = bar_y(nats);
        let _ = write!(
            svg,
            "<g class=\"{class}\"><title>dimension {dimension}: KL {nats:.3} nats, variance of μ {var:.2e}, {word}</title>\
             <rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>\
             <circle cx=\"{middle:.1}\" cy=\"{:.1}\" r=\"{:.1}\"/></g>",
            middle - 0.5 * width,
            (BARS.1 - top).max(0.5),
            dot_y(var),
            (0.3 * width).clamp(1.0, 4.0)
        );
        if at.is_multiple_of(every) {
            let y = DOTS.1 + 15.0;
            let _ =
                write!(svg, "<text class=\"middle small\" x=\"{middle:.1}\" y=\"{y}\">{dimension}</text>");
        }
    }
    for (panel, label) in [(BARS, "KL, nats"), (DOTS, "Var(μ)")] {
        let _ = write!(svg, "<text class=\"small over\" x=\"{LEFT}\" y=\"{}\">{label}</text>", panel.0 - 3.0);
    }
    let middle = 0.5 * (LEFT + RIGHT);
    let _ = write!(
        svg,
        "<text class=\"middle\" x=\"{middle}\" y=\"{}\">latent dimension</text></svg>",
        HEIGHT - 5.0
    );
    svg
}

fn axis_line(svg: &mut String, class: &str, y: f64, label: &str) {
    let _ = write!(svg, "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
    if !label.is_empty() {
        let _ = write!(svg, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{label}</text>", LEFT - 6.0, y + 4.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_stand_in_the_order_of_their_kl() {
        let drawn = figure(&[0.0, 2.0, 1.0], &[0.0, 0.9, 0.02], 0.01);
        let at = |text: &str| drawn.find(text).unwrap();
        assert!(at("dimension 1:") < at("dimension 2:") && at("dimension 2:") < at("dimension 0:"));
        assert_eq!(
            (drawn.matches("class=\"active\"").count(), drawn.matches("class=\"idle\"").count()),
            (2, 1)
        );
        assert!(!drawn.contains("NaN"));
    }

    #[test]
    fn very_many_dimensions_are_cut_and_none_is_no_diagram() {
        assert_eq!(figure(&vec![0.1; 5000], &vec![0.5; 5000], 0.01).matches("<rect").count(), MOST);
        assert_eq!(figure(&[], &[], 0.01), "");
        assert!(!figure(&[0.0], &[0.0], 0.01).contains("NaN"));
    }
}
