//! metrics.csv, read back: the history of a run.

/// A table of numbers with named columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    columns: Vec<String>,
    rows: Vec<Vec<Option<f64>>>,
}

impl Metrics {
    /// Reads the table. A cell that is empty or no number is `None`; a line with another number of cells than the heading is no row.
    ///
    /// ```
    /// let metrics = elbo::report::Metrics::parse("step,epoch\n430,1\n860,2\n");
    /// assert_eq!(metrics.last("epoch"), Some(2.0));
    /// ```
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let columns: Vec<String> = lines.next().unwrap_or("").split(',').map(str::to_string).collect();
        let row = |line: &str| line.split(',').map(|cell| cell.parse().ok()).collect::<Vec<Option<f64>>>();
        let rows = lines.map(row).filter(|row| row.len() == columns.len()).collect();
        Self { columns, rows }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A cell; `None` also where there is no such row or column.
    pub fn get(&self, row: usize, column: &str) -> Option<f64> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?[at]
    }

    /// The last row's cell.
    pub fn last(&self, column: &str) -> Option<f64> {
        self.get(self.rows.len().checked_sub(1)?, column)
    }

    /// (x, y) of each row that has both, with x the column `step` divided by the steps of an epoch.
    pub fn over_epochs(&self, column: &str, steps_per_epoch: u64) -> Vec<(f64, f64)> {
        let epochs = |row| Some(self.get(row, "step")? / steps_per_epoch.max(1) as f64);
        (0..self.len()).filter_map(|row| Some((epochs(row)?, self.get(row, column)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_are_missing_are_none() {
        let metrics = Metrics::parse("step,valid_loss,kl\n10,,1.5\n20,3.25,NaN\nhalf a r");
        assert_eq!(metrics.len(), 2);
        assert_eq!((metrics.get(0, "valid_loss"), metrics.get(1, "valid_loss")), (None, Some(3.25)));
        assert_eq!((metrics.get(0, "other"), metrics.get(7, "kl")), (None, None));
        assert_eq!(metrics.over_epochs("valid_loss", 10), [(2.0, 3.25)]);
        assert_eq!(Metrics::parse("").last("step"), None);
    }
}
