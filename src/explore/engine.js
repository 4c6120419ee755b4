// The network in plain JavaScript: unpacks the weights, and runs encoder and decoder for one image.
//
// The layouts are elbo's: images are H x W x C with channels last, a convolution's weight is [filters][rows][columns][channels]. Every step of the network
// names a function of OPERATIONS. It is called once with the step's sizes and parameters, and returns a function from input to output. So weights are
// rearranged and buffers are allocated only once.
"use strict";

// ---------------------------------------------------------------------------------------------- weights

/** The bytes of the page's text: two of 91 letters are 13 bits, the highest first. The letters are printable ASCII without `<`, `&` and the backslash. */
function fromText(text) {
  const values = new Uint8Array(128);
  let count = 0;
  for (let code = 33; code < 127; code++) if (code !== 60 && code !== 38 && code !== 92) values[code] = count++;
  const bytes = new Uint8Array(Math.floor(((text.length >> 1) * 13) / 8));
  let held = 0, bits = 0;
  for (let from = 0, to = 0; from + 1 < text.length; from += 2) {
    held = (held << 13) | (values[text.charCodeAt(from)] * 91 + values[text.charCodeAt(from + 1)]);
    for (bits += 13; bits >= 8;) {
      bits -= 8;
      bytes[to++] = held >> bits;
    }
    held &= (1 << bits) - 1;
  }
  return bytes;
}

/** The value of 16 bits in half precision (IEEE 754 binary16). */
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** `count` half-precision numbers of `bytes` from `at` on. */
function readHalves(bytes, at, count) {
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i++, at += 2) numbers[i] = halfToNumber(bytes[at] | (bytes[at + 1] << 8));
  return numbers;
}

/**
 * The parameters, one after the other. With 16 bits a parameter is half-precision numbers. With fewer it is a table of 2^bits half-precision numbers,
 * then for each number its index in the table, the highest bit first.
 */
function unpackParameters(bytes, parameters) {
  let at = 0;
  return parameters.map(({ len, bits }) => {
    if (bits === 16) {
      const numbers = readHalves(bytes, at, len);
      at += 2 * len;
      return numbers;
    }
    const table = readHalves(bytes, at, 1 << bits), numbers = new Float32Array(len);
    at += 2 << bits;
    let held = 0, count = 0;
    for (let i = 0; i < len; i++) {
      while (count < bits) {
        held = ((held << 8) | bytes[at++]) & 0xffffff;
        count += 8;
      }
      count -= bits;
      numbers[i] = table[(held >> count) & ((1 << bits) - 1)];
    }
    return numbers;
  });
}

// ---------------------------------------------------------------------------------------------- activations

const ACTIVATIONS = {
  identity() {},
  relu(y) {
    for (let i = 0; i < y.length; i++) if (y[i] < 0) y[i] = 0;
  },
  sigmoid(y) {
    for (let i = 0; i < y.length; i++) y[i] = sigmoid(y[i]);
  },
  tanh(y) {
    for (let i = 0; i < y.length; i++) y[i] = Math.tanh(y[i]);
  },
};

function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}

// ---------------------------------------------------------------------------------------------- products

/**
 * Weights in the order in which `convolve` reads them: for each block of four filters and each row of the kernel the numbers of that row, each for
 * the four filters side by side. `weight(filter, row, i)` is number i of a row; filters are filled up to a multiple of four with zeros.
 */
function arrange(filters, rows, rowLength, weight) {
  const blocks = Math.ceil(filters / 4), arranged = new Float32Array(blocks * 4 * rows * rowLength);
  let at = 0;
  for (let block = 0; block < blocks; block++) {
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < rowLength; i++) {
        for (let lane = 0; lane < 4; lane++, at++) {
          const filter = 4 * block + lane;
          if (filter < filters) arranged[at] = weight(filter, row, i);
        }
      }
    }
  }
  return arranged;
}

/**
 * A convolution without padding. Every position of the kernel reads `rows` runs of `rowLength` contiguous numbers of `x`, one run each
 * `width * channels` numbers; they are multiplied by the arranged weights. Two positions and four filters are summed at a time, so that each
 * number that is read is used several times.
 *
 * `from(row, column)` is the start in x of the first run of a position, `to(row, column)` the start in y of its filters. Both are linear, given by
 * their value at (0, 0) and the steps to the next row and column.
 */
