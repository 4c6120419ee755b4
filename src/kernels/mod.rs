//! Pure functions on slices: where the processor spends its time. Nothing here knows what a layer or a loss is.
//!
//! Reading order: [`gemm`] (matrix products, and the project's only unsafe code), [`geometry`] (which input pixel a kernel
//! tap sees), [`columns`] (im2col and col2im), [`scratch`] (working memory that is never allocated twice).

pub mod columns;
pub mod gemm;
pub mod geometry;
pub mod scratch;
