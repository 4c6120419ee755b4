//! Numbers, shapes and the arrays that hold them.

mod element;

pub use element::Element;
