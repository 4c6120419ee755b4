//! The parts of the benches: [`options`] (the command line), [`harness`] (time measurement), [`peak`] (this
//! processor's peak), [`table`] (printing). Then the measurements: [`layers`] (each pass of each layer of a
//! preset), [`passes`] (all other parts of a step, alone), [`products`] (matrix products, in both ways),
//! [`steps`] (whole steps, generation, growth).

pub mod harness;
pub mod layers;
pub mod options;
pub mod passes;
pub mod peak;
pub mod products;
pub mod steps;
pub mod table;
