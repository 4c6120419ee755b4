//! What a person looks at: sheets of pictures, curves, the report of a run.

pub mod sheet;

pub use sheet::Picture;
