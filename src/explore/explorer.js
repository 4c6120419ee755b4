// The page: it requests pictures from the worker, and shows them. The parts have the order of the page.
"use strict";

const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const { model } = data.network, { images } = data;
const IMAGE = { height: model.height, width: model.width, channels: model.channels };
/** A picture whose channels are not colours is drawn as grey tiles, one for each channel. */
const TILES = [1, 3, 4].includes(model.channels) ? 1 : model.channels;

function halves(text) {
  const bytes = fromBase64Text(text);
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => halfOf(bytes[2 * i] | (bytes[2 * i + 1] << 8)));
}

function fromBase64Text(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function halfOf(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -size : size;
}

// ---------------------------------------------------------------------------------------------- missing features

function missing(text) {
  const box = element("missing");
  box.hidden = false;
  box.append(...(box.childNodes.length ? [document.createElement("br")] : []), text);
}

// ---------------------------------------------------------------------------------------------- the engine

/**
 * Asks the worker, one request at a time. Of the requests with the same urgent name only the newest is kept, so that a drag never lags; all others wait
 * until nothing urgent is left.
 */
class Engine {
  constructor() {
    this.urgent = new Map();
    this.waiting = [];
    this.current = null;
    this.count = 0;
    this.milliseconds = 0;
    this.start();
  }

  start() {
    const source = element("worker").textContent;
    try {
      const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      this.worker = new Worker(address);
      this.worker.onmessage = ({ data: result }) => this.finish(result);
      this.worker.onerror = () => this.fallBack(source);
    } catch {
      this.fallBack(source);
      return;
    }
    this.load();
  }

  /** Decodes in the page itself if there is no worker. */
  fallBack(source) {
    if (!this.worker && this.local) return;
    this.worker = null;
    missing("This browser does not start a worker for this page, so pictures are decoded in the page itself, which may be slow.");
    const script = document.createElement("script");
    script.textContent = `${source}\nwindow.elboAnswer = answer;`;
    document.head.append(script);
    this.local = window.elboAnswer;
    this.current = null;
    this.load();
  }

  load() {
    this.send({ request: { kind: "load", network: data.network, weights: element("weights").textContent }, done() {} });
  }

  send(task) {
    this.current = task;
    if (this.worker) {
      this.worker.postMessage(task.request);
    } else {
      setTimeout(() => {
        const start = performance.now();
        let result;
        try {
          result = this.local(task.request);
        } catch (error) {
          result = { error: String(error) };
        }
        this.finish({ ...result, milliseconds: performance.now() - start });
      }, 0);
    }
  }

  finish(result) {
    const task = this.current;
    this.current = null;
    if (result.error) {
      missing(`The network could not be computed: ${result.error}`);
      return;
    }
    if (task.request.kind === "decode") this.milliseconds = this.milliseconds ? 0.8 * this.milliseconds + 0.2 * result.milliseconds : result.milliseconds;
    this.count++;
    task.done(result);
    this.next();
  }

  next() {
    if (this.current) return;
    for (const [name, task] of this.urgent) {
      this.urgent.delete(name);
      this.send(task);
      return;
    }
    const task = this.waiting.shift();
    if (task) this.send(task);
  }

  /** An urgent request; `name` is its purpose. */
  soon(name, request, done) {
    this.urgent.delete(name);
    this.urgent.set(name, { request, done });
    this.next();
  }

  /** A request that can wait. The requests of a group can be dropped together. */
  later(group, request, done) {
    this.waiting.push({ group, request, done });
    this.next();
  }

  drop(group) {
    this.waiting = this.waiting.filter((task) => task.group !== group);
  }
}

const engine = new Engine();
const decodeRequest = (code) => ({ kind: "decode", code, label: state.label });

// ---------------------------------------------------------------------------------------------- pictures

/** Paints values in [0, 1], H x W x C, on a canvas of that size. */
function paint(canvas, picture) {
  const { height, width, channels } = IMAGE, colors = channels / TILES;
  if (canvas.width !== width * TILES || canvas.height !== height) [canvas.width, canvas.height] = [width * TILES, height];
  const pen = canvas.getContext("2d"), pixels = pen.createImageData(width * TILES, height), bytes = pixels.data;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      for (let tile = 0; tile < TILES; tile++) {
        const from = (row * width + column) * channels + tile * colors, to = 4 * (row * width * TILES + tile * width + column);
        for (let color = 0; color < 3; color++) bytes[to + color] = 255 * picture[from + (colors > 1 ? color : 0)] + 0.5;
        bytes[to + 3] = colors === 4 ? 255 * picture[from + 3] + 0.5 : 255;
      }
    }
  }
  pen.putImageData(pixels, 0, 0);
}

