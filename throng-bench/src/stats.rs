//! Medians, and the spread around them.

use serde::Serialize;

/// Samples of one figure. Never empty.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// In the order they were taken.
    pub(crate) samples: Vec<f64>,
}

impl Spread {
    /// `None` when there are no samples.
    pub(crate) fn of(samples: Vec<f64>) -> Option<Self> {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), min, max, samples })
    }

    /// How many times `other`'s median this one is; `None` where that says nothing.
    pub(crate) fn ratio_to(&self, other: &Spread) -> Option<f64> {
        (other.median > 0.0).then(|| self.median / other.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let odd = Spread::of(vec![3.0, 1.0, 2.0]).expect("samples");
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(odd.samples, [3.0, 1.0, 2.0]);
        let even = Spread::of(vec![4.0, 1.0, 2.0, 3.0]).expect("samples");
        assert_eq!(even.median, 2.5);
        let one = Spread::of(vec![7.0]).expect("a sample");
        assert_eq!((one.median, one.min, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn ratios() {
        let two = Spread::of(vec![2.0]).expect("a sample");
        let eight = Spread::of(vec![8.0]).expect("a sample");
        let none = Spread::of(vec![0.0]).expect("a sample");
        assert_eq!(two.ratio_to(&eight), Some(0.25));
        assert_eq!(two.ratio_to(&none), None);
    }
}
