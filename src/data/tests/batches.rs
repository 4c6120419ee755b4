//! Splits, orders, binarization.

use super::*;

#[test]
fn a_split_is_a_choice_that_the_seed_makes() {
    let split = Split::new(7, 1000, 100);
    assert_eq!((split.train.len(), split.validation.len()), (900, 100));
    let mut all = [split.train.clone(), split.validation.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..1000).collect::<Vec<_>>());
    assert!(split.validation.is_sorted() && split.train.is_sorted());
    assert_eq!(split, Split::new(7, 1000, 100));
    assert_ne!(split, Split::new(8, 1000, 100));
    assert_eq!(Split::new(0, 10, 0).train.len(), 10);
    assert_eq!(Split::new(0, 3, 5).validation.len(), 3);
    assert_eq!(Split::default_validation(60_000), 5000);
    assert_eq!(Split::default_validation(95), 9);
}

#[test]
fn an_epoch_has_its_order() {
    let indices: Vec<usize> = (100..200).collect();
    let mut orders = Vec::new();
    for (seed, epoch) in [(0, 0), (0, 1), (1, 0)] {
        let mut order = Vec::new();
        epoch_order(seed, epoch, &indices, &mut order);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, indices);
        orders.push(order);
    }
    assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
    // This must never change: if it does, every run changes.
    let mut order = Vec::new();
    epoch_order(0, 0, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &mut order);
    assert_eq!(order, [6, 3, 5, 1, 7, 2, 4, 9, 0, 8]);
    epoch_order(0, 0, &[], &mut order);
    assert!(order.is_empty());
}

#[test]
fn every_position_is_as_likely() {
    let mut counts = [[0u32; 4]; 4];
    let mut order = Vec::new();
    for epoch in 0..24_000 {
        epoch_order(3, epoch, &[0, 1, 2, 3], &mut order);
        order.iter().enumerate().for_each(|(position, &index)| counts[position][index] += 1);
    }
    // 6000 expected, standard deviation 67.
    assert!(counts.iter().flatten().all(|&n| (5665..=6335).contains(&n)), "{counts:?}");
}

#[test]
fn binarized_pixels() {
    let values: Vec<u8> = (0..256 * 64).map(|i| (i / 64) as u8).collect();
    let images = Images::from_bytes(values, 64, 16, 16, 1);
    let all: Vec<usize> = (0..64).collect();
    let fill = |binarize, indices: &[usize], epoch| {
        let mut out = vec![0.0f32; indices.len() * 256];
        Filler { span: Span::Unit, binarize: Some(binarize), seed: 5 }
            .fill(&images, indices, epoch, &mut out);
        out
    };
    let threshold = fill(Binarize::Threshold, &all, 0);
    assert!(threshold.iter().enumerate().all(|(i, &v)| v == f32::from(u8::from(i / 64 > 127))));
    for binarize in [Binarize::Static, Binarize::Dynamic] {
        let drawn = fill(binarize, &all, 0);
        assert!(drawn.iter().all(|&v| v == 0.0 || v == 1.0));
        assert!(drawn[..64].iter().all(|&v| v == 0.0) && drawn[255 * 64..].iter().all(|&v| v == 1.0));
        let mean = drawn.iter().sum::<f32>() / drawn.len() as f32;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        // Independent of an image's batch.
        assert_eq!(
            fill(binarize, &[40, 3], 0),
            [&drawn[40 * 256..41 * 256], &drawn[3 * 256..4 * 256]].concat()
        );
        assert_eq!(fill(binarize, &all, 1) == drawn, binarize == Binarize::Static);
    }
    assert_ne!(fill(Binarize::Static, &all, 0), fill(Binarize::Dynamic, &all, 0));
    let mut out = vec![0.0f32; 256];
    Filler { span: Span::Symmetric, binarize: Some(Binarize::Static), seed: 5 }.fill(
        &images,
        &[32],
        9,
        &mut out,
    );
    let unit = fill(Binarize::Static, &[32], 0);
    assert!(out.iter().zip(unit).all(|(&symmetric, unit)| symmetric == 2.0 * unit - 1.0));
}
