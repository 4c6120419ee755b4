// The map of codes: a plane through the latent space, with the images as points. It draws on a canvas and converts positions to codes.
"use strict";

/** Ten distinguishable colours; more labels get evenly spaced hues. */
const COLORS = ["#4269d0", "#e8781e", "#d0393a", "#28a197", "#3f9a2f", "#b8a000", "#d765b6", "#8d5bd0", "#8a5a3c", "#6b7480"];

function colorOf(label, count) {
  if (count <= COLORS.length) return COLORS[label % COLORS.length];
  return `hsl(${Math.round((360 * label) / count)} 65% ${label % 2 ? 58 : 44}%)`;
}

/** A map on `canvas`. `plane` has origin, across and up; `codes` are the images', Z numbers each. */
class CodeMap {
  constructor(canvas, plane, codes, latent, colors) {
    Object.assign(this, { canvas, plane, latent, colors });
    this.context = canvas.getContext("2d");
    this.points = [];
    for (let at = 0; at < codes.length; at += latent) this.points.push(this.project(codes.subarray(at, at + latent)));
    this.cursor = [0, 0];
    this.chosen = -1;
    this.near = -1;
    this.highlighted = -1;
    this.gaussian = null;
    this.path = null;
    this.tiles = null;
    this.reset();
  }

  /** The position of a code on the map: the coordinates along both directions. */
  project(code) {
    const { origin, across, up } = this.plane;
    let x = 0, y = 0;
    for (let i = 0; i < this.latent; i++) {
      x += (code[i] - origin[i]) * across[i];
      y += (code[i] - origin[i]) * up[i];
    }
    return [x, y];
  }

  /** The code at a position on the map. */
  codeAt([x, y]) {
    const { origin, across, up } = this.plane;
    return Float32Array.from({ length: this.latent }, (_, i) => origin[i] + x * across[i] + y * up[i]);
  }

  /** Shows nearly all points, and the mean of the prior. */
  reset() {
    const reach = (axis) => {
      const sizes = this.points.map((point) => Math.abs(point[axis])).sort((a, b) => a - b);
      return 1.15 * Math.max(sizes[Math.floor(0.99 * sizes.length)] || 0, 1.5);
    };
    this.center = [0, 0];
    this.reach = Math.max(reach(0), reach(1));
  }

  zoom(factor) {
    this.reach = Math.min(Math.max(this.reach * factor, 0.05), 100);
    this.center = factor < 1 ? [...this.cursor] : this.center.map((c) => c * 0.7);
    if (this.reach > 1.5 * Math.max(...this.points.map(([x, y]) => Math.max(Math.abs(x), Math.abs(y))), 3)) this.reset();
  }

  /** The pixel of a position, and the position of a pixel. */
  toPixel([x, y]) {
    const half = this.canvas.width / 2;
    return [half + ((x - this.center[0]) / this.reach) * half, half - ((y - this.center[1]) / this.reach) * half];
  }

  toPlace([left, top]) {
    const half = this.canvas.width / 2;
    return [this.center[0] + ((left - half) / half) * this.reach, this.center[1] - ((top - half) / half) * this.reach];
  }

  /** The position under a pointer. A model with one dimension has a line. */
  placeOf(event) {
    const box = this.canvas.getBoundingClientRect(), scale = this.canvas.width / box.width;
    const place = this.toPlace([(event.clientX - box.left) * scale, (event.clientY - box.top) * scale]);
    return this.latent === 1 ? [place[0], 0] : place;
  }

  /** The image whose point is nearest to a position, if it is within this many pixels of the screen. */
  nearest(place, within) {
    const [left, top] = this.toPixel(place), limit = within * (window.devicePixelRatio || 1);
    let best = -1, least = limit * limit;
    this.points.forEach((point, at) => {
      const [x, y] = this.toPixel(point), distance = (x - left) ** 2 + (y - top) ** 2;
      if (distance <= least) [best, least] = [at, distance];
    });
    return best;
  }

  /** Fits the canvas to its size on the page. */
  resize() {
    const side = Math.max(1, Math.round(this.canvas.clientWidth * (window.devicePixelRatio || 1)));
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
  }

