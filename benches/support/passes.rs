//! Kernels outside any single layer, alone: on one thread if they run inside a task.

use elbo::data::{Binarize, Filler, Images, Span};
use elbo::kernels::columns::{col2im, im2col};
use elbo::kernels::gemm::{Matrix, MatrixMut, gemm, padded_stride, transpose};
use elbo::kernels::geometry::Geometry;
use elbo::layers::Activation;
use elbo::loss::{Divergence, Likelihood};
use elbo::model::{ModelConfig, Vae};
use elbo::random::{Stream, fill_normal, stream};
use elbo::tensor::ImageShape;
use rand::Rng;

use super::harness::Bench;
use super::table::Work;

/// Numbers in [−1, 1), determined by the seed.
pub fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = stream(seed, Stream::Evaluation, 0);
    (0..count).map(|_| (rng.next_u32() >> 8) as f32 * 2.0_f32.powi(-23) - 1.0).collect()
}

/// ε of a training step, from the stream of the step.
pub fn fill_noise(seed: u64, step: u64, noise: &mut [f32]) {
    fill_normal(&mut stream(seed, Stream::Noise, step), noise);
}

/// The random normals of a step.
pub fn noise_row(bench: &mut Bench<'_>, name: &str, batch: usize, latent: usize) {
    let mut noise = vec![0.0; batch * latent];
    let work = Work::memory(noise.len()).in_step();
    bench.row(name, &format!("{batch}×{latent}"), work, &mut noise, |_| (), |noise| fill_noise(0, 1, noise));
}

/// Byte images scaled into a batch, from all over a data set larger than any cache.
pub fn gather_row(
    bench: &mut Bench<'_>,
    name: &str,
    (height, width, channels): (usize, usize, usize),
    span: Span,
    batch: usize,
) {
    if !bench.wants(name) {
        return;
    }
    let (images, indices, mut out) = data_set((height, width, channels), batch);
    let work = Work::memory(out.len()).in_step();
    let mut epoch = 0;
    bench.row(
        name,
        &format!("{batch} of {height}×{width}×{channels}"),
        work,
        &mut out,
        |_| (),
        |out| {
            epoch = (epoch + 1) % (indices.len() / batch);
            images.gather(&indices[epoch * batch..][..batch], span, out);
        },
    );
}

/// 64 MB of byte images, indices all over them, and memory for a batch.
fn data_set(
    (height, width, channels): (usize, usize, usize),
    batch: usize,
) -> (Images, Vec<usize>, Vec<f32>) {
    let len = height * width * channels;
    let count = ((64 << 20) / len).max(2 * batch);
    let mut bytes = vec![0; count * len];
    stream(0, Stream::Evaluation, 1).fill_bytes(&mut bytes);
    let indices = (0..count).map(|i| i * 7919 % count).collect();
    (Images::from_bytes(bytes, count, height, width, channels), indices, vec![0.0; batch * len])
}

/// The numbers in a chunk of columns: about as many as the layers take at once.
const CHUNK_NUMBERS: usize = 256 * 1024;

/// im2col and col2im of every convolution, region by region as in the layers. Its three products take whole
/// columns here, including zeros, on one thread, chunk by chunk.
pub fn convolution_rows(bench: &mut Bench<'_>, config: &ModelConfig, batch: usize) {
    bench.begin(&format!("kernels of {}", super::layers::group(config)), 1);
    let model: Vae<f32> = Vae::new(config.clone(), 0).expect("a preset");
    model.architecture().for_each_layer(|name, layer, _| {
        if let Some((geometry, filters)) = layer.columns() {
            let short = name.rsplit('.').next().unwrap_or_default();
            one_convolution(bench, short, &geometry, filters, batch);
        }
    });
    one_linear(bench, config, batch);
}

