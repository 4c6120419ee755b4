//! The cost of each layer, as SVG: a bar for its operations, and its parameters beside it.

use std::fmt::Write;

use super::grouped;
use super::html::escape;

/// A layer of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerCost {
    /// Its name: `encoder.conv1`.
    pub name: String,
    /// Multiplications and additions of one forward pass over one image.
    pub operations: usize,
    /// Its own parameters.
    pub parameters: usize,
}

/// The most layers that are drawn; those with the fewest operations are left out.
pub const MOST: usize = 40;

const WIDTH: f64 = 800.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 590.0;
const ROW: f64 = 20.0;

/// The diagram, in the order of the network; layers without operations are left out. Empty if there are none.
pub fn figure(layers: &[LayerCost]) -> String {
    let mut shown: Vec<&LayerCost> = layers.iter().filter(|layer| layer.operations > 0).collect();
    let all: usize = layers.iter().map(|layer| layer.operations).sum();
    let mut sizes: Vec<usize> = shown.iter().map(|layer| layer.operations).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let Some(&largest) = sizes.first() else { return String::new() };
    if let Some(&least) = sizes.get(MOST - 1) {
        shown.retain(|layer| layer.operations >= least);
        shown.truncate(MOST);
    }
    let height = ROW * (shown.len() + 1) as f64 + 8.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Operations and parameters of each layer\">"
    );
    let _ = write!(
        svg,
        "<text class=\"small\" x=\"{LEFT}\" y=\"14\">operations of a forward pass</text>\
         <text class=\"small end\" x=\"{}\" y=\"14\">parameters</text>",
        WIDTH - 10.0
    );
    for (at, layer) in shown.iter().enumerate() {
        let top = ROW * (at + 1) as f64 + 4.0;
        let width = (RIGHT - LEFT) * layer.operations as f64 / largest as f64;
        let share = 100.0 * layer.operations as f64 / all as f64;
        let (name, operations, text) = (escape(&layer.name), grouped(layer.operations), top + 12.0);
        let parameters = grouped(layer.parameters);
        let class = if layer.name.starts_with("decoder") { "train" } else { "active" };
        let _ = write!(
            svg,
            "<g class=\"bar {class}\"><title>{name}: {operations} operations, {share:.1} %, {parameters} parameters</title>\
             <rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></g>\
             <text class=\"end small\" x=\"{:.1}\" y=\"{text:.1}\">{name}</text>\
             <text class=\"small\" x=\"{:.1}\" y=\"{text:.1}\">{share:.1} %</text>\
             <text class=\"small end\" x=\"{}\" y=\"{text:.1}\">{parameters}</text>",
            width.max(0.5),
            ROW - 5.0,
            LEFT - 8.0,
            LEFT + width + 6.0,
            WIDTH - 10.0
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, operations: usize) -> LayerCost {
        LayerCost { name: name.into(), operations, parameters: 7 }
    }

    #[test]
    fn bars_are_shares_and_layers_without_products_are_left_out() {
        let drawn = figure(&[layer("encoder.a<b", 300), layer("encoder.pool", 0), layer("decoder.c", 100)]);
        assert!(drawn.contains("a&lt;b: 300 operations, 75.0 %, 7 parameters"), "{drawn}");
        assert_eq!(drawn.matches("<rect").count(), 2);
        let many: Vec<LayerCost> = (0..100).map(|at| layer("x", 1 + at)).collect();
        assert_eq!(figure(&many).matches("<rect").count(), MOST);
        assert_eq!(figure(&[layer("a", 0)]), "");
    }
}
