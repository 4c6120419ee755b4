"""elbo against PyTorch on this machine: training steps and generation, alternating, as ratios of medians.

    python3 benches/peers/compare.py [--python PYTHON_WITH_TORCH] [--rounds N] [--threads N] [WHAT ...]

WHAT: conv, article, residual (training steps), sample (10,000 images of conv); all by default. Without --python, a virtual environment with torch
is made in target/peers-venv the first time (some hundred MB to download). Needs cargo. See README.md beside this file.
"""
import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODES = ["eager", "channels_last", "compile", "compile+channels_last"]
BF16 = ["channels_last+bf16", "compile+channels_last+bf16"]
# What: (preset, arguments of our bench, modes of theirs)
CASES = {
    "conv": ("conv", ["--step", "conv"], MODES + BF16),
    "article": ("article", ["--step", "article"], MODES + BF16),
    "residual": ("residual", ["--step", "residual"], MODES + BF16),
    "sample": ("conv", ["--sample", "conv"], ["sample+" + mode for mode in MODES]),
}


def torch_python(wanted):
    """A Python that has torch: the requested one, or one in a virtual environment that is created here."""
    if wanted:
        return wanted
    venv = ROOT / "target" / "peers-venv"
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        print(f"making {venv} with torch ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    if subprocess.run([python, "-c", "import torch, numpy"], stderr=subprocess.DEVNULL).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torch", "numpy"], check=True)
    return str(python)


def build():
    """Builds our bench and returns the path of its program."""
    command = ["cargo", "bench", "--bench", "kernels", "--no-run", "--message-format", "json-render-diagnostics"]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "kernels")


class Peer:
    """A PyTorch process that is ready for its turn, and asleep until then."""

    def __init__(self, python, preset, mode, threads):
        command = [python, HERE / "torch_step.py", preset, mode, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            error = self.process.communicate()[1].strip().splitlines() or ["no message"]
            raise RuntimeError(error[-1])

    def times(self, seconds):
        self.process.stdin.write(f"60 {seconds}\n")
        self.process.stdin.flush()
        return median(json.loads(self.process.stdout.readline()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def ours(program, arguments, threads, seconds):
    """The median of one run of our bench, in seconds."""
    command = [program, *arguments, "--threads", str(threads), "--seconds", str(seconds)]
    line = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    value, unit = re.search(r"median ([0-9.]+) (ms|s)\b", line).groups()
    return float(value) * (1e-3 if unit == "ms" else 1)


def compare(what, python, program, flags):
    preset, arguments, modes = CASES[what]
    peers, times = {}, {"elbo": []}
    own = {"elbo": arguments}
    if any("bf16" in mode for mode in modes):
        own["elbo in bf16"] = [*arguments, "--precision", "bf16"]
    for mode in modes:
        try:
            peers[mode] = Peer(python, preset, mode, flags.threads)
            times[mode] = []
        except RuntimeError as error:
            print(f"  {what}, {mode}: not measured: {error}", flush=True)
    if not peers:
        sys.exit("no mode of PyTorch could be measured")
    for name, arguments in list(own.items())[1:]:
        try:
            ours(program, arguments, flags.threads, 0.1)
            times[name] = []
        except subprocess.CalledProcessError:
            print(f"  {name}: not measured: this processor lacks it", flush=True)
            del own[name]
    for _ in range(flags.rounds):
        for name, arguments in own.items():
            times[name].append(ours(program, arguments, flags.threads, flags.seconds))
        for mode, peer in peers.items():
            times[mode].append(peer.times(flags.seconds))
    for peer in peers.values():
        peer.close()

    label = f"10,000 images of {preset}" if what == "sample" else f"{what}, a training step of 128 images"
    print(f"\n{label}: {flags.threads} threads, {flags.rounds} rounds, medians")
    medians = {name: median(values) for name, values in times.items()}
    for name, value in medians.items():
        spread = f"{1e3 * min(times[name]):.1f} to {1e3 * max(times[name]):.1f}"
        print(f"  {name:<30} {1e3 * value:9.2f} ms   ({spread})   {value / medians['elbo']:5.2f} times elbo's")
    found = []
    for precision, of_it in (("f32", lambda name: "bf16" not in name), ("bf16", lambda name: "bf16" in name)):
        if sides := [(value, name) for name, value in medians.items() if name not in own and of_it(name)]:
            value, name = min(sides)
            found.append((label, name, value / medians["elbo"]))
            print(f"  PyTorch's fastest in {precision} ({name}) / elbo: {found[-1][2]:.2f}", flush=True)
            if precision == "bf16" and "elbo in bf16" in own:
                print(f"  the same / elbo in bf16: {value / medians['elbo in bf16']:.2f}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="a Python that has torch and numpy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each side in each round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    parser.add_argument("--program", help="our bench's program, already built")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(CASES))
    flags = parser.parse_args()
    if unknown := set(flags.what) - set(CASES):
        parser.error(f"nothing called {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    python, program = torch_python(flags.python), flags.program or build()
    version = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], stdout=subprocess.PIPE, text=True, check=True)
    print(f"PyTorch {version.stdout.strip()}", flush=True)
    subprocess.run([python, HERE / "check_networks.py"], check=True)
    results = [found for what in flags.what or CASES for found in compare(what, python, program, flags)]
    print("\nPyTorch's fastest mode / elbo")
    for label, mode, ratio in results:
        print(f"  {label:<44} {ratio:5.2f}   ({mode})")


if __name__ == "__main__":
    main()
