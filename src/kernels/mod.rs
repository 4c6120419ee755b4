//! Pure functions on slices: where the processor spends its time. Nothing here knows what a layer or a loss is.
//!
//! Reading order: [`matrix`] and [`gemm`] (matrix products), [`factors`] and [`unpacked`] (the product that most of a step is made of), [`simd`] and [`dispatch`]
//! (which instructions the processor has), [`geometry`] (which input pixel a kernel tap sees), [`columns`] (im2col and col2im), [`grid`] and
//! [`windows`] (patches read where they are), [`scratch`] (working memory that is never allocated twice), [`precision`], `bf16` and `pairs` (products of rounded factors). The project's only unsafe code is in
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
