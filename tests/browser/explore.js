#!/usr/bin/env node
// The page of `elbo explore` in headless Chromium, against the program: for each preset and likelihood, in grey and in colour, tied and conditional, a model
// is trained for a few steps, and the page's decoder and encoder are compared with `elbo decode` and `elbo encode` on 100 codes and images.
//
//   node tests/browser/explore.js [PROGRAM]            all cases, and how the page takes hostile names    [target/release/elbo]
//   node tests/browser/explore.js PROGRAM speed RUN    pictures a second, the first picture, the size of the page, for a run
//
// Exit code 0 if all is well, and if there is no Chromium (a line says so).
"use strict";
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { Browser, find } = require("./chromium.js");

const TOLERANCE = 2e-3, CODES = 100;
const LIKELIHOODS = ["bernoulli", "squared-error", "gaussian", "optimal-gaussian", "laplace", "discretized-logistic", "logistic-mixture", "beta-binomial"];

const program = process.argv[2] || path.join(__dirname, "../../target/release/elbo");
const elbo = (...parts) => execFileSync(program, parts.map(String), { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });

/** An array file as NumPy writes it, format 1.0. */
function writeNpy(file, kind, shape, numbers) {
  let header = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  header += " ".repeat(63 - ((10 + header.length) % 64)) + "\n";
  const start = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  fs.writeFileSync(file, Buffer.concat([start, Buffer.from(header), Buffer.from(numbers.buffer)]));
}

/** An IDX file of bytes, as MNIST has them. */
function writeIdx(file, shape, bytes) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x800 + shape.length, 0);
  shape.forEach((size, at) => header.writeUInt32BE(size, 4 + 4 * at));
  fs.writeFileSync(file, Buffer.concat([header, Buffer.from(bytes.buffer)]));
}

function readNpy(file) {
  const bytes = fs.readFileSync(file), start = 10 + bytes.readUInt16LE(8);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length));
}

/** Images with a bright rectangle on a slope, drawn by a formula: bytes, count x H x W x C. */
function images(count, height, width, channels) {
  const bytes = new Uint8Array(count * height * width * channels);
  for (let n = 0, at = 0; n < count; n++) {
    const top = (n * 5) % (height - 4), left = (n * 7) % (width - 5);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        for (let channel = 0; channel < channels; channel++, at++) {
          const inside = row >= top && row < top + 4 && column >= left && column < left + 5;
          bytes[at] = inside ? 255 - 60 * channel : (row * 3 + column * 2 + n * (channel + 1)) % 90;
        }
      }
    }
  }
  return bytes;
}

/** All cases: preset, likelihood, channels, and further options of training. */
function cases() {
  const list = [];
  for (const preset of ["conv", "mlp", "article", "residual"]) {
    for (const [at, likelihood] of LIKELIHOODS.entries()) {
      // Grey and colour in turn, and odd sizes: each preset has both, and each likelihood.
      const channels = (at + list.length / 8) % 2 < 1 ? 1 : 3;
      list.push({ preset, likelihood, channels, height: 13, width: at % 2 ? 12 : 10 });
    }
    list.push({ preset, likelihood: "bernoulli", channels: 1, height: 12, width: 12, conditional: true });
    list.push({ preset, likelihood: "discretized-logistic", channels: 3, height: 12, width: 11, conditional: true });
  }
  for (const preset of ["conv", "mlp"]) {
    for (const channels of [1, 3]) list.push({ preset, likelihood: "bernoulli", channels, height: 12, width: 13, options: ["--tie-weights"] });
  }
  list.push({ preset: "mlp", likelihood: "gaussian", channels: 1, height: 9, width: 9, options: ["--latent", 1] });
  list.push({ preset: "conv", likelihood: "gaussian", channels: 2, height: 9, width: 9, options: ["--latent", 2, "--layout", "nhwc"] });
  return list;
}

const name = ({ preset, likelihood, channels, conditional, options = [] }) =>
  [preset, likelihood, channels === 1 ? "grey" : channels === 3 ? "colour" : `${channels} channels`, conditional && "conditional", ...options].filter(Boolean).join(" ");