function convolve(x, y, weights, bias, sizes) {
  const { placeRows, placeColumns, rows, rowLength, pitch, filters, from, fromRow, fromColumn, to, toRow, toColumn } = sizes;
  const blocks = Math.ceil(filters / 4), blockLength = 4 * rows * rowLength;
  for (let block = 0; block < blocks; block++) {
    const first = 4 * block, lanes = Math.min(4, filters - first), start = block * blockLength;
    const b0 = bias[first], b1 = lanes > 1 ? bias[first + 1] : 0, b2 = lanes > 2 ? bias[first + 2] : 0,
      b3 = lanes > 3 ? bias[first + 3] : 0;
    for (let row = 0; row < placeRows; row++) {
      for (let column = 0; column < placeColumns; column += 2) {
        const isPair = column + 1 < placeColumns;
        const begin = from + row * fromRow + column * fromColumn, step = isPair ? fromColumn : 0;
        let p0 = b0, p1 = b1, p2 = b2, p3 = b3, q0 = b0, q1 = b1, q2 = b2, q3 = b3;
        let w = start;
        for (let r = 0; r < rows; r++) {
          const end = begin + r * pitch + rowLength;
          for (let i = begin + r * pitch; i < end; i++, w += 4) {
            const p = x[i], q = x[i + step], w0 = weights[w], w1 = weights[w + 1], w2 = weights[w + 2], w3 = weights[w + 3];
            p0 += p * w0; p1 += p * w1; p2 += p * w2; p3 += p * w3;
            q0 += q * w0; q1 += q * w1; q2 += q * w2; q3 += q * w3;
          }
        }
        const at = to + row * toRow + column * toColumn + first;
        y[at] = p0;
        if (lanes > 1) y[at + 1] = p1;
        if (lanes > 2) y[at + 2] = p2;
        if (lanes > 3) y[at + 3] = p3;
        if (isPair) {
          const next = at + toColumn;
          y[next] = q0;
          if (lanes > 1) y[next + 1] = q1;
          if (lanes > 2) y[next + 2] = q2;
          if (lanes > 3) y[next + 3] = q3;
        }
      }
    }
  }
}

/** Copies an image into the middle of a larger one, whose margin stays 0. */
function intoMargins(x, padded, height, width, channels, top, left, paddedWidth) {
  for (let row = 0; row < height; row++) {
    padded.set(x.subarray(row * width * channels, (row + 1) * width * channels), ((row + top) * paddedWidth + left) * channels);
  }
}

// ---------------------------------------------------------------------------------------------- the operations

