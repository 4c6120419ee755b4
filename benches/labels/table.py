"""What labels, classification and detection are worth: the built program, measured on MNIST and on pictures drawn here.

    cargo build --release
    python3 benches/labels/table.py                            # every row, trained as required
    python3 benches/labels/table.py --quick --rows bounds few  # short trainings, some rows

Needs numpy. Trained runs stay in --work and are used again; their wall times are kept beside them.
"""
import argparse
import csv
import gzip
import json
import subprocess
import time
from pathlib import Path

import numpy as np

from drawn import defects, letter, overlap, pictures, shape
from judges import auroc, knn, nearest, pca, probe

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT / "data/mnist"


def idx(name, offset):
    return np.frombuffer(gzip.decompress((MNIST / f"{name}.gz").read_bytes()), np.uint8, offset=offset)


def flat(images):
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


class Bench:
    def __init__(self, options):
        self.options, self.work = options, options.work / ("quick" if options.quick else "full")
        self.work.mkdir(parents=True, exist_ok=True)
        self.images, self.labels = idx("train-images-idx3-ubyte", 16).reshape(-1, 28, 28), idx("train-labels-idx1-ubyte", 8)
        self.test, self.truth = idx("t10k-images-idx3-ubyte", 16).reshape(-1, 28, 28), idx("t10k-labels-idx1-ubyte", 8)

    def elbo(self, *words):
        command = [str(self.options.elbo), *map(str, words)]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if found.returncode:
            raise SystemExit(f"{' '.join(command)}: {found.stderr.strip()}")
        return found.stdout

    def facts(self, *words):
        return json.loads(self.elbo(*words, "--json"))

    def train(self, name, epochs, *words):
        """The run of that name, trained if it is not there; its wall time is told and kept."""
        run, clock = self.work / name, self.work / f"{name}.seconds"
        if not clock.exists():
            start = time.time()
            self.elbo("train", "--epochs", self.epochs(epochs), "--out", run, *words)
            clock.write_text(f"{time.time() - start:.0f}")
        print(f"  {name}: trained in {clock.read_text()} s", flush=True)
        return run

    def epochs(self, full):
        return max(1, full // 8) if self.options.quick else full

    def array(self, name, images):
        path = self.work / f"{name}.npy"
        np.save(path, np.ascontiguousarray(images))
        return path

    def plain(self):
        return self.train("plain", 10)

    def conditional(self):
        return self.train("conditional", 10, "--conditional")

    def codes(self, run, name, *words):
        path = self.work / f"{name}.npy"
        path.unlink(missing_ok=True)
        self.elbo("encode", run, "--out", path, *words)
        return np.load(path)

    def bounds(self):
        """−ELBO on the test images, in nats: the unconditional model's, and the conditional's given the labels."""
        plain, given = (self.facts("eval", run)["negative_elbo"] for run in (self.plain(), self.conditional()))
        yield "−ELBO without labels", f"{plain:.3f}", ""
        yield "−ELBO given the labels", f"{given:.3f}", ""
        yield "the difference", f"{plain - given:.2f}", "≥ 1.5"

    def samples(self):
        """Samples by label, judged by the 5 nearest training images' pixels, as the judge does on test images."""
        run, count, used = self.conditional(), 100 if self.options.quick else 1000, 10000 if self.options.quick else 60000
        references, known = flat(self.images[:used]), self.labels[:used]
        for temperature in (1, 0.6):
            right = []
            for digit in range(10):
                path = self.work / f"sample-{digit}.npy"
                path.unlink(missing_ok=True)
                self.elbo("sample", run, "--label", digit, "--count", count, "--temperature", temperature, "--out", path)
                drawn = np.load(path).reshape(count, -1).astype(np.float32)
                right.append((knn(references, known, drawn, 5) == digit).mean())
            text = f"{np.mean(right):.2%}, worst {min(right):.1%} ({np.argmin(right)})"
            yield f"samples of the asked class, --temperature {temperature}", text, "≥ 95 %"
        judge = (knn(references, known, flat(self.test[:2000]), 5) == self.truth[:2000]).mean()
        yield "  the judge on test images", f"{judge:.2%}", ""

    def classify(self):
        """Errors on the test images with all labels."""
        for k in (1, 8) if self.options.quick else (1, 16, 64):
            start = time.time()
            error = 1 - self.facts("classify", self.conditional(), "--method", "bayes", "--importance", k)["accuracy"]
            yield f"error of Bayes' rule, K = {k}", f"{error:.2%} ({time.time() - start:.0f} s)", "≤ 1.8 %"
        for method in ("knn", "probe"):
            error = 1 - self.facts("classify", self.plain(), "--method", method)["accuracy"]
            yield f"error of {method} on μ", f"{error:.2%}", ""

    def few(self):
        """100 labels, 10 a class, five choices: on μ of the unconditional model, and on pixels."""
        run = self.plain()
        kinds = {
            "μ": (self.codes(run, "codes", "--data", MNIST / "train-images-idx3-ubyte.gz"), self.codes(run, "codes-test")),
            "pixels": (flat(self.images), flat(self.test)),
        }
        for kind, (references, queries) in kinds.items():
            errors = {"1 nearest": [], "5 nearest": [], "probe": []}
            for seed in range(5):
                draw = np.random.default_rng(seed)
                chosen = np.concatenate([draw.choice(np.flatnonzero(self.labels == d), 10, replace=False) for d in range(10)])
                x, y = references[chosen], self.labels[chosen]
                for name, guess in (("1 nearest", knn(x, y, queries, 1)), ("5 nearest", knn(x, y, queries, 5)), ("probe", probe(x, y, queries))):
                    errors[name].append((guess != self.truth).mean())
            for name, found in errors.items():
                yield f"100 labels, {name} on {kind}", f"{np.mean(found):.2%} ± {np.std(found):.2%}", ""

    def digits(self):
        """Trained on one digit, AUROC against the other nine, each digit in turn."""
        found = {}
        for digit in range(2 if self.options.quick else 10):
            train = self.images[self.labels == digit]
            recipe = ("--batch", 64, "--lr", 0.002, "--lr-schedule", "cosine")
            run = self.train(f"digit-{digit}", 15, *recipe, "--data", self.array(f"train-{digit}", train))
            normal, strange = self.test[self.truth == digit], self.test[self.truth != digit]
            pair = ("--normal", self.array("normal", normal), "--anomalous", self.array("anomalous", strange))
            for by in ("elbo", "excess", "heat"):
                found.setdefault(f"elbo, by {by}", []).append(self.facts("detect", run, *pair, "--by", by)["auroc"])
            found.setdefault("elbo, K = 16", []).append(self.facts("detect", run, *pair, "--importance", 16)["auroc"])
            for name, judge in (("nearest on pixels", nearest), ("PCA, 32 components", pca)):
                scores = [judge(flat(train), flat(images)) for images in (normal, strange)]
                found.setdefault(name, []).append(auroc(*scores))
        for name, areas in found.items():
            each = " ".join(f"{area:.3f}" for area in areas)
            yield f"one digit, {name}", f"{np.mean(areas):.4f} ({each})", "≥ 0.96" if name == "elbo, by excess" else ""

    def kinds(self):
        """Digits told from drawn letters and shapes, both ways, with and without the complexity correction."""
        count = 3000 if self.options.quick else 20000
        byte = ("--likelihood", "discretized-logistic")
        drawn = {"letters": letter, "shapes": shape}
        test = {"digits": self.test[:2000], **{kind: pictures(one, 2000, 1) for kind, one in drawn.items()}}
        paths = {kind: self.array(f"test-{kind}", images) for kind, images in test.items()}
        runs = {"digits": self.train("bytes-digits", 10, *byte)}
        for kind, one in drawn.items():
            runs[kind] = self.train(f"bytes-{kind}", 20, *byte, "--data", self.array(f"train-{kind}", pictures(one, count, 0)))
        for own, other in (("digits", "letters"), ("digits", "shapes"), ("letters", "digits"), ("shapes", "digits")):
            for by in ("elbo", "excess", "complexity"):
                area = self.facts("detect", runs[own], "--normal", paths[own], "--anomalous", paths[other], "--by", by)["auroc"]
                yield f"{own} told from {other}, by {by}", f"{area:.4f}", "≥ 0.95" if by == "complexity" else ""

    def boxes(self):
        """Boxes drawn into test images, and those that are found."""
        images, truth = defects(self.test[1000:2000], 3)
        pair = ("--normal", self.array("whole", self.test[2000:3000]), "--anomalous", self.array("defects", images))
        for rate in (0.01, 0.05):
            out = self.work / "boxes.csv"
            out.unlink(missing_ok=True)
            area = self.facts("detect", self.plain(), *pair, "--by", "heat", "--rate", rate, "--out", out)["auroc"]
            with open(out, newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["set"] == "anomalous"]
            first, any_box, none = [], [], 0
            for row, box in zip(rows, truth, strict=True):
                overlaps = [overlap(tuple(map(int, b.split(","))), box) for b in row["boxes"].split(";") if b]
                none += not overlaps
                first.append(overlaps[0] if overlaps else 0)
                any_box.append(max(overlaps, default=0))
            share = [np.mean(np.array(x) >= 0.3) for x in (first, any_box)]
            text = f"{share[0]:.1%}, any box {share[1]:.1%}, no box {none / len(rows):.1%}, mean IoU {np.mean(first):.2f}, AUROC {area:.4f}"
            yield f"hottest box with IoU ≥ 0.3, --rate {rate}", text, "≥ 70 %"


ROWS = ("bounds", "samples", "classify", "few", "digits", "kinds", "boxes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elbo", type=Path, default=ROOT / "target/release/elbo", help="the program")
    parser.add_argument("--work", type=Path, default=ROOT / "target/labels", help="where runs and arrays are kept")
    parser.add_argument("--quick", action="store_true", help="an eighth of the epochs, two digits, fewer samples")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="NAME", help=", ".join(ROWS))
    options = parser.parse_args()
    options.elbo, options.work = options.elbo.resolve(), options.work.resolve()
    bench = Bench(options)
    for name in options.rows:
        start, method = time.time(), getattr(bench, name)
        print(f"\n{name}: {method.__doc__}", flush=True)
        for what, figure, required in method():
            print(f"| {what} | {figure} | {required} |", flush=True)
        print(f"  {time.time() - start:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
