// Headless Chromium for the tests, over its own pipe (the Chrome DevTools Protocol): no package, no port, no network.
"use strict";
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The path of an installed Chromium; `CHROMIUM` names another one. */
function find() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH || "").split(path.delimiter);
  return NAMES.flatMap((name) => folders.map((folder) => path.join(folder, name))).find((file) => fs.existsSync(file));
}

/** A browser with one page. */
class Browser {
  static async start(program, { width = 1280, height = 900, dark = false, touch = false } = {}) {
    const browser = new Browser();
    browser.folder = fs.mkdtempSync(path.join(os.tmpdir(), "elbo-browser-"));
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking",
      "--remote-debugging-pipe", `--user-data-dir=${browser.folder}`, `--window-size=${width},${height}`, "about:blank"];
    browser.process = spawn(program, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    Object.assign(browser, { count: 0, waiting: new Map(), errors: [], requests: [] });
    let rest = Buffer.alloc(0);
    browser.process.stdio[4].on("data", (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        browser.receive(JSON.parse(rest.subarray(0, end).toString("utf8")));
        rest = rest.subarray(end + 1);
      }
    });
    const { targetInfos } = await browser.send("Target.getTargets", {}, null);
    const { targetId } = targetInfos.find((target) => target.type === "page");
    browser.session = (await browser.send("Target.attachToTarget", { targetId, flatten: true }, null)).sessionId;
    await browser.send("Page.enable");
    await browser.send("Runtime.enable");
    await browser.send("Network.enable");
    // Nothing outside can be reached: what the page needs, it has.
    await browser.send("Network.emulateNetworkConditions", { offline: true, latency: 0, downloadThroughput: 0, uploadThroughput: 0 });
    await browser.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: touch });
    await browser.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
    if (touch) await browser.send("Emulation.setTouchEmulationEnabled", { enabled: true });
    return browser;
  }

  send(method, params = {}, sessionId = this.session) {
    const id = ++this.count;
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, ...(sessionId ? { sessionId } : {}) })}\0`);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject, method }));
  }

  receive(message) {
    const { id, method, params, result, error } = message;
    if (id) {
      const { resolve, reject, method: asked } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(new Error(`${asked}: ${error.message}`));
      else resolve(result);
    } else if (method === "Runtime.exceptionThrown") {
      this.errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    } else if (method === "Runtime.consoleAPICalled" && params.type === "error") {
      this.errors.push(params.args.map((arg) => arg.value ?? arg.description).join(" "));
    } else if (method === "Network.requestWillBeSent") {
      this.requests.push(params.request.url);
    }
  }

  /** Opens a file and waits until it is loaded. */
  async open(file) {
    await this.send("Page.navigate", { url: pathToFileURL(path.resolve(file)).href });
    await this.until("document.readyState === 'complete'");
  }

  /** The value of an expression, or of what it promises. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async until(expression, seconds = 60) {
    for (const end = Date.now() + 1000 * seconds; ;) {
      if (await this.evaluate(expression).catch(() => false)) return;
      if (Date.now() > end) throw new Error(`not within ${seconds} s: ${expression}; errors: ${this.errors.join("; ")}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  mouse(type, x, y, buttons = 0) {
    return this.send("Input.dispatchMouseEvent", { type, x, y, button: buttons || type === "mouseReleased" ? "left" : "none", buttons, clickCount: 1 });
  }

  /** A picture of the page, or of a part of it. */
  async screenshot(file, clip) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true, ...(clip ? { clip: { ...clip, scale: 1 } } : {}) });
    fs.writeFileSync(file, Buffer.from(data, "base64"));
  }

  async close() {
    await this.send("Browser.close", {}, null).catch(() => {});
    await new Promise((resolve) => (this.process.exitCode === null ? this.process.once("exit", resolve) : resolve()));
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

module.exports = { Browser, find };