/** The painted picture as the colours of its pixels, for drawing. */
const copies = new WeakMap();

function show(canvas, picture) {
  copies.set(canvas, picture);
  paint(canvas, picture);
}

function newCanvas() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [IMAGE.width * TILES, IMAGE.height];
  return canvas;
}

/** The thumbnail of an image on a canvas of its size. */
function showThumbnail(canvas, at) {
  const { width, height, columns } = images.thumbnails;
  [canvas.width, canvas.height] = [width, height];
  if (sheet.complete) canvas.getContext("2d").drawImage(sheet, (at % columns) * width, Math.floor(at / columns) * height, width, height, 0, 0, width, height);
}

const sheet = new Image();
sheet.src = images.thumbnails.sheet;

// ---------------------------------------------------------------------------------------------- the current code

const codes = halves(images.codes);
const codeOf = (at) => codes.slice(at * model.latent, (at + 1) * model.latent);
/** The mean of the prior. */
const zero = new Float32Array(model.latent);

const state = { code: zero, label: 0, what: "the mean of the prior" };
const map = new CodeMap(element("map"), images.plane, codes, model.latent, {
  labels: images.labels, count: images.names ? images.names.length : 1,
});

/** The name of an image. */
function nameOf(at) {
  const label = images.labels ? `, label ${images.names[images.labels[at]]}` : "";
  return `image ${at}${label}`;
}

/**
 * Makes a code the current one: it is decoded, and map and sliders are updated. `image` is the image of the code, if there is one; `from` is the part of the page
 * that chose it, which is not updated.
 */
function choose(code, what, { image = -1, from = "" } = {}) {
  Object.assign(state, { code, what, image });
  if (image >= 0 && model.labels > 0 && images.conditions.length) setLabel(images.conditions[image], false);
  map.chosen = image;
  if (from !== "map") map.cursor = map.project(code);
  if (from !== "sliders") moveSliders();
  redraw();
  decodeCurrent();
  settle();
}

function decodeCurrent() {
  const { what, image } = state;
  engine.soon("current", decodeRequest(state.code), ({ picture }) => {
    show(element("picture"), picture);
    element("picture-what").textContent = what;
    document.documentElement.dataset.pictures = String((Number(document.documentElement.dataset.pictures) || 0) + 1);
    if (!document.documentElement.dataset.first) document.documentElement.dataset.first = String(Math.round(performance.now()));
    element("speed").textContent = `${engine.milliseconds < 10 ? engine.milliseconds.toFixed(1) : engine.milliseconds.toFixed(0)} ms a picture in this browser`;
    const box = element("original-box");
    box.hidden = !(image >= 0);
    if (image >= 0) {
      showThumbnail(element("original"), image);
      element("original-what").textContent = `${nameOf(image)}: the original`;
    }
  });
}

let isDrawn = true;

/** Draws the map with the next frame. */
function redraw() {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(() => {
    isDrawn = true;
    map.draw();
  });
}

let settling = 0;

/** Slower updates, once the code has not changed for a moment. */
function settle() {
  clearTimeout(settling);
  engine.drop("strips");
  settling = setTimeout(fillStrips, 250);
}

// ---------------------------------------------------------------------------------------------- the map

const canvas = element("map"), thumbnail = element("thumbnail");
const MOUSE_REACH = 7, FINGER_REACH = 14;

function hover(event) {
  const place = map.placeOf(event), near = map.nearest(place, event.pointerType === "mouse" ? MOUSE_REACH : FINGER_REACH);
  map.near = near;
  thumbnail.hidden = near < 0;
  if (near >= 0) {
    showThumbnail(thumbnail.querySelector("canvas"), near);
    thumbnail.querySelector("figcaption").textContent = nameOf(near);
    const box = canvas.getBoundingClientRect(), scale = box.width / canvas.width, [x, y] = map.toPixel(map.points[near]);
    const isRight = x * scale > box.width / 2;
    thumbnail.style.left = isRight ? "auto" : `${x * scale + 14}px`;
    thumbnail.style.right = isRight ? `${box.width - x * scale + 14}px` : "auto";
    thumbnail.style.top = `${Math.min(Math.max(y * scale - 50, 0), box.height - 130)}px`;
  }
  moveTo(place);
}