fn one_convolution(bench: &mut Bench<'_>, name: &str, g: &Geometry, filters: usize, batch: usize) {
    let (stride, places, patch) = (padded_stride(g.patch_len()), g.places(), g.patch_len());
    let columns_len = places * stride;
    let chunk = (CHUNK_NUMBERS / columns_len).clamp(1, batch);
    let rows = chunk * places;
    let images = uniform(11, batch * g.large_len());
    let weight = uniform(12, filters * patch);
    let small = uniform(13, batch * places * filters);
    let mut columns = uniform(14, chunk * columns_len);
    let sizes = format!("{}×{}×{}, {places} places", g.height, g.width, g.channels);
    let numbers = batch * (g.large_len() + places * patch);
    bench.row(
        &format!("{name} im2col"),
        &sizes,
        Work::memory(numbers),
        &mut columns,
        |_| (),
        |columns| {
            for images in images.chunks(chunk * g.large_len()) {
                for (image, columns) in
                    images.chunks_exact(g.large_len()).zip(columns.chunks_exact_mut(columns_len))
                {
                    im2col(g, image, columns, stride);
                }
            }
        },
    );
    let mut sum = vec![0.0_f32; batch * g.large_len()];
    bench.row(
        &format!("{name} col2im"),
        &sizes,
        Work::memory(numbers),
        &mut sum,
        |_| (),
        |sum| {
            sum.fill(0.0);
            for images in sum.chunks_mut(chunk * g.large_len()) {
                for (image, columns) in
                    images.chunks_exact_mut(g.large_len()).zip(columns.chunks_exact(columns_len))
                {
                    col2im(g, columns, stride, image);
                }
            }
        },
    );

    // The products of one batch, chunk after chunk. [rows × K·K·C] · [K·K·C × O] and its two gradients.
    let flops = 2 * batch * places * patch * filters;
    let dims = |m: usize, k: usize, n: usize| format!("{m}×{k}×{n}");
    let mut y = vec![0.0_f32; batch * places * filters];
    let w = Matrix::new(&weight, filters, patch);
    let mut memory = vec![0.0_f32; weight.len()];
    let transposed = transpose(w, &mut memory);
    let numbers = batch * places * (patch + filters) + weight.len();
    let work = Work::product(flops, numbers);
    let chunk_len = rows * filters;
    bench.row(
        &format!("{name} gemm columns·Wᵀ"),
        &dims(rows, patch, filters),
        work,
        &mut y,
        |_| (),
        |y| {
            for y in y.chunks_mut(chunk_len) {
                let m = y.len() / filters;
                gemm(
                    Matrix::strided(&columns, m, patch, stride),
                    transposed,
                    0.0,
                    &mut MatrixMut::new(y, m, filters),
                );
            }
        },
    );
    let mut dw = vec![0.0_f32; weight.len()];
    bench.row(
        &format!("{name} gemm dYᵀ·columns"),
        &dims(filters, rows, patch),
        work,
        &mut dw,
        |_| (),
        |dw| {
            let mut dw = MatrixMut::new(dw, filters, patch);
            for dy in small.chunks(chunk_len) {
                let m = dy.len() / filters;
                let dy = Matrix::new(dy, m, filters).transposed();
                gemm(dy, Matrix::strided(&columns, m, patch, stride), 1.0, &mut dw);
            }
        },
    );
    bench.row(
        &format!("{name} gemm dY·W"),
        &dims(rows, filters, patch),
        work,
        &mut columns,
        |_| (),
        |columns| {
            for dy in small.chunks(chunk_len) {
                let m = dy.len() / filters;
                gemm(Matrix::new(dy, m, filters), w, 0.0, &mut MatrixMut::strided(columns, m, patch, stride));
            }
        },
    );
}

/// The three products of the largest linear layer, uncut: the cost of packing without other effects.
fn one_linear(bench: &mut Bench<'_>, config: &ModelConfig, batch: usize) {
    let model: Vae<f32> = Vae::new(config.clone(), 0).expect("a preset");
    let mut largest = (0, 0);
    model.architecture().for_each_layer(|_, layer, _| {
        if let Some([outputs, inputs]) = layer.parameters().first().map(|weight| &weight.shape[..])
            && outputs * inputs > largest.0 * largest.1
        {
            largest = (*inputs, *outputs);
        }
    });
    let (inputs, outputs) = largest;
    let (x, dy, w) = (uniform(1, batch * inputs), uniform(2, batch * outputs), uniform(3, inputs * outputs));
    let work = Work::product(2 * batch * inputs * outputs, x.len() + dy.len() + w.len());
    let (x, dy, w) =
        (Matrix::new(&x, batch, inputs), Matrix::new(&dy, batch, outputs), Matrix::new(&w, outputs, inputs));
    let dims = |m: usize, k: usize, n: usize| format!("{m}×{k}×{n}");
    let mut y = vec![0.0_f32; batch * outputs];
    bench.row(
        "linear1 gemm X·Wᵀ",
        &dims(batch, inputs, outputs),
        work,
        &mut y,
        |_| (),
        |y| {
            gemm(x, w.transposed(), 0.0, &mut MatrixMut::new(y, batch, outputs));
        },
    );
    let mut dw = vec![0.0_f32; inputs * outputs];
    bench.row(
        "linear1 gemm dYᵀ·X",
        &dims(outputs, batch, inputs),
        work,
        &mut dw,
        |_| (),
        |dw| {
            gemm(dy.transposed(), x, 0.0, &mut MatrixMut::new(dw, outputs, inputs));
        },
    );
    let mut dx = vec![0.0_f32; batch * inputs];
    bench.row(
        "linear1 gemm dY·W",
        &dims(batch, outputs, inputs),
        work,
        &mut dx,
        |_| (),
        |dx| {
            gemm(dy, w, 0.0, &mut MatrixMut::new(dx, batch, inputs));
        },
    );
}

