//! How data are to be read, and how these wishes are written on the command line and in a config file.

use super::Binarize;
use super::source::LONGEST_SIDE;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What pictures are turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// One channel, Rec. 601 luma.
    Grey,
    /// Three channels.
    Rgb,
}

/// The order of an array's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Images, rows, columns.
    Nhw,
    /// Images, rows, columns, channels.
    Nhwc,
    /// Images, channels, rows, columns.
    Nchw,
}

/// Which images are wanted. Others are not even read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Training images only.
    Train,
    /// Test images only: [`Dataset::train`](super::Dataset::train) is then empty. Data without test images are read whole, as
    /// training images. A range that is not given is then found from the test images alone: give that of the training.
    Test,
    /// All.
    Both,
}

/// How data are to be read: the options of the command line that concern it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Height and width to resize to.
    pub size: Option<(usize, usize)>,
    /// Convert to grey or to RGB.
    pub color: Option<Color>,
    /// What transparent pixels are laid over: red, green, blue.
    pub background: [u8; 3],
    /// The order of an array's axes, where its shape does not tell.
    pub layout: Option<Layout>,
    /// The values that stand for black and white.
    pub range: Option<(f32, f32)>,
    /// Bytes that images may take in memory.
    pub max_memory: u64,
    /// Go on without files that cannot be read.
    pub skip_bad: bool,
    /// Which images are wanted.
    pub part: Part,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            size: None,
            color: None,
            background: [255; 3],
            layout: None,
            range: None,
            max_memory: 8 << 30,
            skip_bad: false,
            part: Part::Both,
        }
    }
}

impl Color {
    /// Numbers per pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// Names on the command line: one list for reading and for writing them.
macro_rules! named {
    ($type:ty, $what:literal, $($variant:ident $name:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => {
                        let names = [$($name),+].join(", ");
                        Err(Error::config(format!("there is no {} '{text}'; there are {names}", $what)))
                    }
                }
            }
        }
    };
}

named!(Color, "colour", Grey "grey", Rgb "rgb");
named!(Layout, "layout", Nhw "nhw", Nhwc "nhwc", Nchw "nchw");
named!(Binarize, "binarization", Threshold "threshold", Static "static", Dynamic "dynamic");

/// Reads `--size`: one number for both sides, or height and width as `HxW`.
pub fn parse_size(text: &str) -> Result<(usize, usize)> {
    let (height, width) = text.split_once(['x', '×']).unwrap_or((text, text));
    match (height.trim().parse(), width.trim().parse()) {
        (Ok(height), Ok(width))
            if (1..=LONGEST_SIDE).contains(&height) && (1..=LONGEST_SIDE).contains(&width) =>
        {
            Ok((height, width))
        }
        _ => Err(Error::config(format!(
            "the size '{text}' is not N or HxW with numbers from 1 to {LONGEST_SIDE}"
        ))),
    }
}

/// Reads `--range`: the values that stand for black and white, `LO,HI`.
pub fn parse_range(text: &str) -> Result<(f32, f32)> {
    let wrong = || Error::config(format!("the range '{text}' is not LO,HI: two numbers, the smaller first"));
    let (low, high) = text.split_once(',').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<f32>().ok().filter(|v| v.is_finite()).ok_or_else(wrong);
    let (low, high) = (number(low)?, number(high)?);
    if low < high { Ok((low, high)) } else { Err(wrong()) }
}

/// Reads `--background`: `white`, `black`, `grey`, or `#rrggbb`.
pub fn parse_background(text: &str) -> Result<[u8; 3]> {
    let number = |at: usize| text.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    match (text, number(1), number(3), number(5)) {
        ("white", ..) => Ok([255; 3]),
        ("black", ..) => Ok([0; 3]),
        ("grey", ..) => Ok([128; 3]),
        (_, Some(red), Some(green), Some(blue))
            if text.len() == 7 && !text.contains('+') && text.starts_with('#') =>
        {
            Ok([red, green, blue])
        }
        _ => Err(Error::config(format!("the background '{text}' is not white, black, grey or #rrggbb"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64").unwrap(), (64, 64));
        assert_eq!(parse_size("33x47").unwrap(), (33, 47));
        for text in ["", "0", "x", "8x", "-1", "8x8x8", "65536", "1e3"] {
            assert_eq!(
                message(parse_size(text)),
                format!("the size '{text}' is not N or HxW with numbers from 1 to 65535")
            );
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(parse_range("-1,1").unwrap(), (-1.0, 1.0));
        assert_eq!(parse_range("0, 65535").unwrap(), (0.0, 65535.0));
        for text in ["", "1", "1,1", "2,1", "nan,1", "0,inf", "0,1,2"] {
            assert_eq!(
                message(parse_range(text)),
                format!("the range '{text}' is not LO,HI: two numbers, the smaller first")
            );
        }
    }

    #[test]
    fn backgrounds() {
        assert_eq!(parse_background("black").unwrap(), [0; 3]);
        assert_eq!(parse_background("#01ffA0").unwrap(), [1, 255, 160]);
        for text in ["", "blue", "#12345", "#1234567", "#12345g", "a123456", "#ä1234", "#+f+f+f"] {
            assert_eq!(
                message(parse_background(text)),
                format!("the background '{text}' is not white, black, grey or #rrggbb")
            );
        }
    }

    #[test]
    fn names() {
        for name in ["threshold", "static", "dynamic"] {
            assert_eq!(name.parse::<Binarize>().unwrap().to_string(), name);
        }
        assert_eq!(message("hwc".parse::<Layout>()), "there is no layout 'hwc'; there are nhw, nhwc, nchw");
        assert_eq!(serde_json::to_string(&Layout::Nchw).unwrap(), "\"nchw\"");
    }
}