function moveTo(place) {
  map.cursor = place;
  choose(map.codeAt(place), "at the cursor of the map", { from: "map" });
}

function chooseImage(at) {
  choose(codeOf(at), `${nameOf(at)}: decoded from its code`, { image: at });
}

canvas.addEventListener("pointermove", (event) => {
  // Only the last of the moves since the last frame counts.
  if (event.pointerType === "mouse" || event.buttons) hover(event);
});
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  hover(event);
});
canvas.addEventListener("pointerup", (event) => {
  const near = map.nearest(map.placeOf(event), event.pointerType === "mouse" ? MOUSE_REACH : FINGER_REACH);
  if (near >= 0) chooseImage(near);
  if (event.pointerType !== "mouse") thumbnail.hidden = true;
});
canvas.addEventListener("pointerleave", () => {
  thumbnail.hidden = true;
  map.near = -1;
  redraw();
});
canvas.addEventListener("keydown", (event) => {
  const step = map.reach / (event.shiftKey ? 8 : 40), [x, y] = map.cursor;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (moves[event.key]) {
    const [dx, dy] = moves[event.key];
    moveTo([x + dx, model.latent === 1 ? 0 : y + dy]);
  } else if (event.key === "Enter" || event.key === " ") {
    const near = map.nearest(map.cursor, Infinity);
    if (near >= 0) chooseImage(near);
  } else if (event.key === "+" || event.key === "=") {
    zoom(0.7);
  } else if (event.key === "-") {
    zoom(1 / 0.7);
  } else {
    return;
  }
  event.preventDefault();
});

function zoom(factor) {
  map.zoom(factor);
  fillBehind();
  redraw();
}

element("zoom-in").onclick = () => zoom(0.7);
element("zoom-out").onclick = () => zoom(1 / 0.7);
element("zoom-reset").onclick = () => {
  map.reset();
  fillBehind();
  redraw();
};
window.addEventListener("resize", redraw);
window.matchMedia?.("(prefers-color-scheme: dark)").addEventListener?.("change", redraw);

/** Pictures of a grid of positions, behind the points. */
const TILES_ON_A_SIDE = 16;

function fillBehind() {
  engine.drop("behind");
  map.tiles = null;
  if (!element("behind").checked) return redraw();
  map.tiles = [];
  const half = map.reach / TILES_ON_A_SIDE;
  const rows = model.latent === 1 ? 1 : TILES_ON_A_SIDE;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < TILES_ON_A_SIDE; column++) {
      const at = (i) => (2 * i + 1) * half - map.reach;
      const place = [map.center[0] + at(column), rows === 1 ? 0 : map.center[1] - at(row)];
      engine.later("behind", decodeRequest(map.codeAt(place)), ({ picture }) => {
        const image = newCanvas();
        paint(image, picture);
        map.tiles?.push({ place, half, image });
        redraw();
      });
    }
  }
}

element("behind").onchange = fillBehind;