/** Trains a model and compares; returns the largest differences, in shares of the range. */
async function compare(browser, folder, test) {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder);
  const file = (which) => path.join(folder, which), { height, width, channels } = test, count = CODES;
  const more = [...(test.options ?? [])];
  // Files with the names of MNIST's have labels beside them.
  fs.mkdirSync(file("data"));
  writeIdx(file("data/train-images-idx3-ubyte"), channels === 1 ? [count, height, width] : [count, height, width, channels], images(count, height, width, channels));
  if (test.conditional) {
    writeIdx(file("data/train-labels-idx1-ubyte"), [count], Uint8Array.from({ length: count }, (_, n) => n % 3));
    more.push("--conditional");
  }
  if (test.preset !== "mlp" && test.preset !== "article") more.push("--channels", "8,12");
  if (test.preset === "mlp" || test.preset === "conv") more.push("--hidden", 24);
  if (!more.includes("--latent")) more.push("--latent", 5);
  elbo("train", "--data", file("data"), "--preset", test.preset, "--likelihood", test.likelihood, "--batch", 20, "--valid", 0,
    "--max-steps", 12, "--lr", "3e-3", "--threads", 1, "--out", file("run"), ...more);
  const label = test.conditional ? ["--label", "1"] : [];
  elbo("explore", file("run"), "--out", file("page.html"), "--count", 50);
  // Codes of images and codes from the prior: with a seed of their own, by the page's formula.
  elbo("encode", file("run"), "--data", file("data"), "--out", file("mu.npy"), "--log-variance", file("s.npy"), ...label);
  const mu = readNpy(file("mu.npy")), latent = mu.length / count, spread = Float32Array.from(mu, (value, i) => value + Math.sin(7 * i));
  writeNpy(file("codes.npy"), "<f4", [count, latent], spread);
  elbo("decode", file("run"), file("codes.npy"), "--out", file("decoded.npy"), ...label);

  const before = browser.errors.length;
  await browser.open(file("page.html"));
  await browser.until("document.documentElement.dataset.first");
  const text = (numbers) => Buffer.from(numbers.buffer).toString("base64");
  const pixels = Float32Array.from(images(count, height, width, channels), (byte) => byte / 255);
  const answer = await browser.evaluate(`(async () => {
    const numbers = (text) => new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
    const codes = numbers("${text(spread)}"), images = numbers("${text(pixels)}"), label = ${test.conditional ? 1 : 0};
    const latent = ${latent}, size = ${height * width * channels}, found = { decoded: [], mu: [], s: [] };
    for (let at = 0; at < ${count}; at++) {
      found.decoded.push(...await window.elboPage.decode(codes.slice(at * latent, (at + 1) * latent), label));
      const { mu, logVariance } = await window.elboPage.encode(images.slice(at * size, (at + 1) * size), label);
      found.mu.push(...mu);
      found.s.push(...logVariance);
    }
    return found;
  })()`);
  if (browser.errors.length > before) throw new Error(`the page has errors: ${browser.errors.slice(before).join("; ")}`);
  const largest = (found, expected, range) => {
    if (found.length !== expected.length) throw new Error(`${found.length} numbers for ${expected.length}`);
    return expected.reduce((most, value, i) => {
      const difference = Math.abs(value - found[i]) / range;
      return difference <= most ? most : Number.isNaN(difference) ? Infinity : difference;
    }, 0);
  };
  const rangeOf = (numbers) => numbers.reduce((a, b) => Math.max(a, b)) - numbers.reduce((a, b) => Math.min(a, b));
  const s = readNpy(file("s.npy"));
  return {
    decoder: largest(answer.decoded, readNpy(file("decoded.npy")), 1),
    mu: largest(answer.mu, mu, rangeOf(mu)),
    s: largest(answer.s, s, Math.max(rangeOf(s), 1e-2)),
  };
}

