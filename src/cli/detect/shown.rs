//! Presentation of the findings: as JSON, as text, as a table and as a sheet.

use std::io::Write;

use serde_json::{Value, json};

use super::found::{Finding, Group, Reference, labelled};
use crate::cli::common::Opened;
use crate::cli::score::field;
use crate::data::{Filler, Span};
use crate::error::Result;
use crate::evaluate::detect::ScoreBy;
use crate::evaluate::heat::{HotBox, compare};
use crate::evaluate::judged::Which;
use crate::model::codec::Codec;
use crate::report::sheet::Picture;
use crate::tensor::ImageShape;

/// Images on the sheet, three tiles each, and the number of images in a row.
const SHOWN: usize = 24;
const PER_ROW: usize = 3;
/// The heat that is drawn in full red.
const HOT: f64 = 8.0;

pub(super) fn facts(
    by: ScoreBy,
    findings: &[Finding],
    groups: &[Group],
    reference: &Reference,
    area: Option<f64>,
) -> Value {
    let above = |finding: &&Finding| finding.score > reference.score.value;
    let share = |anomalous: bool| {
        let group = || findings.iter().filter(|finding| finding.truth == Some(anomalous));
        let count = group().count();
        (count > 0).then(|| group().filter(above).count() as f64 / count as f64)
    };
    let one = |finding: &Finding| {
        json!({
            "index": finding.index,
            "file": file(finding, groups),
            "set": set(finding),
            "score": finding.score,
            "boxes": finding.boxes.iter().map(|b| [b.y, b.x, b.height, b.width]).collect::<Vec<_>>(),
        })
    };
    json!({
        "images": findings.len(),
        "by": by.name(),
        "threshold": reference.score.value,
        "false_alarm_rate": reference.score.false_alarm_rate,
        "reference_images": reference.images,
        "anomalous": findings.iter().filter(above).count(),
        "auroc": area,
        "false_alarms": share(false),
        "hits": share(true),
        "found": findings.iter().filter(above).map(one).collect::<Vec<_>>(),
    })
}

pub(super) fn print(
    by: ScoreBy,
    findings: &[Finding],
    groups: &[Group],
    reference: &Reference,
    area: Option<f64>,
) {
    let above = findings.iter().filter(|finding| finding.score > reference.score.value).count();
    say!("{} images scored by {}", findings.len(), by);
    say!(
        "threshold {:.3} from {} {}: of normal images {:.2} % are expected above it; {above} of these images are",
        reference.score.value,
        reference.images,
        reference.of,
        100.0 * reference.score.false_alarm_rate
    );
    if let Some(area) = area {
        say!("AUROC {area:.4}");
    }
    say!("most anomalous:");
    for finding in strangest(findings).into_iter().take(5) {
        let boxes: Vec<String> = finding.boxes.iter().take(3).map(shown).collect();
        say!("  {:>12.3}  {}  {}", finding.score, file(finding, groups), boxes.join(" "));
    }
}
fn file(finding: &Finding, groups: &[Group]) -> String {
    let group = &groups[finding.group];
    let files = if group.which == Which::Test { &group.data.test_files } else { &group.data.files };
    files.get(finding.index).map_or(format!("image {}", finding.index), |file| file.display().to_string())
}

fn set(finding: &Finding) -> &'static str {
    finding.truth.map_or("", |anomalous| if anomalous { "anomalous" } else { "normal" })
}

fn shown(b: &HotBox) -> String {
    format!("{},{},{},{}", b.y, b.x, b.height, b.width)
}

/// The highest scores first.
fn strangest(findings: &[Finding]) -> Vec<&Finding> {
    let mut order: Vec<&Finding> = findings.iter().collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    order
}

/// The table of findings; boxes are y,x,height,width with semicolons between them.
pub(super) fn table(
    out: &mut dyn Write,
    findings: &[Finding],
    groups: &[Group],
    threshold: f64,
) -> std::io::Result<()> {
    writeln!(out, "index,file,set,score,anomalous,boxes")?;
    for finding in findings {
        let boxes = finding.boxes.iter().map(shown).collect::<Vec<_>>().join(";");
        writeln!(
            out,
            "{},{},{},{},{},{}",
            finding.index,
            field(&file(finding, groups)),
            set(finding),
            finding.score,
            u8::from(finding.score > threshold),
            field(&boxes)
        )?;
    }
    Ok(())
}

/// The most anomalous images: each with its boxes, its reconstruction, and its heat: black, then red, and
/// yellow from twice [`HOT`] on.
pub(super) fn sheet(
    codec: &mut Codec<'_>,
    opened: &Opened,
    findings: &[Finding],
    groups: &[Group],
    filler: &Filler,
    reference: &Reference,
) -> Result<Picture> {
    let size = opened.model.config().image();
    let rgb = ImageShape::new(size.height, size.width, 3);
    let mut tiles = Vec::new();
    for finding in strangest(findings).into_iter().take(SHOWN) {
        let images = labelled(opened, &groups[finding.group])?;
        let mut original = vec![0.0; size.len()];
        Filler { span: Span::Unit, ..*filler }.fill(images.images, &[finding.index], 0, &mut original);
        let codes = codec.encode_with(images, &[finding.index], filler);
        let label: Vec<u32> = images.of(&[finding.index]).collect();
        let picture = codec.decode_as(&codes.mu, &label);
        let heat = reference.usual.heat(&compare(codec, images, &[finding.index], filler));
        let mut framed = in_colour(&original, size.channels);
        finding.boxes.iter().for_each(|hot| frame(&mut framed, size.width, hot));
        tiles.extend(framed);
        tiles.extend(in_colour(&picture, size.channels));
        for &value in &heat {
            let share = (value / HOT) as f32;
            tiles.extend([share.clamp(0.0, 1.0), (share - 1.0).clamp(0.0, 1.0), 0.0]);
        }
    }
    Ok(Picture::sheet(&tiles, rgb, 3 * PER_ROW))
}

/// Red, green and blue of an image; of one without three colours, its first channel three times.
fn in_colour(values: &[f32], channels: usize) -> Vec<f32> {
    let of = |pixel: &[f32]| if channels >= 3 { [pixel[0], pixel[1], pixel[2]] } else { [pixel[0]; 3] };
    values.chunks_exact(channels).flat_map(of).collect()
}

/// Draws the edge of a box in red, inside the box.
fn frame(picture: &mut [f32], width: usize, hot: &HotBox) {
    let (bottom, right) = (hot.y + hot.height - 1, hot.x + hot.width - 1);
    for (y, x) in (hot.y..=bottom).flat_map(|y| (hot.x..=right).map(move |x| (y, x))) {
        if y == hot.y || y == bottom || x == hot.x || x == right {
            picture[(y * width + x) * 3..][..3].copy_from_slice(&[1.0, 0.0, 0.0]);
        }
    }
}
