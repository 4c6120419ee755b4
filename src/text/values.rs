//! Sizes, ranges, colours, durations and amounts of memory, in the syntax of options. `parse_…` reads back
//! what `show_…` writes.

use std::time::Duration;

use crate::error::{Error, Result};

/// The largest accepted side of an image.
const LONGEST_SIDE: usize = 65_535;

/// A number that must be 0 or more.
///
/// # Errors
/// [`Error::Config`] for any other number, with the option's name.
pub(crate) fn not_negative(option: &str, value: Option<f64>) -> Result<Option<f64>> {
    match value {
        Some(value) if !(value.is_finite() && value >= 0.0) => {
            Err(Error::config(format!("{option} must be 0 or a positive number, not {value}")))
        }
        _ => Ok(value),
    }
}

/// A number that must be more than 0.
///
/// # Errors
/// [`Error::Config`] for any other number, with the option's name.
pub(crate) fn positive(option: &str, value: Option<f64>) -> Result<Option<f64>> {
    match value {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(Error::config(format!("{option} must be a positive number, not {value}")))
        }
        _ => Ok(value),
    }
}

/// The error for text that cannot be parsed: what it should be, the text, and how to write it.
fn invalid(what: &str, text: &str, how: &str) -> Error {
    Error::config(format!("invalid {what} `{}`; write it like {how}", super::printable(text)))
}

/// `0.1s`, `30s`, `5m`, `1h`.
///
/// # Errors
/// [`Error::Config`] for anything else.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || invalid("duration", text, "0.1s, 30s, 5m or 1h");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// A duration in seconds.
pub(crate) fn show_duration(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

/// `N` for both sides, or `HxW`; each from 1 to 65535. Returns (height, width).
///
/// # Errors
/// [`Error::Config`] for anything else.
pub(crate) fn parse_size(text: &str) -> Result<(usize, usize)> {
    let wrong = || invalid("size", text, "64 or 48x64 (height x width, each from 1 to 65535)");
    let side = |side: &str| {
        side.trim().parse::<usize>().ok().filter(|side| (1..=LONGEST_SIDE).contains(side)).ok_or_else(wrong)
    };
    let (height, width) = text.split_once(['x', '×']).unwrap_or((text, text));
    Ok((side(height)?, side(width)?))
}

/// Height and width as `HxW`.
pub(crate) fn show_size((height, width): (usize, usize)) -> String {
    format!("{height}x{width}")
}

/// `white`, `black` or `#rrggbb`. Returns red, green and blue.
///
/// # Errors
/// [`Error::Config`] for anything else.
pub(crate) fn parse_color(text: &str) -> Result<[u8; 3]> {
    let wrong = || invalid("colour", text, "white, black or #rrggbb");
    match (text, text.strip_prefix('#')) {
        ("white", _) => Ok([255; 3]),
        ("black", _) => Ok([0; 3]),
        (_, Some(digits)) if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
            let [_, red, green, blue] = number.to_be_bytes();
            Ok([red, green, blue])
        }
        _ => Err(wrong()),
    }
}

/// A colour as `#rrggbb`.
pub(crate) fn show_color([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// `LO,HI`: two numbers, the smaller first.
///
/// # Errors
/// [`Error::Config`] for anything else.
pub(crate) fn parse_range(text: &str) -> Result<(f32, f32)> {
    let wrong = || invalid("range", text, "-1,1 (the values of black and white, the smaller first)");
    let (low, high) = text.split_once(',').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<f32>().ok().filter(|n| n.is_finite()).ok_or_else(wrong);
    let (low, high) = (number(low)?, number(high)?);
    if low < high { Ok((low, high)) } else { Err(wrong()) }
}

/// A range as `LO,HI`.
pub(crate) fn show_range((low, high): (f32, f32)) -> String {
    format!("{low},{high}")
}

/// Bytes: `500MB`, `8GiB`, `1000000B`.
///
/// # Errors
/// [`Error::Config`] for anything else, and for less than one byte.
pub(crate) fn parse_memory(text: &str) -> Result<u64> {
    let wrong = || invalid("amount of memory", text, "500MB or 8GiB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_lowercase().as_str() {
        "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = number * unit;
    if bytes.is_finite() && bytes >= 1.0 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// An amount of memory in bytes.
pub(crate) fn show_memory(bytes: u64) -> String {
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text parses to its value, which survives writing and reading again; none of the others is
    /// accepted.
    fn check<T: PartialEq + std::fmt::Debug + Copy>(
        parse: fn(&str) -> Result<T>,
        show: fn(T) -> String,
        right: &[(&str, T)],
        wrong: &[&str],
        says: &str,
    ) {
        for (text, value) in right {
            assert_eq!(parse(text).unwrap(), *value, "{text}");
            assert_eq!(parse(&show(*value)).unwrap(), *value, "{text}");
        }
        for text in wrong {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(says) && message.contains(&format!("`{text}`")), "{message}");
        }
    }

    #[test]
    fn durations() {
        let seconds = Duration::from_secs_f64;
        let right = [("0.1s", seconds(0.1)), ("5m", seconds(300.0)), ("1h", seconds(3600.0))];
        check(
            parse_duration,
            show_duration,
            &right,
            &["", "5", "-5s", "5µ", "s", "nans", "1e999s"],
            "duration",
        );
    }

    #[test]
    fn sizes() {
        let right = [("64", (64, 64)), ("33x47", (33, 47)), ("33 × 47", (33, 47)), ("65535", (65535, 65535))];
        check(parse_size, show_size, &right, &["", "0", "x", "8x", "-1", "8x8x8", "65536", "1e3"], "size");
    }

    #[test]
    fn colours() {
        let right = [("black", [0; 3]), ("white", [255; 3]), ("#01ffA0", [1, 255, 160])];
        let wrong = ["", "blue", "#12345", "#1234567", "#12345g", "a123456", "#ä1234", "#+f+f+f", "#+12345"];
        check(parse_color, show_color, &right, &wrong, "colour");
    }

    #[test]
    fn ranges() {
        let right = [("-1,1", (-1.0, 1.0)), ("0, 65535", (0.0, 65535.0)), ("0.1,0.3", (0.1, 0.3))];
        check(parse_range, show_range, &right, &["", "1", "1,1", "2,1", "nan,1", "0,inf", "0,1,2"], "range");
    }

    #[test]
    fn memory() {
        let right = [("500MB", 500_000_000), ("8GiB", 8 << 30), ("1.5 kb", 1500), ("77B", 77)];
        check(
            parse_memory,
            show_memory,
            &right,
            &["", "lots", "8", "0B", "-1GB", "nanB", "1e300GB"],
            "memory",
        );
    }
}
