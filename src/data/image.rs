//! One image.

/// One image's values, as they are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Image<'a> {
    /// One byte each.
    U8(&'a [u8]),
    /// Floats.
    F32(&'a [f32]),
}
