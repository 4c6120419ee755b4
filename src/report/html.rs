//! The HTML helpers of a self-contained page: escaped text and embedded pictures.

/// Text with its markup characters escaped, for use between tags and inside quoted attributes. Characters
/// that are not allowed in a page become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            _ if character.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A data URI with the content of a PNG (RFC 2397), for an `img`.
pub fn png_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(png))
}

/// Base64 with padding (RFC 4648, section 4): three bytes are four letters of six bits.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for letter in 0..4 {
            // One byte fills two letters, two fill three.
            let is_filled = letter <= group.len();
            let index = (bits >> (18 - 6 * letter)) as usize & 63;
            text.push(if is_filled { char::from(LETTERS[index]) } else { '=' });
        }
    }
    text
}

/// An argument quoted for a shell if it has anything but letters, digits and `/._-+:=@`.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:=@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_string()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, text) in vectors.into_iter().chain([("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")]) {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("<b> & \"c\""), "&lt;b&gt; &amp; &quot;c&quot;");
        assert_eq!(escape("<script>'x'\u{1b}[0m"), "&lt;script&gt;&#39;x&#39;\u{fffd}[0m");
        assert_eq!(shell_word("runs/a-1"), "runs/a-1");
        assert_eq!(shell_word("my run's"), r"'my run'\''s'");
    }
}
