//! A page for exploring a latent space: one self-contained file, which decodes in the browser.
//!
//! ```text
//! weights.rs     the parameters in half precision, or in fewer bits if that keeps the page small
//! network.rs     the network as steps, in JSON
//! images.rs      the images of the map: codes, thumbnails, labels
//! page.rs        everything put into page.html
//!
//! engine.js      the network in plain JavaScript, a function for each operation
//! worker.js      the engine in a Web Worker
//! map.js         the map of codes
//! explorer.js    the page: sliders, draws, interpolation, drawing
//! ```
//!
//! The scripts are included unchanged: there is no build step and no package. A layer describes itself as
//! steps ([`Describe::steps`](crate::layers::Describe::steps)), a likelihood names the rule of its means
//! ([`Likelihood::mean_rule`](crate::loss::Likelihood::mean_rule)), and engine.js has a function for each
//! step and each rule.

mod images;
mod network;
mod page;
mod weights;

pub use images::Images;
pub use page::{Exploration, LONGEST};
