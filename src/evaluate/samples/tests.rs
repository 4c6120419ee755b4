use super::*;
use crate::data::{Dataset, LoadOptions, Part, find_bundled, load};
use crate::random::{Stream, fill_normal, stream};

const SIDE: usize = 28;
const LEN: usize = SIDE * SIDE;

/// Pictures and their classes.
#[derive(Clone)]
struct Digits {
    pixels: Vec<f32>,
    classes: Vec<u32>,
}

impl Digits {
    /// Every second one of MNIST's first test images, from the first or the second on.
    fn half(data: &Dataset, first: usize, count: usize) -> Self {
        let indices: Vec<usize> = (0..count).map(|i| 2 * i + first).collect();
        let mut pixels = vec![0.0; count * LEN];
        data.test.as_ref().unwrap().gather(&indices, Span::Unit, &mut pixels);
        let labels = data.test_labels.as_ref().unwrap();
        Self { pixels, classes: indices.iter().map(|&i| labels.ids[i]).collect() }
    }

    fn only(&self, keep: impl Fn(u32) -> bool) -> Vec<f32> {
        let kept = self.classes.iter().zip(self.pixels.chunks_exact(LEN)).filter(|(class, _)| keep(**class));
        kept.flat_map(|(_, picture)| picture).copied().collect()
    }

    /// A blur: the mean of 3×3 pixels with the weights 1, 2, 1 on each axis, repeated.
    fn blurred(&self, times: usize) -> Vec<f32> {
        let mut pixels = self.pixels.clone();
        for _ in 0..times {
            for step in [1, SIDE] {
                let old = pixels.clone();
                for (i, pixel) in pixels.iter_mut().enumerate() {
                    let place = if step == 1 { i % SIDE } else { i % LEN / SIDE };
                    let before = if place > 0 { old[i - step] } else { old[i] };
                    let after = if place + 1 < SIDE { old[i + step] } else { old[i] };
                    *pixel = 0.25 * before + 0.5 * old[i] + 0.25 * after;
                }
            }
        }
        pixels
    }

    fn noisy(&self, strength: f32) -> Vec<f32> {
        let mut noise = vec![0.0; self.pixels.len()];
        fill_normal(&mut stream(9, Stream::Corruption, 0), &mut noise);
        self.pixels.iter().zip(noise).map(|(x, e)| (x + strength * e).clamp(0.0, 1.0)).collect()
    }

    /// Every picture's left half beside the right half of another.
    fn mixed_up(&self) -> Vec<f32> {
        let half = |at: usize| if at % SIDE < SIDE / 2 { at } else { (at + 3 * LEN) % self.pixels.len() };
        (0..self.pixels.len()).map(|at| self.pixels[half(at)]).collect()
    }
}

/// Typical faults of samples, made from real digits: each measure detects the faults that it should.
/// `--nocapture` prints the table of docs/guide.md.
#[test]
fn each_fault_shows_in_its_figure() {
    let count = 2000;
    let options = LoadOptions { part: Part::Test, ..LoadOptions::default() };
    let data = load(find_bundled().expect("data/mnist"), &options, &|_, _| ()).unwrap();
    let (images, others) = (Digits::half(&data, 0, count), Digits::half(&data, 1, count));
    let shape = ImageShape::new(SIDE, SIDE, 1);
    let space = FeatureSpace::new((SIDE, SIDE, 1)).unwrap();
    let mut viewer = Viewer { space, shape, progress: &|_| () };
    let mut see = |pixels: &[f32]| {
        let mut chunks = pixels.chunks(BATCH * LEN);
        viewer.see(|| chunks.next().map(<[f32]>::to_vec))
    };
    let real = see(&images.pixels);
    let mut figures = |name: &str, pixels: Vec<f32>| {
        let seen = see(&pixels);
        let (shares, sharpness) = (real.shares(&seen).unwrap(), seen.spectrum.sharpness(&real.spectrum));
        let (PrecisionRecall { precision, recall, coverage }, sharpness) = (shares, sharpness.unwrap());
        println!("| {name} | {precision:.3} | {recall:.3} | {coverage:.3} | {sharpness:+.3} |");
        (precision, recall, sharpness, coverage)
    };
    let floor = figures("other digits", others.pixels.clone());
    let without = figures("no ones", others.only(|class| class != 1));
    let no_eights = figures("no eights", others.only(|class| class != 8));
    let three = figures("only zeros, ones and sevens", others.only(|class| [0, 1, 7].contains(&class)));
    let copies = figures("20 digits, over and over", others.pixels[..20 * LEN].repeat(count / 20));
    let blurred = figures("blurred", others.blurred(1));
    let more_blurred = figures("blurred twice", others.blurred(2));
    let noisy = figures("noise, σ = 0.1", others.noisy(0.1));
    let more_noisy = figures("noise, σ = 0.3", others.noisy(0.3));
    let mixed_up = figures("halves of two digits", others.mixed_up());
    // Precision, recall.
    assert!(floor.0 > 0.5 && floor.1 > 0.5 && floor.2.abs() < 0.05, "{floor:?}");
    for missing in [without, no_eights] {
        // Ones are alike, and the coverage sees that there are none; eights have other digits around them, and the recall sees it.
        let fall = (floor.1 - missing.1).max(floor.3 - missing.3);
        assert!(fall > 0.03, "{missing:?} beside {floor:?}");
    }
    assert!(three.1 < 0.7 * floor.1 && three.0 > floor.0 - 0.1, "{three:?}");
    assert!(copies.1 < 0.3 * floor.1 && copies.3 < 0.3 * floor.3, "{copies:?}");
    assert!((floor.3 - 0.875).abs() < 0.05, "as theory says: {floor:?}");
    assert!(more_noisy.0 < noisy.0 && more_noisy.0 < 0.5 * floor.0, "{noisy:?} {more_noisy:?}");
    assert!(mixed_up.0 < floor.0 - 0.03, "{mixed_up:?}");
    // Sharpness.
    assert!(more_blurred.2 < blurred.2 && blurred.2 < floor.2 - 0.3, "{blurred:?} {more_blurred:?}");
    assert!(more_noisy.2 > noisy.2 + 0.3 && noisy.2 > floor.2 + 0.1, "{noisy:?} {more_noisy:?}");
}
