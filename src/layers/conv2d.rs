//! Convolution by im2col: each position of the kernel is a row of a matrix, and the layer is one product.
//!
//! With the columns X̂ = im2col(X), `[places × K·K·C]`, and the weight W, `[O × K·K·C]`:
//!
//! ```text
//! forward           Y [places×O] = X̂ · Wᵀ + 1·bᵀ
//! weight gradient  dW [O×K·K·C]  = dYᵀ · X̂            summed over images
//! bias gradient    db [O]        = Σ over places and images of dY
//! input gradient   dX            = col2im(dY · W)     col2im is im2col's transpose
//! ```
//!
//! These are the passes of a [`Linear`](super::Linear) layer on X̂. The only difference is that a pixel
//! belongs to several patches, and col2im adds up its gradients from all of them.
//!
//! The three products are in `patches`, since [`ConvTranspose2d`](super::ConvTranspose2d) uses them too.
//!
//! (What deep learning calls a convolution is a cross-correlation: the kernel is not flipped.)
//!
//! W is stored in memory as `[O][KH][KW][C]`, in the order of the columns, and converted to PyTorch's
//! `[O, C, KH, KW]` for files.

use rayon::prelude::*;

use super::patches::Patches;
use super::torch::pair;
use super::work::{add_partials, add_rows, task_images};
use super::{
    Activation, Backward, Describe, Forward, Init, Layer, Layout, ParameterSpec, Steps, Torch, Work, WorkLen,
};
use crate::kernels::gemm::MatrixMut;
use crate::kernels::geometry::Geometry;
use crate::tensor::{Element, ImageShape};

/// A convolution from the large side of its geometry to `filters` channels on the small side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// The sizes; its channels are those of the input.
    pub geometry: Geometry,
    /// O, the channels of the output.
    pub filters: usize,
    /// The activation of the output.
    pub activation: Activation,
}

impl Conv2d {
    /// The numbers of one image on the small side.
    fn small_len(&self) -> usize {
        self.geometry.places() * self.filters
    }

    fn patches(&self) -> Patches {
        Patches::new(self.geometry, self.filters)
    }
}

impl Describe for Conv2d {
    fn input(&self) -> ImageShape {
        let g = &self.geometry;
        ImageShape::new(g.height, g.width, g.channels)
    }

    fn output(&self) -> ImageShape {
        ImageShape::new(self.geometry.small_height, self.geometry.small_width, self.filters)
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        kernel_parameters(&self.geometry, self.filters, self.filters)
    }

    fn work_len(&self) -> WorkLen {
        self.patches().work_len(self.filters)
    }

    fn flops(&self) -> usize {
        2 * self.patches().multiplications() * self.geometry.channels * self.filters
    }

    fn columns(&self) -> Option<(Geometry, usize)> {
        Some((self.geometry, self.filters))
    }