/** Names of folders and labels with everything that could leave its place. */
async function hostile(browser, folder) {
  const bad = `<b onclick='x'>"&\n\u2028script>alert(1)`, run = path.join(folder, `r<i>"'&\nn`), data = path.join(folder, "hostile");
  const bytes = images(12, 9, 9, 1);
  // A folder of pictures, one subfolder for each label.
  const picture = path.join(folder, "hostile.npy");
  writeNpy(picture, "|u1", [12, 9, 9], bytes);
  elbo("train", "--data", picture, "--preset", "mlp", "--hidden", 8, "--max-steps", 1, "--valid", 0, "--out", path.join(folder, "plain"));
  elbo("sample", path.join(folder, "plain"), "--count", 6, "--out", path.join(folder, "drawn"));
  for (const label of [bad, "other"]) {
    fs.mkdirSync(path.join(data, label), { recursive: true });
    for (const file of fs.readdirSync(path.join(folder, "drawn"))) fs.copyFileSync(path.join(folder, "drawn", file), path.join(data, label, `${label.length}${file}`));
  }
  elbo("train", "--data", data, "--preset", "mlp", "--hidden", 8, "--latent", 2, "--conditional", "--max-steps", 1, "--valid", 0, "--out", run);
  elbo("explore", run);
  await browser.open(path.join(run, "explore.html"));
  await browser.until("document.documentElement.dataset.first");
  const found = await browser.evaluate(`({
    title: document.querySelector("h1").textContent, labels: [...document.getElementById("label").options].map((option) => option.text),
    names: images.names, legend: document.getElementById("legend").textContent, elements: document.querySelectorAll("main b, main i").length,
    report: document.querySelector("header a").getAttribute("href"),
  })`);
  const expect = (what, is) => {
    if (!is) throw new Error(`hostile names: ${what}: ${JSON.stringify(found)}`);
  };
  expect("the title", found.title === path.basename(run));
  expect("the labels", found.names.includes(bad) && found.legend.includes(bad));
  expect("no element out of a name", found.elements === 0);
  expect("the report", found.report === "report.html");
}

/** How fast the page of a run is: first with the worker's own time, then as a person drags. */
async function speed(run) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "elbo-speed-")), page = path.join(folder, "page.html");
  console.log(elbo("explore", run, "--out", page).split("\n")[0]);
  const browser = await Browser.start(find());
  await browser.open(page);
  await browser.until("document.documentElement.dataset.first");
  console.log(`first picture ${await browser.evaluate("document.documentElement.dataset.first")} ms after opening`);
  await browser.evaluate("engine.waiting.length = 0");
  // A drag over the map: a new place as soon as the last picture is shown.
  const rate = await browser.evaluate(`(async () => {
    const shown = () => Number(document.documentElement.dataset.pictures), box = document.getElementById("map").getBoundingClientRect();
    const start = performance.now(), first = shown();
    let at = 0;
    while (performance.now() - start < 3000) {
      at += 0.01;
      const place = { pointerType: "mouse", bubbles: true, clientX: box.left + box.width * (0.5 + 0.4 * Math.cos(at)), clientY: box.top + box.height * (0.5 + 0.4 * Math.sin(2 * at)) };
      const before = shown();
      document.getElementById("map").dispatchEvent(new PointerEvent("pointermove", place));
      while (shown() === before) await new Promise((resolve) => { const channel = new MessageChannel(); channel.port1.onmessage = resolve; channel.port2.postMessage(0); });
    }
    return (1000 * (shown() - first)) / (performance.now() - start);
  })()`);
  console.log(`${rate.toFixed(0)} decoded pictures a second while dragging`);
  await browser.close();
  fs.rmSync(folder, { recursive: true, force: true });
}

async function main() {
  const chromium = find();
  if (!chromium) {
    console.log("skipped: no Chromium is installed (chromium, chromium-browser or google-chrome)");
    return;
  }
  if (process.argv[3] === "speed") return speed(process.argv[4]);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "elbo-explore-")), browser = await Browser.start(chromium);
  try {
    await check(browser, folder);
  } finally {
    await browser.close();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function check(browser, folder) {
  let worst = 0, failed = 0;
  const all = cases();
  for (const test of all) {
    const differences = await compare(browser, path.join(folder, "case"), test), { decoder, mu, s } = differences;
    const isGood = Math.max(decoder, mu, s) <= TOLERANCE;
    worst = Math.max(worst, decoder, mu, s);
    if (!isGood) failed++;
    console.log(`${isGood ? "ok  " : "BAD "} ${name(test).padEnd(52)} decoder ${decoder.toExponential(1)}  mu ${mu.toExponential(1)}  ln variance ${s.toExponential(1)}`);
  }
  await hostile(browser, folder);
  const outside = browser.requests.filter((address) => !/^(file:|blob:|data:|about:)/.test(address));
  if (outside.length) throw new Error(`loaded from outside: ${outside.join(", ")}`);
  console.log(`${all.length} cases, largest difference ${worst.toExponential(1)} of the range (at most ${TOLERANCE}), hostile names stay text, nothing loaded from outside`);
  if (failed) throw new Error(`${failed} cases differ by more`);
}

main().catch((error) => {
  console.error(error.stderr ? `${error.message}\n${error.stderr}` : error);
  process.exit(1);
});
