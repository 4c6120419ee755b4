//! What a person looks at: sheets of pictures, curves, the report of a run.

pub mod sheet;
pub mod svg;

pub use sheet::Picture;
