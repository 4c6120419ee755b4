//! Pure functions on slices: where the processor spends its time. Nothing here knows what a layer or a loss is.
//!
//! Reading order: [`matrix`] and [`gemm`] (matrix products, and the project's only unsafe code), [`unpacked`] (one of the two ways to multiply),
//! [`geometry`] (which input pixel a kernel tap sees), [`regions`] (where it sees none, so that zeros are not multiplied), [`columns`]
//! (im2col and col2im), [`scratch`] (working memory that is never allocated twice).

pub mod columns;
pub mod gemm;
pub mod geometry;
pub mod grid;
pub mod matrix;
pub mod scratch;
pub mod simd;
pub mod unpacked;
pub mod windows;
