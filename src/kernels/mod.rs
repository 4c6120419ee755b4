//! Pure functions on slices.
