//! The two number types that the engine computes with, and the shape of an image.

mod element;
mod shape;

pub use element::Element;
pub use shape::ImageShape;