    fn summary(&self) -> String {
        let g = &self.geometry;
        format!("convolution {}×{}, stride {}", g.kernel_height, g.kernel_width, g.stride)
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn torch(&self, name: &str, torch: &mut Torch<'_>) {
        torch.need_image(self.input());
        let g = &self.geometry;
        let (arguments, kernel) = (convolution_arguments(g), pair(g.kernel_height, g.kernel_width));
        let constructor = format!("nn.Conv2d({}, {}, {kernel}{arguments})", g.channels, self.filters);
        let function = format!("F.conv2d({{x}}, {{weight}}, {{bias}}{arguments})");
        let call = torch.module(name, constructor, self.filters, &function);
        torch.apply(call, self.activation, self.output());
    }

    fn steps(&self, name: &str, steps: &mut Steps<'_>) {
        let mut sizes = geometry_sizes(&self.geometry);
        sizes.push(("filters", self.filters));
        steps.push_weighted("conv2d", &sizes, name, self.activation);
    }
}

/// Weight and bias of a convolution or a transposed one, whose weight is `[outer, C, KH, KW]` in PyTorch.
pub(super) fn kernel_parameters(geometry: &Geometry, outer: usize, biases: usize) -> Vec<ParameterSpec> {
    let g = geometry;
    let taps = g.kernel_height * g.kernel_width;
    let layout = Layout { outer, pixels: taps, channels: g.channels, inner: 1, tail: 0 };
    // A transposed convolution's too: PyTorch counts there as if the weight were a convolution's.
    let init = Init::Uniform { fan_in: g.patch_len() };
    vec![
        ParameterSpec::new("weight", &[outer, g.channels, g.kernel_height, g.kernel_width], layout, init),
        ParameterSpec::vector("bias", biases, init),
    ]
}

/// Stride and padding as PyTorch's arguments, without its defaults.
pub(super) fn convolution_arguments(geometry: &Geometry) -> String {
    let argument = |name: &str, value: usize, default: usize| {
        if value == default { String::new() } else { format!(", {name}={value}") }
    };
    argument("stride", geometry.stride, 1) + &argument("padding", geometry.padding, 0)
}

/// The sizes of a geometry by their names in the steps of a network.
pub(super) fn geometry_sizes(geometry: &Geometry) -> Vec<(&'static str, usize)> {
    let g = geometry;
    vec![
        ("height", g.height),
        ("width", g.width),
        ("channels", g.channels),
        ("kernel_height", g.kernel_height),
        ("kernel_width", g.kernel_width),
        ("stride", g.stride),
        ("padding", g.padding),
        ("small_height", g.small_height),
        ("small_width", g.small_width),
    ]
}

impl<T: Element> Layer<T> for Conv2d {
    /// y ← activation(conv(x) + bias): B·H·W·C → B·H′·W′·O.
    fn forward(&self, x: &[T], y: &mut [T], pass: Forward<'_, T>) {
        let (weight, bias) = (pass.parameters.get(0), pass.parameters.get(1));
        let (image, small) = (self.geometry.large_len(), self.small_len());
        let Work { scratch, transposed, precision, .. } = pass.work;
        let patches = self.patches().in_precision(*precision);
        let (wt, task) = (patches.transposed(weight, transposed), task_images(pass.batch));
        y.par_chunks_mut(task * small).zip(x.par_chunks(task * image)).for_each(|(y, x)| {
            patches.times(x, wt, y, scratch);
            self.activation.forward_with_bias(y, bias);
        });
    }

    fn backward(&self, x: &[T], y: &[T], dy: &mut [T], dx: Option<&mut [T]>, mut pass: Backward<'_, T>) {
        let (image, small) = (self.geometry.large_len(), self.small_len());
        let (weight, task) = (pass.parameters.get(0), task_images(pass.batch));
        let mut gradients = pass.gradients.weight_and_bias();
        let (weight_len, partial_len) =
            (gradients.weight.len(), gradients.weight.len() + gradients.bias.len());
        let Work { scratch, partials, transposed, precision } = pass.work;
        let patches = self.patches().in_precision(*precision);
        let arranged = patches.arranged(weight, transposed);
        let used = &mut partials[..pass.batch.div_ceil(task) * partial_len];

        // Each task adds up dW = dYᵀ·X̂ and db = Σ dY of its own images, and makes dX = col2im(dY·W) of them.
        let one_task = |sums: &mut [T], d: &mut [T], y: &[T], x: &[T], dx: Option<&mut [T]>| {
            sums.fill(T::ZERO);
            let (dw, db) = sums.split_at_mut(weight_len);
            let mut dw = MatrixMut::new(dw, self.filters, self.geometry.patch_len());
            self.activation.backward(y, d);
            add_rows(d, db);
            match dx {
                Some(dx) => patches.weight_gradient_and_spread(d, x, &mut dw, (arranged, dx), scratch),
                None => patches.weight_gradient(d, x, &mut dw, scratch),
            }
        };
        let inputs = x.par_chunks(task * image).zip(y.par_chunks(task * small));
        let tasks = used.par_chunks_mut(partial_len).zip(dy.par_chunks_mut(task * small)).zip(inputs);
        match dx {
            Some(dx) => tasks
                .zip(dx.par_chunks_mut(task * image))
                .for_each(|(((sums, d), (x, y)), dx)| one_task(sums, d, y, x, Some(dx))),
            None => tasks.for_each(|((sums, d), (x, y))| one_task(sums, d, y, x, None)),
        }
        add_partials(used, &mut gradients);
    }
}

/// Over kernels, strides, paddings, sizes, channels and batches.
#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::Example;
    let activations = [Activation::Identity, Activation::Tanh, Activation::Sigmoid];
    let grid = crate::gradient_check::convolution_grid(48).into_iter().enumerate();
    grid.map(|(case, (geometry, filters, batch))| {
        Example::new(Conv2d { geometry, filters, activation: activations[case % 3] }, batch).accumulating()
    })
    .chain([(5, 6, 1), (8, 4, 0)].map(|(height, width, padding)| {
        // By tiles.
        let geometry = Geometry::new((height, width, 16), (3, 3), 1, padding).expect("fits");
        Example::new(Conv2d { geometry, filters: 32, activation: Activation::Tanh }, 2).accumulating()
    }))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{convolution_grid, random_vec};
    use crate::layers::proof::apply;

