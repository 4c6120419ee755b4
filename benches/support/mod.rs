//! What the benches are made of: [`options`] (the command line), [`harness`] (how a time is taken), [`peak`] (what this processor could do
//! at most), [`table`] (how it is printed); then what is measured: [`layers`] (each pass of each layer of a preset), [`passes`]
//! (everything else that a step does, alone), [`products`] (matrix products, in both ways), [`steps`] (whole steps, generation, growth).

pub mod harness;
pub mod layers;
pub mod options;
pub mod passes;
pub mod peak;
pub mod products;
pub mod steps;
pub mod table;
