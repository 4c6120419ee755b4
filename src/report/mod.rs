//! What a person looks at: sheets of pictures, curves, the report of a run.
//!
//! Everything here is made of plain numbers and texts, and knows nothing of training. Reading order: [`sheet`]; for the report
//! [`metrics`] and [`progress`] (what it is made of), [`curves`] and [`latent`] (its diagrams), [`html`], [`page`] (the whole).
//!
//! The diagrams are SVG that is written here: two kinds of them, some hundred lines each, are less to carry than a plotting package,
//! and take their colours from the page, light or dark.

pub mod curves;
pub mod html;
pub mod latent;
pub mod metrics;
pub mod page;
pub mod progress;
pub mod sheet;

pub use metrics::Metrics;
pub use page::RunReport;
pub use progress::Progress;
pub use sheet::Picture;