  draw() {
    this.resize();
    const { context: pen, canvas } = this, side = canvas.width, dot = 3.2 * (window.devicePixelRatio || 1);
    const style = getComputedStyle(document.documentElement), color = (name) => style.getPropertyValue(name).trim();
    pen.clearRect(0, 0, side, side);
    if (this.tiles) {
      pen.globalAlpha = 0.55;
      pen.imageSmoothingEnabled = false;
      for (const { place, half, image } of this.tiles) {
        const [left, top] = this.toPixel([place[0] - half, place[1] + half]), [right, bottom] = this.toPixel([place[0] + half, place[1] - half]);
        pen.drawImage(image, left, top, right - left, bottom - top);
      }
      pen.globalAlpha = 1;
    }
    // One and two standard deviations of the prior.
    pen.lineWidth = dot / 3;
    pen.strokeStyle = color("--idle");
    for (const radius of [1, 2]) this.ellipse([0, 0].map((_, i) => -this.dot(i)), [radius, 0, 0, radius]);
    pen.beginPath();
    const [zeroX, zeroY] = this.toPixel([-this.dot(0), -this.dot(1)]);
    pen.moveTo(zeroX - 2 * dot, zeroY);
    pen.lineTo(zeroX + 2 * dot, zeroY);
    pen.moveTo(zeroX, zeroY - 2 * dot);
    pen.lineTo(zeroX, zeroY + 2 * dot);
    pen.stroke();
    this.points.forEach((point, at) => {
      const label = this.colors.labels ? this.colors.labels[at] : 0;
      const [x, y] = this.toPixel(point), faded = this.highlighted >= 0 && label !== this.highlighted;
      pen.globalAlpha = faded ? 0.12 : 0.85;
      pen.fillStyle = colorOf(label, this.colors.count);
      pen.beginPath();
      pen.arc(x, y, at === this.near || at === this.chosen ? 1.8 * dot : dot, 0, 2 * Math.PI);
      pen.fill();
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = color("--ink");
    if (this.path) {
      pen.setLineDash([2 * dot, dot]);
      pen.beginPath();
      this.path.forEach((place) => pen.lineTo(...this.toPixel(place)));
      pen.stroke();
      pen.setLineDash([]);
    }
    if (this.gaussian) {
      pen.strokeStyle = color("--valid");
      pen.lineWidth = dot / 2;
      const { center, root } = this.gaussian;
      for (const times of [1, 2]) this.ellipse(center, root.map((r) => r * times));
      pen.strokeStyle = color("--ink");
    }
    const [x, y] = this.toPixel(this.cursor);
    pen.lineWidth = dot / 2;
    pen.beginPath();
    pen.arc(x, y, 2.6 * dot, 0, 2 * Math.PI);
    pen.moveTo(x - 4 * dot, y);
    pen.lineTo(x + 4 * dot, y);
    pen.moveTo(x, y - 4 * dot);
    pen.lineTo(x, y + 4 * dot);
    pen.stroke();
  }

  /** The distance of the plane's origin along a direction from the mean of the prior. */
  dot(axis) {
    const direction = axis ? this.plane.up : this.plane.across;
    return this.plane.origin.reduce((sum, value, i) => sum + value * direction[i], 0);
  }

  /** The image of the unit circle under the matrix [a b; c d], around a position. */
  ellipse(center, [a, b, c, d]) {
    this.context.beginPath();
    for (let i = 0; i <= 64; i++) {
      const angle = (2 * Math.PI * i) / 64, [x, y] = [Math.cos(angle), Math.sin(angle)];
      this.context.lineTo(...this.toPixel([center[0] + a * x + b * y, center[1] + c * x + d * y]));
    }
    this.context.stroke();
  }

  /** Shows the Gaussian of an encoded image: its standard deviations in the plane, as the root of the 2 x 2 covariance (Cholesky). */
  showGaussian(mu, logVariance) {
    const { across, up } = this.plane;
    let xx = 0, xy = 0, yy = 0;
    for (let i = 0; i < this.latent; i++) {
      const variance = Math.exp(logVariance[i]);
      xx += variance * across[i] * across[i];
      xy += variance * across[i] * up[i];
      yy += variance * up[i] * up[i];
    }
    const a = Math.sqrt(xx), c = a > 0 ? xy / a : 0;
    this.gaussian = { center: this.project(mu), root: [a, 0, c, Math.sqrt(Math.max(yy - c * c, 0))] };
  }
}
