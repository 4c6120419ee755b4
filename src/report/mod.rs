//! Pictures and reports: sheets of pictures, curves, the report of a run.
//!
//! Everything here works on plain numbers and texts, and does not depend on training. Reading order:
//! [`sheet`]; for the report [`metrics`] and `progress` (its content), [`adversarial`] (the stage with a
//! discriminator), `curves`, `latent` and `cost` (its diagrams), `explained` (their explanations), `html`,
//! `page` (the complete page); [`compare`] (several runs); [`svg`] (a scatter plot of codes), [`diagram`] (a
//! confusion matrix, a ROC curve).
//!
//! The diagrams are SVG written here: three kinds of about a hundred lines each are smaller than a plotting
//! package, and they use the colours of the page, light or dark.

pub mod adversarial;
pub mod compare;
pub(crate) mod cost;
pub(crate) mod curves;
pub mod diagram;
pub(crate) mod explained;
pub(crate) mod html;
pub(crate) mod latent;
pub mod metrics;
pub(crate) mod page;
pub(crate) mod progress;
pub mod sheet;
pub mod svg;

pub(crate) use cost::LayerCost;
pub use metrics::{EpochMetrics, Losses, Metrics};
pub(crate) use page::RunReport;
pub(crate) use progress::Progress;
pub use sheet::Picture;

/// A count with its digits in groups of three.
///
/// ```
/// assert_eq!(elbo::report::grouped(1_234_567), "1,234,567");
/// ```
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