const OPERATIONS = {
  /** y = W x + b. A transposed weight lies as [inputs][outputs]. */
  linear({ inputs, outputs, transposed }, [weight, bias]) {
    const at = transposed ? (out, i) => weight[i * outputs + out] : (out, i) => weight[out * inputs + i];
    const arranged = arrange(outputs, 1, inputs, (out, _row, i) => at(out, i)), y = new Float32Array(outputs);
    const sizes = {
      placeRows: 1, placeColumns: 1, rows: 1, rowLength: inputs, pitch: 0, filters: outputs,
      from: 0, fromRow: 0, fromColumn: 0, to: 0, toRow: 0, toColumn: 0,
    };
    return (x) => (convolve(x, y, arranged, bias, sizes), y);
  },

  /** From the large side of the geometry to `filters` channels on its small side. */
  conv2d(s, [weight, bias]) {
    const paddedWidth = s.width + 2 * s.padding, pitch = paddedWidth * s.channels;
    const padded = new Float32Array((s.height + 2 * s.padding) * pitch);
    const rowLength = s.kernel_width * s.channels;
    const arranged = arrange(s.filters, s.kernel_height, rowLength,
      (filter, row, i) => weight[(filter * s.kernel_height + row) * rowLength + i]);
    const y = new Float32Array(s.small_height * s.small_width * s.filters);
    const sizes = {
      placeRows: s.small_height, placeColumns: s.small_width, rows: s.kernel_height, rowLength, pitch, filters: s.filters,
      from: 0, fromRow: s.stride * pitch, fromColumn: s.stride * s.channels,
      to: 0, toRow: s.small_width * s.filters, toColumn: s.filters,
    };
    return (x) => {
      intoMargins(x, padded, s.height, s.width, s.channels, s.padding, s.padding, paddedWidth);
      convolve(padded, y, arranged, bias, sizes);
      return y;
    };
  },

  /**
   * The transpose of a convolution, from its small side to its large side. The output pixels o with the same remainder of o divided by the stride use
   * the same taps: k = (o + padding) mod stride, and every stride-th after it. So each of these phases is a convolution of the small image with a
   * part of the kernel, with the taps in reverse order.
   */
  conv_transpose2d(s, [weight, bias]) {
    const { height, width, channels, stride, small_channels: inputs } = s;
    if (s.small_height * s.small_width === 1 && s.padding === 0) {
      // One pixel produces one patch: a linear layer.
      const len = height * width * channels, biases = new Float32Array(len);
      for (let i = 0; i < len; i++) biases[i] = bias[i % channels];
      return OPERATIONS.linear({ inputs, outputs: len, transposed: 1 }, [weight, biases]);
    }
    const phases = (kernel, size) => Array.from({ length: stride }, (_, remainder) => {
      const first = (remainder + s.padding) % stride, taps = first < kernel ? Math.ceil((kernel - first) / stride) : 0;
      // Output pixel remainder + stride * t uses the small pixels from t + begin to t + begin + taps - 1.
      const begin = (remainder + s.padding - first) / stride - Math.max(taps - 1, 0);
      const places = size > remainder ? Math.ceil((size - remainder) / stride) : 0;
      return { remainder, first, taps, begin, places };
    });
    const rows = phases(s.kernel_height, height), columns = phases(s.kernel_width, width);
    const before = (all) => Math.max(0, ...all.map((phase) => -phase.begin));
    const after = (all, small) => Math.max(0, ...all.map((phase) => phase.places + phase.begin + phase.taps - 1 - small));
    const top = before(rows), left = before(columns);
    const paddedWidth = left + s.small_width + after(columns, s.small_width), pitch = paddedWidth * inputs;
    const padded = new Float32Array((top + s.small_height + after(rows, s.small_height)) * pitch);
    const y = new Float32Array(height * width * channels);
    const parts = rows.flatMap((row) => columns.map((column) => {
      const tap = (phase, place) => phase.first + stride * (phase.taps - 1 - place);
      const arranged = arrange(channels, row.taps, column.taps * inputs, (filter, place, i) => {
        const ky = tap(row, place), kx = tap(column, Math.floor(i / inputs));
        return weight[(((i % inputs) * s.kernel_height + ky) * s.kernel_width + kx) * channels + filter];
      });
      const sizes = {
        placeRows: row.places, placeColumns: column.places, rows: row.taps, rowLength: column.taps * inputs, pitch, filters: channels,
        from: (top + row.begin) * pitch + (left + column.begin) * inputs, fromRow: pitch, fromColumn: inputs,
        to: (row.remainder * width + column.remainder) * channels, toRow: stride * width * channels, toColumn: stride * channels,
      };
      return { arranged, sizes };
    }));
    return (x) => {
      intoMargins(x, padded, s.small_height, s.small_width, inputs, top, left, paddedWidth);
      for (const { arranged, sizes } of parts) convolve(padded, y, arranged, bias, sizes);
      return y;
    };
  },

  /** The largest number of each window; rows and columns that do not fill a window are left out. */
  max_pool2d({ height, width, channels, window }) {
    const rows = Math.floor(height / window), columns = Math.floor(width / window);
    const y = new Float32Array(rows * columns * channels);
    return (x) => {
      for (let row = 0, at = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          for (let c = 0; c < channels; c++, at++) {
            let largest = -Infinity;
            for (let dy = 0; dy < window; dy++) {
              for (let dx = 0; dx < window; dx++) {
                largest = Math.max(largest, x[((row * window + dy) * width + column * window + dx) * channels + c]);
              }
            }
            y[at] = largest;
          }
        }
      }
      return y;
    };
  },

  /** Each group of channels gets mean 0 and variance 1, then a scale and a shift for each channel. */
  group_norm({ pixels, channels, groups }, [scale, shift]) {
    const EPSILON = 1e-5, wide = channels / groups, y = new Float32Array(pixels * channels);
    const a = new Float64Array(channels), b = new Float64Array(channels), sums = new Float64Array(groups);
    const groupOf = Int32Array.from({ length: channels }, (_, c) => Math.floor(c / wide));
    return (x) => {
      sums.fill(0);
      for (let i = 0; i < x.length;) for (let c = 0; c < channels; c++, i++) sums[groupOf[c]] += x[i];
      const mean = sums.map((sum) => sum / (pixels * wide));
      sums.fill(0);
      for (let i = 0; i < x.length;) {
        for (let c = 0; c < channels; c++, i++) {
          const d = x[i] - mean[groupOf[c]];
          sums[groupOf[c]] += d * d;
        }
      }
      for (let c = 0; c < channels; c++) {
        a[c] = scale[c] / Math.sqrt(sums[groupOf[c]] / (pixels * wide) + EPSILON);
        b[c] = shift[c] - mean[groupOf[c]] * a[c];
      }
      for (let i = 0; i < x.length;) for (let c = 0; c < channels; c++, i++) y[i] = x[i] * a[c] + b[c];
      return y;
    };
  },

  silu({ len }) {
    const y = new Float32Array(len);
    return (x) => {
      for (let i = 0; i < len; i++) y[i] = x[i] / (1 + Math.exp(-x[i]));
      return y;
    };
  },

  /** Every pixel becomes a square of 2 x 2 copies; the last row or column may be missing. */
  upsample({ width, channels, to_height, to_width }) {
    const y = new Float32Array(to_height * to_width * channels);
    return (x) => {
      for (let row = 0, at = 0; row < to_height; row++) {
        for (let column = 0; column < to_width; column++) {
          const from = ((row >> 1) * width + (column >> 1)) * channels;
          for (let c = 0; c < channels; c++, at++) y[at] = x[from + c];
        }
      }
      return y;
    };
  },

  /** Appends the condition to every run of `before` numbers. */
  concat({ len, before, labels }) {
    const y = new Float32Array((len / before) * (before + labels));
    return (x, run) => {
      for (let from = 0, to = 0; from < len; from += before, to += before + labels) {
        y.set(x.subarray(from, from + before), to);
        y.set(run.condition, to + before);
      }
      return y;
    };
  },

  /** The start of a residual block: its input is saved. */
  keep({ len }) {
    const copy = new Float32Array(len);
    return (x, run) => {
      copy.set(x);
      run.kept.push(copy);
      return x;
    };
  },

  /** The end of a residual block: the saved input is added. */
  add_kept({ len }) {
    const y = new Float32Array(len);
    return (x, run) => {
      const kept = run.kept.pop();
      for (let i = 0; i < len; i++) y[i] = x[i] + kept[i];
      return y;
    };
  },
};

