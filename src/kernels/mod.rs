//! Pure functions on slices, in which the program spends most of its time. They do not depend on layers or
//! losses.
//!
//! Reading order: [`matrix`] and [`gemm`] (matrix products), [`factors`] and [`unpacked`] (the product of
//! which most of a step consists), [`simd`] and [`dispatch`] (which instructions the processor has),
//! [`geometry`] (which input pixel a kernel tap sees), [`columns`] (im2col and col2im), [`grid`] and
//! [`windows`] (patches read in place), [`scratch`] (working memory that is never allocated twice),
//! [`precision`], `bf16` and `pairs` (products of rounded factors). The project's only unsafe code is in
//! `matrix`, `gemm`, `simd`, `pairs` and `dispatch`, each with its reasons.

#[cfg(target_arch = "x86_64")]
mod bf16;
pub mod columns;
pub mod dispatch;
pub mod factors;
pub mod gemm;
pub mod geometry;
pub mod grid;
pub mod matrix;
#[cfg(target_arch = "x86_64")]
mod pairs;
pub mod precision;
pub mod scratch;
pub mod simd;
pub mod unpacked;
pub mod windows;
pub mod winograd;
