//! Export of a trained model to PyTorch: [`package`] writes the folder, `python` writes its Python file.

pub mod package;
mod python;

pub use package::{export, python_source};
