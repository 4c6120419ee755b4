//! Diagrams as pictures: a confusion matrix and a ROC curve.

use super::sheet::Picture;

/// The glyphs of 0–9 and A–Z: five rows of three dots, the upper left dot in the highest of 15 bits.
const GLYPHS: [u16; 36] = [
    0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71222, 0o75757, 0o75717, // digits
    0o25755, 0o65656, 0o34443, 0o65556, 0o74647, 0o74644, 0o34553, 0o55755, 0o72227, 0o11157, // A–J
    0o55655, 0o44447, 0o57755, 0o65555, 0o25552, 0o65644, 0o25563, 0o65655, 0o34216, 0o72222, // K–T
    0o55557, 0o55552, 0o55775, 0o55255, 0o55222, 0o71247, // U–Z
];
/// Pixels of a glyph's dot, and the advance to the next glyph.
const DOT: usize = 2;
const ADVANCE: usize = 4 * DOT;

/// Writes a text of ASCII letters and digits; other characters leave a gap. Letters are written as capitals.
fn write(picture: &mut Picture, text: &str, (top, left): (usize, usize), shade: u8) {
    for (at, character) in text.chars().enumerate() {
        let glyph = match character.to_ascii_uppercase() {
            digit @ '0'..='9' => GLYPHS[digit as usize - '0' as usize],
            letter @ 'A'..='Z' => GLYPHS[10 + letter as usize - 'A' as usize],
            _ => continue,
        };
        for (y, x) in (0..5 * DOT).flat_map(|y| (0..3 * DOT).map(move |x| (y, x))) {
            if glyph >> (14 - (y / DOT * 3 + x / DOT)) & 1 == 1 {
                set(picture, top + y, left + at * ADVANCE + x, shade);
            }
        }
    }
}

fn set(picture: &mut Picture, y: usize, x: usize, shade: u8) {
    if y < picture.height && x < picture.width {
        picture.bytes[y * picture.width + x] = shade;
    }
}

/// A white grey picture.
fn white(height: usize, width: usize) -> Picture {
    Picture { bytes: vec![255; height * width], height, width, channels: 1 }
}

/// A confusion matrix, L × L counts: a row for each true class, a column for each guess. A cell is the darker
/// the larger its share of the row, and contains its count; names that do not fit are cut.
///
/// # Panics
/// If there are not L × L counts for L names.
pub fn confusion(counts: &[u64], names: &[String]) -> Picture {
    let classes = names.len();
    assert_eq!(counts.len(), classes * classes, "a count for each pair of classes");
    // Many classes get small cells without numbers.
    let cell = if classes <= 40 { 46 } else { (1840 / classes).max(4) };
    let margin = 60;
    let side = margin + classes * cell + 4;
    let mut picture = white(side, side);
    let letters = |pixels: usize| pixels / ADVANCE;
    for (row, name) in names.iter().enumerate() {
        if cell >= 6 * DOT {
            let short = |pixels: usize| name.chars().take(letters(pixels)).collect::<String>();
            write(&mut picture, &short(margin - 4), (margin + row * cell + cell / 2 - 5, 4), 0);
            write(&mut picture, &short(cell - 2), (margin - 16, margin + row * cell + 3), 0);
        }
        let sum = counts[row * classes..][..classes].iter().sum::<u64>().max(1);
        for (column, &count) in counts[row * classes..][..classes].iter().enumerate() {
            // The square root shows rare errors too.
            let share = (count as f64 / sum as f64).sqrt();
            let shade = (255.0 - 225.0 * share).round() as u8;
            let (top, left) = (margin + row * cell, margin + column * cell);
            for (y, x) in (0..cell - 1).flat_map(|y| (0..cell - 1).map(move |x| (y, x))) {
                set(&mut picture, top + y, left + x, if count == 0 { 245 } else { shade });
            }
            let text = count.to_string();
            if count > 0 && text.len() <= letters(cell - 2) {
                let ink = if shade < 128 { 255 } else { 0 };
                let indent = (cell - text.len() * ADVANCE) / 2;
                write(&mut picture, &text, (top + cell / 2 - 5, left + indent), ink);
            }
        }
    }
    picture
}

/// A ROC curve: its points are (false-alarm rate, hit rate), from (0, 0) to (1, 1); the diagonal is chance.
pub fn roc(points: &[(f64, f64)]) -> Picture {
    const SIDE: usize = 400;
    const EDGE: usize = 30;
    let mut picture = white(SIDE + 2 * EDGE, SIDE + 2 * EDGE);
    let place = |(x, y): (f64, f64)| {
        let across = EDGE as f64 + x * SIDE as f64;
        (EDGE as f64 + (1.0 - y) * SIDE as f64, across)
    };
    let line = |picture: &mut Picture, from: (f64, f64), to: (f64, f64), shade: u8, thick: usize| {
        let ((y0, x0), (y1, x1)) = (place(from), place(to));
        let steps = (y1 - y0).abs().max((x1 - x0).abs()).ceil().max(1.0) as usize;
        for step in 0..=steps {
            let t = step as f64 / steps as f64;
            let (y, x) = ((y0 + t * (y1 - y0)).round() as usize, (x0 + t * (x1 - x0)).round() as usize);
            (0..thick * thick).for_each(|at| set(picture, y + at / thick, x + at % thick, shade));
        }
    };
    for tenth in 0..=10 {
        let at = f64::from(tenth) / 10.0;
        let shade = if tenth % 10 == 0 { 120 } else { 230 };
        line(&mut picture, (at, 0.0), (at, 1.0), shade, 1);
        line(&mut picture, (0.0, at), (1.0, at), shade, 1);
    }
    line(&mut picture, (0.0, 0.0), (1.0, 1.0), 180, 1);
    for pair in points.windows(2) {
        line(&mut picture, pair[0], pair[1], 0, 2);
    }
    write(&mut picture, "FALSE ALARMS", (EDGE + SIDE + 12, EDGE + SIDE / 2 - 48), 80);
    write(&mut picture, "HITS", (10, EDGE), 80);
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_cell_is_dark_and_an_empty_one_bright() {
        let names = ["cat".to_owned(), "dog".to_owned()];
        let picture = confusion(&[9, 0, 0, 5], &names);
        let at =
            |row: usize, column: usize| picture.bytes[(62 + row * 46) * picture.width + 62 + column * 46];
        assert_eq!((at(0, 0), at(0, 1), at(1, 1)), (30, 245, 30));
        let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        assert!(confusion(&vec![1; 1_000_000], &many).width < 5000);
    }

    #[test]
    fn a_perfect_curve_runs_along_the_edge() {
        let picture = roc(&[(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]);
        assert_eq!(picture.bytes[200 * picture.width + 30], 0);
        assert_eq!(picture.bytes[30 * picture.width + 200], 0);
    }
}
