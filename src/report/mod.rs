//! What a person looks at: sheets of pictures, curves, the report of a run.
//!
//! Everything here is made of plain numbers and texts, and knows nothing of training. Reading order: [`sheet`]; for the report
//! [`metrics`] and `progress` (what it is made of), [`adversarial`] (the stage with a discriminator), `curves`, `latent` and `cost` (its diagrams), `explained` (what they say), `html`, `page` (the whole); [`compare`] (several runs); [`svg`] (a scatter
//! plot of codes), [`diagram`] (a confusion matrix, a ROC curve).
//!
//! The diagrams are SVG that is written here: three kinds of them, some hundred lines each, are less to carry than a plotting package,
//! and take their colours from the page, light or dark.

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

/// A count as a person reads it.
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
