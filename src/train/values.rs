//! What the text and the numbers of an option mean: names, times, sizes, colours, ranges, amounts of memory. Each refuses what it
//! cannot be with what would be right. [`config`](super::config) puts them together.

use std::time::Duration;

use super::options::nearest;
use crate::error::{Error, Result};

/// The value of a name, where there is one.
pub(super) fn choose<T, const N: usize>(
    option: &str,
    name: Option<&str>,
    names: [&'static str; N],
    from_name: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    let Some(name) = name else { return Ok(None) };
    if let Some(value) = from_name(name) {
        return Ok(Some(value));
    }
    let near = nearest(name, names).map_or(String::new(), |near| format!("; did you mean {near}?"));
    let name = crate::storage::printable(name);
    Err(Error::config(format!("there is no {option} {name}{near} ({option} is one of {})", names.join(", "))))
}

/// The number, where it is 0 or more.
pub(super) fn not_negative(option: &str, value: Option<f64>) -> Result<Option<f64>> {
    match value {
        Some(value) if !(value.is_finite() && value >= 0.0) => {
            Err(Error::config(format!("{option} must be 0 or a positive number, not {value}")))
        }
        _ => Ok(value),
    }
}

/// The number, where it is more than 0.
pub(super) fn positive(option: &str, value: Option<f64>) -> Result<Option<f64>> {
    match value {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(Error::config(format!("{option} must be a positive number, not {value}")))
        }
        _ => Ok(value),
    }
}

/// 0.1s, 30s, 5m, 1h.
pub(super) fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || Error::config(format!("`{text}` is no time; write it like 0.1s, 30s, 5m or 1h"));
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// `N` or `HxW`.
pub(super) fn parse_size(text: &str) -> Result<(usize, usize)> {
    let wrong = || Error::config(format!("`{text}` is no size; write it like 64 or 48x64 (height x width)"));
    let side = |side: &str| side.parse::<usize>().ok().filter(|&side| side > 0).ok_or_else(wrong);
    match text.split_once(['x', '×']) {
        Some((height, width)) => Ok((side(height)?, side(width)?)),
        None => Ok((side(text)?, side(text)?)),
    }
}

/// `white`, `black` or `#rrggbb`.
pub(super) fn parse_color(text: &str) -> Result<[u8; 3]> {
    let wrong = || Error::config(format!("`{text}` is no colour; write white, black or #rrggbb"));
    match (text, text.strip_prefix('#')) {
        ("white", _) => Ok([255; 3]),
        ("black", _) => Ok([0; 3]),
        (_, Some(digits)) if digits.len() == 6 && digits.is_ascii() => {
            let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
            let [_, red, green, blue] = number.to_be_bytes();
            Ok([red, green, blue])
        }
        _ => Err(wrong()),
    }
}

/// `LO,HI`.
pub(super) fn parse_range(text: &str) -> Result<(f32, f32)> {
    let wrong =
        || Error::config(format!("`{text}` is no range; write the values of black and white like -1,1"));
    let (low, high) = text.split_once(',').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<f32>().ok().filter(|n| n.is_finite()).ok_or_else(wrong);
    let (low, high) = (number(low)?, number(high)?);
    if low < high { Ok((low, high)) } else { Err(wrong()) }
}

/// Bytes: `500MB`, `8GiB`, `1000000B`.
pub(super) fn parse_memory(text: &str) -> Result<u64> {
    let wrong = || Error::config(format!("`{text}` is no amount of memory; write it like 500MB or 8GiB"));
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