    /// The definition, one multiplication at a time.
    fn naive(layer: &Conv2d, batch: usize, x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
        let g = &layer.geometry;
        let mut y = vec![0.0; batch * g.places() * layer.filters];
        for n in 0..batch {
            for (oy, ox) in (0..g.small_height).flat_map(|oy| (0..g.small_width).map(move |ox| (oy, ox))) {
                for o in 0..layer.filters {
                    let mut sum = b[o];
                    for (kh, kw) in
                        (0..g.kernel_height).flat_map(|kh| (0..g.kernel_width).map(move |kw| (kh, kw)))
                    {
                        let iy = (oy * g.stride + kh) as isize - g.padding as isize;
                        let ix = (ox * g.stride + kw) as isize - g.padding as isize;
                        if (0..g.height as isize).contains(&iy) && (0..g.width as isize).contains(&ix) {
                            for c in 0..g.channels {
                                let pixel = (iy as usize * g.width + ix as usize) * g.channels + c;
                                sum += x[n * g.large_len() + pixel]
                                    * w[((o * g.kernel_height + kh) * g.kernel_width + kw) * g.channels + c];
                            }
                        }
                    }
                    y[(n * g.places() + oy * g.small_width + ox) * layer.filters + o] = sum;
                }
            }
        }
        y
    }

    /// The layer's forward pass of random images with random weights is that of the definition.
    fn check_against_naive(layer: &Conv2d, batch: usize, seed: u64) {
        let x = random_vec(seed, batch * layer.geometry.large_len());
        let w = random_vec(seed + 1, layer.filters * layer.geometry.patch_len());
        let b = random_vec(seed + 2, layer.filters);
        let y = apply(layer, batch, &x, &[&w, &b]);
        for (found, expected) in y.iter().zip(naive(layer, batch, &x, &w, &b)) {
            let difference = (found - expected).abs();
            assert!(difference <= 1e-11, "{layer:?}, seed {seed}: {found} not {expected}");
        }
    }

    /// Sizes and paddings at which tiles hang over every edge; the last has two groups of tiles in a task.
    #[test]
    fn tiles_equal_the_naive_loop() {
        let cases = [
            (4, 4, 0),
            (4, 4, 1),
            (5, 6, 0),
            (5, 6, 1),
            (7, 4, 1),
            (8, 8, 2),
            (9, 13, 1),
            (9, 13, 2),
            (16, 15, 1),
            (16, 15, 2),
        ];
        for (case, (height, width, padding)) in cases.into_iter().enumerate() {
            let (channels, filters, batch) = (16 + 16 * (case % 3), 16 + 16 * padding, 1 + 2 * padding);
            let geometry = Geometry::new((height, width, channels), (3, 3), 1, padding).unwrap();
            let layer = Conv2d { geometry, filters, activation: Activation::Identity };
            assert!(
                layer.patches().multiplications() < geometry.pairs(),
                "{layer:?} is not computed by tiles"
            );
            check_against_naive(&layer, batch, 9000 + 10 * case as u64);
        }
    }

    #[test]
    fn random_shapes_equal_the_naive_loop() {
        let mut cases = 0;
        for (seed, (geometry, filters, batch)) in convolution_grid(1200).into_iter().enumerate() {
            let layer = Conv2d { geometry, filters, activation: Activation::Identity };
            check_against_naive(&layer, batch, 100 + 4 * seed as u64);
            cases += 1;
        }
        println!("{cases} random convolutions");
    }
}
