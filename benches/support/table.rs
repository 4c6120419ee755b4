//! Printing of rows, one by one and in the summary.

use super::harness::Timing;

/// The work of a row, from which columns are computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Floating-point operations of matrix products; 0 for memory-bound rows.
    pub flops: f64,
    /// The least number of bytes to read and write: every operand once.
    pub bytes: f64,
    /// Images, if images per second are meaningful.
    pub images: f64,
    /// Whether this row is a part of its group's training step.
    pub part_of_step: bool,
}

impl Work {
    /// `numbers` single-precision numbers read or written, and no counted operations.
    pub fn memory(numbers: usize) -> Self {
        Self { bytes: 4.0 * numbers as f64, ..Self::default() }
    }

    /// Matrix products of so many operations, over so many numbers.
    pub fn product(flops: usize, numbers: usize) -> Self {
        Self { flops: flops as f64, ..Self::memory(numbers) }
    }

    /// A part of a training step.
    pub fn in_step(self) -> Self {
        Self { part_of_step: true, ..self }
    }
}

/// A measurement.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its group.
    pub group: String,
    /// Layer and pass.
    pub name: String,
    /// The sizes.
    pub shape: String,
    /// Its work.
    pub work: Work,
    /// Its time.
    pub timing: Timing,
    /// The number of threads.
    pub threads: usize,
    /// Their peak, operations per second.
    pub peak: f64,
}

impl Row {
    /// The share of the peak, of the median.
    pub fn share(&self) -> f64 {
        self.work.flops / self.timing.median / self.peak
    }

    /// Seconds beyond the time that its operations would take at the peak.
    pub fn lost(&self) -> f64 {
        self.timing.median - self.work.flops / self.peak
    }

    /// Prints the row, after a heading if it begins a group.
    pub fn print(&self, heading: bool) {
        if heading {
            let threads = if self.threads == 1 { "1 thread" } else { &format!("{} threads", self.threads) };
            println!("\n{} · {threads}, peak {:.0} GFLOP/s", self.group, self.peak / 1e9);
            println!(
                "  {:<38} {:<30} {:>10} {:>10} {:>8} {:>6} {:>7} {:>9}",
                "layer and pass", "shape", "median", "min", "GFLOP/s", "peak", "GB/s", "images/s"
            );
        }
        let Timing { min, median } = self.timing;
        let when = |known: bool, text: String| if known { text } else { "·".into() };
        println!(
            "  {} {} {:>10} {:>10} {:>8} {:>6} {:>7} {:>9}",
            padded(&self.name, 38),
            padded(&self.shape, 30),
            time(median),
            time(min),
            when(self.work.flops > 0.0, format!("{:.1}", self.work.flops / median / 1e9)),
            when(self.work.flops > 0.0, format!("{:.0} %", 100.0 * self.share())),
            when(self.work.bytes > 0.0, format!("{:.1}", self.work.bytes / median / 1e9)),
            when(self.work.images > 0.0, format!("{:.0}", self.work.images / median)),
        );
    }
}

/// A time in a suitable unit.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// Left-aligned by characters.
fn padded(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

/// Prints the distribution of a group's training step over its parts, sorted by their loss against the peak.
pub fn where_the_time_goes(rows: &[Row], group: &str, step: Option<f64>) {
    let mut parts: Vec<&Row> =
        rows.iter().filter(|row| row.group == group && row.work.part_of_step).collect();
    if parts.is_empty() {
        return;
    }
    parts.sort_by(|a, b| b.lost().total_cmp(&a.lost()));
    let (total, lost) = parts.iter().fold((0.0, 0.0), |(t, l), row| (t + row.timing.median, l + row.lost()));
    println!("\nWhere the time of a step of {group} goes, by what is lost against the peak");
    println!("  {:<38} {:>10} {:>6} {:>6} {:>10}", "layer and pass", "median", "of it", "peak", "lost");
    for row in &parts {
        println!(
            "  {} {:>10} {:>6} {:>6} {:>10}",
            padded(&row.name, 38),
            time(row.timing.median),
            format!("{:.1} %", 100.0 * row.timing.median / total),
            if row.work.flops > 0.0 { format!("{:.0} %", 100.0 * row.share()) } else { "·".into() },
            time(row.lost().max(0.0)),
        );
    }
    println!("  {:<38} {:>10} {:>6} {:>6} {:>10}", "sum of the parts", time(total), "", "", time(lost));
    if let Some(step) = step {
        println!("  {:<38} {:>10}", "the whole step, measured", time(step));
    }
}