// ---------------------------------------------------------------------------------------------- mean images

/** The number of each value's m numbers at which channel c of a pixel begins, and how to turn them into the mean. */
const MEANS = {
  identity: () => (output, at) => output[at],
  sigmoid: () => (output, at) => sigmoid(output[at]),
  /** The mean of a logistic distribution over bytes, in [-1, 1]. */
  first_number: () => (output, at) => unit(output[at]),
  /** ln(alpha) and ln(beta) of a beta-binomial distribution, between two bounds. */
  beta: ([low, high]) => (output, at, step) => {
    const bounded = (x) => Math.min(Math.max(x, low), high);
    return sigmoid(bounded(output[at]) - bounded(output[at + step]));
  },
  /** K logits and K means. */
  mixture: ([components]) => (output, at, step) => {
    let largest = -Infinity, sum = 0, mean = 0;
    for (let k = 0; k < components; k++) largest = Math.max(largest, output[at + k * step]);
    for (let k = 0; k < components; k++) {
      const weight = Math.exp(output[at + k * step] - largest);
      sum += weight;
      mean += weight * unit(output[at + (components + k) * step]);
    }
    return mean / sum;
  },
};

function unit(x) {
  return (Math.min(Math.max(x, -1), 1) + 1) / 2;
}

// ---------------------------------------------------------------------------------------------- the model

/** A chain of steps as one function of an input and a condition. */
function chain(steps, parameters) {
  const made = steps.map((step) => ({
    apply: OPERATIONS[step.operation](step.sizes, step.parameters.map((index) => parameters[index])),
    activate: ACTIVATIONS[step.activation],
  }));
  return (input, condition) => {
    const run = { condition, kept: [] };
    let x = input;
    for (const { apply, activate } of made) {
      x = apply(x, run);
      activate(x);
    }
    return x;
  };
}

/** The model of a description and its packed weights: `decode` and, if the page has an encoder, `encode`. */
function makeModel(description, weights) {
  const { height, width, channels, numbers, labels, symmetric, mean } = description.model;
  const parameters = unpackParameters(fromText(weights), description.parameters);
  const decoder = chain(description.decoder, parameters), encoder = description.encoder && chain(description.encoder, parameters);
  const heads = description.heads && description.heads.map((head) => chain([head], parameters));
  const meanOf = MEANS[mean.name](mean.settings), condition = new Float32Array(labels);
  const setLabel = (label) => {
    condition.fill(0);
    if (labels > 0) condition[label] = 1;
  };
  return {
    /** The picture of a code, H x W x C in [0, 1]. */
    decode(code, label) {
      setLabel(label);
      const output = decoder(Float32Array.from(code), condition), picture = new Float32Array(height * width * channels);
      for (let pixel = 0, at = 0; pixel < height * width; pixel++) {
        for (let c = 0; c < channels; c++, at++) {
          const value = meanOf(output, pixel * numbers * channels + c, channels);
          picture[at] = symmetric ? 0.5 * (value + 1) : value;
        }
      }
      return picture;
    },
    /** The mean and ln variance of the code of a picture in [0, 1]. */
    encode(picture, label) {
      setLabel(label);
      const features = encoder(Float32Array.from(picture, (value) => (symmetric ? 2 * value - 1 : value)), condition);
      // A layer may return its own buffer as output, so both are copied.
      const [mu, logVariance] = heads.map((head) => Float32Array.from(head(features, condition)));
      return { mu, logVariance: logVariance.map((s) => Math.min(Math.max(s, -20), 20)) };
    },
    canEncode: Boolean(encoder),
  };
}

// For tests under Node.
if (typeof module !== "undefined") module.exports = { makeModel, fromText, halfToNumber, OPERATIONS, ACTIVATIONS, MEANS };