/** A button for each label: pressed, the other labels' points fade. */
function makeLegend() {
  if (!images.labels) return;
  images.names.forEach((name, label) => {
    const count = images.labels.filter((other) => other === label).length;
    if (count === 0) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${name} (${count})`;
    button.title = name;
    button.style.setProperty("--dot", colorOf(label, images.names.length));
    button.setAttribute("aria-pressed", "false");
    button.onclick = () => {
      map.highlighted = map.highlighted === label ? -1 : label;
      element("legend").querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button && map.highlighted === label)));
      redraw();
    };
    element("legend").append(button);
  });
}

function describeMap() {
  const [across, up] = images.plane.names;
  const axes = up ? `To the right: ${across}. Upwards: ${up}.` : `To the right: ${across}.`;
  const points = images.count ? ` The points are ${images.count} ${images.what}.` : "";
  element("map-note").textContent = `${axes}${points} The grey rings are one and two standard deviations of the prior. Move over the map to decode; click a point to choose its image. Keyboard: arrows, Enter, + and −.`;
}

// ---------------------------------------------------------------------------------------------- label, saving

function setLabel(label, decode) {
  state.label = label;
  element("label").value = String(label);
  if (!decode) return;
  decodeCurrent();
  settle();
  fillDraws();
  fillWay();
  fillBehind();
  encodeDrawing();
}

function makeLabels() {
  element("label-box").hidden = model.labels === 0;
  data.conditions.forEach((name, label) => element("label").append(new Option(name, String(label))));
  element("label").onchange = (event) => setLabel(Number(event.target.value), true);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** An array of 1 x Z numbers in NumPy's format 1.0, for `elbo decode`. */
function npy(code) {
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (1, ${code.length}), }`;
  header += " ".repeat(63 - ((10 + header.length) % 64)) + "\n";
  const bytes = new Uint8Array(10 + header.length + 4 * code.length), view = new DataView(bytes.buffer);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(Array.from(header, (letter) => letter.charCodeAt(0)), 10);
  code.forEach((number, i) => view.setFloat32(10 + header.length + 4 * i, number, true));
  return bytes;
}

element("save-picture").onclick = () => element("picture").toBlob((blob) => save(blob, "picture.png"));
element("save-code").onclick = () => save(new Blob([npy(state.code)], { type: "application/octet-stream" }), "code.npy");

// ---------------------------------------------------------------------------------------------- sliders

const SLIDERS = 12, STRIP = [-3, -2, -1, 0, 1, 2, 3];
const sliders = [];

function addSliders() {
  const from = sliders.length, shown = images.activity.slice(from, from + SLIDERS);
  for (const { dimension, kl, variance } of shown) {
    const row = document.createElement("div");
    row.className = "slider";
    const name = document.createElement("label"), output = document.createElement("output");
    const input = Object.assign(document.createElement("input"), { type: "range", min: "-4", max: "4", step: "0.05", id: `slider-${dimension}` });
    name.htmlFor = input.id;
    name.append(`dimension ${dimension} `);
    const small = document.createElement("small");
    small.textContent = `KL ${kl.toFixed(2)} nats${variance > 0.01 ? "" : ", not active"}`;
    name.append(small);
    const strip = document.createElement("canvas");
    [strip.width, strip.height] = [STRIP.length * IMAGE.width * TILES, IMAGE.height];
    strip.setAttribute("role", "img");
    strip.setAttribute("aria-label", `pictures for dimension ${dimension} from −3 to 3`);
    input.oninput = () => {
      const code = Float32Array.from(state.code);
      code[dimension] = Number(input.value);
      choose(code, `dimension ${dimension} at ${Number(input.value).toFixed(2)}`, { from: "sliders" });
      output.textContent = Number(input.value).toFixed(2);
    };
    row.append(name, output, input, strip);
    element("sliders").append(row);
    sliders.push({ dimension, input, output, strip });
  }
  element("more").hidden = sliders.length >= images.activity.length;
  moveSliders();
}

function moveSliders() {
  for (const { dimension, input, output } of sliders) {
    input.value = String(state.code[dimension]);
    output.textContent = state.code[dimension].toFixed(2);
  }
}

/** The effect of each dimension on the current picture. */
function fillStrips() {
  engine.drop("strips");
  for (const { dimension, strip } of sliders) {
    const pen = strip.getContext("2d");
    STRIP.forEach((value, at) => {
      const code = Float32Array.from(state.code);
      code[dimension] = value;
      engine.later("strips", decodeRequest(code), ({ picture }) => {
        const image = newCanvas();
        paint(image, picture);
        pen.drawImage(image, at * image.width, 0);
      });
    });
  }
}

element("zero").onclick = () => choose(zero, "the mean of the prior");
element("more").onclick = () => {
  addSliders();
  settle();
};

// ---------------------------------------------------------------------------------------------- random draws

const DRAWS = 32;
let mixture = null;

function fillDraws() {
  engine.drop("draws");
  const uniform = uniformFrom(Number(element("seed").value) || 0), normal = normalFrom(uniform), isMixture = element("source").value === "mixture";
  element("draws").replaceChildren();
  for (let at = 0; at < DRAWS; at++) {
    const code = isMixture ? drawMixture(mixture, model.latent, uniform, normal) : drawPrior(model.latent, normal);
    const button = document.createElement("button"), image = newCanvas();
    button.type = "button";
    button.setAttribute("aria-label", `draw ${at + 1}`);
    button.append(image);
    button.onclick = () => choose(code, `draw ${at + 1} of seed ${element("seed").value}`);
    element("draws").append(button);
    engine.later("draws", decodeRequest(code), ({ picture }) => paint(image, picture));
  }
}

function makeDraws() {
  if (images.mixture) {
    mixture = { ...images.mixture, means: halves(images.mixture.means), scales: halves(images.mixture.scales) };
    const count = mixture.weights.length, kind = count === 1 ? "a Gaussian" : `a mixture of ${count} Gaussians`;
    element("source").append(new Option(`${kind}, fitted to the codes`, "mixture"));
  }
  element("source").onchange = fillDraws;
  element("seed").onchange = fillDraws;
  element("next-seed").onclick = () => {
    element("seed").value = String(((Number(element("seed").value) || 0) + 1) % 4294967296);
    fillDraws();
  };
}

// ---------------------------------------------------------------------------------------------- interpolation

const way = { a: null, b: null, playing: false, forwards: true };

function between(t) {
  return Float32Array.from(way.a, (a, i) => (1 - t) * a + t * way.b[i]);
}

function fillWay() {
  engine.later("way", decodeRequest(way.a), ({ picture }) => show(element("way-a"), picture));
  engine.later("way", decodeRequest(way.b), ({ picture }) => show(element("way-b"), picture));
  map.path = [map.project(way.a), map.project(way.b)];
  redraw();
  goTo(Number(element("way").value));
}

function goTo(t, done = () => {}) {
  element("way").value = String(t);
  engine.soon("way", decodeRequest(between(t)), ({ picture }) => {
    show(element("way-now"), picture);
    element("way-what").textContent = `${Math.round(100 * t)} % of the path`;
    done();
  });
}

/** To the end and back in four seconds each, as fast as pictures are decoded. */
function play(before) {
  requestAnimationFrame((now) => {
    if (!way.playing) return;
    const step = Math.min((now - before) / 4000, 0.1), t = Number(element("way").value) + (way.forwards ? step : -step);
    if (t >= 1 || t <= 0) way.forwards = t <= 0;
    goTo(Math.min(Math.max(t, 0), 1), () => play(now));
  });
}

function setPlaying(isPlaying) {
  way.playing = isPlaying;
  element("play").textContent = isPlaying ? "pause" : "play";
  element("play").setAttribute("aria-pressed", String(isPlaying));
}

function makeWay() {
  // Two images of different labels, if there are some.
  const other = images.labels ? images.labels.findIndex((label) => label !== images.labels[0]) : 1;
  way.a = images.count > 0 ? codeOf(0) : zero;
  way.b = images.count > 1 ? codeOf(Math.max(other, 1)) : Float32Array.from(zero, () => 1);
  element("way").oninput = (event) => {
    setPlaying(false);
    goTo(Number(event.target.value));
  };
  element("play").onclick = () => {
    setPlaying(!way.playing);
    if (way.playing) play(performance.now());
  };
  for (const end of ["a", "b"]) {
    element(`take-${end}`).onclick = () => {
      way[end] = Float32Array.from(state.code);
      fillWay();
    };
  }
}

// ---------------------------------------------------------------------------------------------- drawing

const drawing = { values: new Float32Array(IMAGE.height * IMAGE.width), paper: 0, last: null };

/** Whether the images are dark on light: the mean of their thumbnails' edges. */
function paperOfImages() {
  const small = document.createElement("canvas"), { width, height } = images.thumbnails;
  let sum = 0, count = 0;
  for (let at = 0; at < Math.min(images.count, 20); at++) {
    showThumbnail(small, at);
    const bytes = small.getContext("2d").getImageData(0, 0, width, height).data;
    for (let x = 0; x < width; x++) for (const y of [0, height - 1]) [sum, count] = [sum + bytes[4 * (y * width + x)], count + 1];
  }
  return count > 0 && sum / count > 127 ? 1 : 0;
}

function clearDrawing() {
  drawing.values.fill(drawing.paper);
  encodeDrawing();
}

/** A soft round dot. */
function stamp([x, y]) {
  const { height, width } = IMAGE, radius = Number(element("brush").value) * (Math.max(height, width) / 28);
  const ink = element("erase").checked ? drawing.paper : 1 - drawing.paper;
  for (let row = Math.max(0, Math.floor(y - radius - 1)); row <= Math.min(height - 1, y + radius + 1); row++) {
    for (let column = Math.max(0, Math.floor(x - radius - 1)); column <= Math.min(width - 1, x + radius + 1); column++) {
      const distance = Math.hypot(column + 0.5 - x, row + 0.5 - y), cover = Math.min(Math.max(radius + 0.5 - distance, 0), 1);
      const at = row * width + column, value = drawing.values[at];
      // A dot only adds ink: it never moves a pixel back towards the paper.
      const blended = value + (ink - value) * cover;
      drawing.values[at] = ink > drawing.paper ? Math.max(value, blended) : ink < drawing.paper ? Math.min(value, blended) : blended;
    }
  }
}

function stroke(event) {
  const box = element("drawing").getBoundingClientRect();
  const at = [((event.clientX - box.left) / box.width) * IMAGE.width, ((event.clientY - box.top) / box.height) * IMAGE.height];
  const from = drawing.last ?? at, steps = Math.max(1, Math.ceil(2 * Math.hypot(at[0] - from[0], at[1] - from[1])));
  for (let i = 1; i <= steps; i++) stamp([0, 1].map((axis) => from[axis] + ((at[axis] - from[axis]) * i) / steps));
  drawing.last = at;
  encodeDrawing();
}

/** Encodes the drawing, shows its Gaussian on the map, and decodes its mean. */
function encodeDrawing() {
  if (element("draw-section").hidden) return;
  paint(element("drawing"), drawing.values);
  if (drawing.values.every((value) => value === drawing.paper)) {
    engine.urgent.delete("encode");
    map.gaussian = null;
    paint(element("redrawn"), drawing.values);
    element("redrawn-what").textContent = "reconstruction";
    return redraw();
  }
  const picture = Float32Array.from(drawing.values);
  engine.soon("encode", { kind: "encode", picture, label: state.label }, ({ mu, logVariance }) => {
    map.showGaussian(mu, logVariance);
    redraw();
    const mean = logVariance.reduce((sum, s) => sum + Math.exp(0.5 * s), 0) / logVariance.length;
    engine.soon("redrawn", decodeRequest(mu), ({ picture: again }) => {
      show(element("redrawn"), again);
      element("redrawn-what").textContent = `reconstruction; standard deviations ${mean.toFixed(2)} on average (the prior's is 1)`;
      drawing.code = mu;
    });
  });
}

function makeDrawing() {
  if (!data.can_draw || !data.network.encoder) return;
  element("draw-section").hidden = false;
  const paper = element("drawing");
  [paper.width, paper.height] = [element("redrawn").width, element("redrawn").height] = [IMAGE.width, IMAGE.height];
  paper.addEventListener("pointerdown", (event) => {
    paper.setPointerCapture(event.pointerId);
    drawing.last = null;
    stroke(event);
  });
  paper.addEventListener("pointermove", (event) => event.buttons && stroke(event));
  paper.addEventListener("pointerup", () => {
    // The drawing's code becomes the current one.
    setTimeout(() => drawing.code && choose(drawing.code, "the code of your drawing"), 150);
  });
  element("clear").onclick = clearDrawing;
  element("copy").onclick = () => {
    const picture = copies.get(element("picture"));
    if (picture) drawing.values.set(picture);
    encodeDrawing();
  };
  drawing.paper = paperOfImages();
  clearDrawing();
}

// ---------------------------------------------------------------------------------------------- the start

function start() {
  element("sliders-note").textContent = `A slider moves one number of the code, and the strip shows the picture with this number from −3 to 3. The dimensions are sorted by their KL, which is their information about an image, over ${images.measured_on} images. An inactive one has no effect.`;
  element("facts").textContent = `Weights: ${data.precision}.`;
  if (!window.PointerEvent) missing("This browser has no pointer events, so map and drawing do not react to mouse or finger; sliders, draws and keys work.");
  makeLabels();
  makeLegend();
  describeMap();
  addSliders();
  makeDraws();
  makeWay();
  // First the current picture, then all others.
  if (images.count > 0 && images.codes) chooseImage(0);
  else choose(zero, "the mean of the prior");
  fillWay();
  fillDraws();
  element("behind").checked = model.latent <= 2;
  fillBehind();
  const begin = () => {
    makeDrawing();
    if (state.image >= 0) showThumbnail(element("original"), state.image);
  };
  if (sheet.complete) begin();
  else sheet.onload = begin;
}

start();

/** For the test of this page: see tests/browser. */
window.elboPage = {
  decode: (code, label = 0) => new Promise((resolve) => engine.later("test", { kind: "decode", code, label }, ({ picture }) => resolve(picture))),
  encode: (picture, label = 0) => new Promise((resolve) => engine.later("test", { kind: "encode", picture, label }, resolve)),
};
