//! Text that people write and read: names and values of options, and text from files inside messages.
//!
//! [`names`] converts between names and enum variants, [`values`] does the same for sizes, ranges, colours,
//! durations and amounts of memory. Each syntax is parsed here and nowhere else.

pub(crate) mod names;
pub(crate) mod values;

/// Makes text from a file safe for a message: one line, at most 200 characters, without control characters
/// that a terminal would obey.
pub(crate) fn printable(text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    let mut shown = String::new();
    for character in text.chars().take(200) {
        match character {
            // Quotes and backslashes, which `escape_debug` would escape too, are harmless.
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    if text.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown
}
