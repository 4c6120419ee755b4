// Random codes from a seed. The same seed returns the same codes in every browser; they differ from those of `elbo sample`.
"use strict";

/** Uniform numbers in [0, 1) from a seed: mulberry32, a 32-bit generator by Tommy Ettinger (public domain). */
function uniformFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Draws from the standard normal distribution (Box & Muller 1958). */
function normalFrom(uniform) {
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** A code from the prior N(0, I). */
function drawPrior(latent, normal) {
  return Float32Array.from({ length: latent }, normal);
}

/** A code from a Gaussian mixture: a Gaussian by its weight, then mean + L e, where L is the lower triangular root of its covariance. */
function drawMixture({ weights, means, scales, full }, latent, uniform, normal) {
  let rest = uniform() * weights.reduce((sum, weight) => sum + weight, 0), k = 0;
  while (k + 1 < weights.length && rest >= weights[k]) rest -= weights[k++];
  const noise = drawPrior(latent, normal), code = new Float32Array(latent);
  const triangle = (latent * (latent + 1)) / 2;
  for (let row = 0; row < latent; row++) {
    let sum = 0;
    if (full) {
      const begin = k * triangle + (row * (row + 1)) / 2;
      for (let column = 0; column <= row; column++) sum += scales[begin + column] * noise[column];
    } else {
      sum = scales[k * latent + row] * noise[row];
    }
    code[row] = means[k * latent + row] + sum;
  }
  return code;
}