/// Functions of one number, on one thread: they run inside the layers' tasks.
pub fn elementwise_rows(bench: &mut Bench<'_>, batch: usize) {
    bench.begin("elementwise", 1);
    let n = batch * 14 * 14 * 32;
    let (source, upstream, bias) = (uniform(1, n), uniform(2, n), uniform(3, 32));
    let mut values = source.clone();
    let sizes = format!("{batch}×14×14×32");
    let again = |values: &mut Vec<f32>| values.copy_from_slice(&source);
    for activation in [Activation::Identity, Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
        let name = format!("bias and {activation:?}").to_lowercase();
        bench.row(&name, &sizes, Work::memory(2 * n), &mut values, again, |v| {
            activation.forward_with_bias(v, &bias)
        });
    }
    let again = |values: &mut Vec<f32>| values.copy_from_slice(&upstream);
    for activation in [Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
        let name = format!("{activation:?} backward").to_lowercase();
        bench
            .row(&name, &sizes, Work::memory(3 * n), &mut values, again, |d| activation.backward(&source, d));
    }
}

/// Every likelihood and divergence, forward and backward at once as in training, and forward as in
/// evaluation.
pub fn loss_rows(bench: &mut Bench<'_>, batch: usize) {
    bench.begin("losses", rayon::current_num_threads());
    let n = batch * 784;
    let image = ImageShape::new(28, 28, 1);
    let target: Vec<f32> = uniform(2, n).into_iter().map(f32::abs).collect();
    for likelihood in Likelihood::ALL {
        let numbers = likelihood.numbers();
        let output = uniform(1, n * numbers);
        let mut space = (vec![0.0_f32; n * numbers], vec![0.0; batch]);
        let sizes = if numbers == 1 { format!("{batch}×784") } else { format!("{batch}×784×{numbers}") };
        let name = likelihood.name();
        let both = format!("{name} forward and backward");
        bench.row(
            &both,
            &sizes,
            Work::memory((2 * numbers + 1) * n),
            &mut space,
            |_| (),
            |(d, per_image)| {
                likelihood.forward_backward(&output, &target, image, d, per_image);
            },
        );
        bench.row(
            &format!("{name} forward"),
            &sizes,
            Work::memory((numbers + 1) * n),
            &mut space,
            |_| (),
            |(_, per_image)| {
                likelihood.forward(&output, &target, image, per_image);
            },
        );
    }
    let latent = 32;
    let n = batch * latent;
    let (mu, s, weights) = (uniform(3, n), uniform(4, n), vec![1.0 / batch as f32; latent]);
    let mut space = (vec![0.0_f32; n], vec![0.0_f32; n], vec![0.0; batch], vec![0.0; latent]);
    let sizes = format!("{batch}×{latent}");
    for &divergence in Divergence::ALL {
        let name = divergence.name();
        bench.row(
            &format!("{name} forward"),
            &sizes,
            Work::memory(3 * n),
            &mut space,
            |_| (),
            |space| {
                divergence.forward(&mu, &s, &mut space.0, &mut space.2, &mut space.3);
            },
        );
        bench.row(
            &format!("{name} backward"),
            &sizes,
            Work::memory(4 * n),
            &mut space,
            |_| (),
            |space| {
                divergence.backward(&mu, &s, &weights, &mut space.0, &mut space.1);
            },
        );
    }
}

/// Filling batches in every available way.
pub fn data_rows(bench: &mut Bench<'_>, batch: usize) {
    bench.begin("data", rayon::current_num_threads());
    if !["gather", "fill"].iter().any(|name| bench.wants(name)) {
        return;
    }
    gather_row(bench, "gather 64×64×3", (64, 64, 3), Span::Unit, batch);
    let (images, indices, mut out) = data_set((28, 28, 1), batch);
    let ways = [
        ("fill as it is", None),
        ("fill threshold", Some(Binarize::Threshold)),
        ("fill static", Some(Binarize::Static)),
        ("fill dynamic", Some(Binarize::Dynamic)),
    ];
    for (name, binarize) in ways {
        let filler = Filler { span: Span::Unit, binarize, seed: 0 };
        let work = Work { images: batch as f64, ..Work::memory(out.len()) };
        bench.row(
            name,
            &format!("{batch} of 28×28×1"),
            work,
            &mut out,
            |_| (),
            |out| {
                filler.fill(&images, &indices[..batch], 0, out);
            },
        );
    }
}
