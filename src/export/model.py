"""@TITLE@

Made by elbo. This file rebuilds the network in PyTorch and needs nothing else; the weights are beside it.

    python model.py        load the weights and compare with elbo's results (check.safetensors)

    from model import load
    vae = load()                               # Vae, in evaluation mode
@USE@

Sizes beside the layers are channels x height x width.
"""
import json
import struct
import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4


@BIAS@class Vae(nn.Module):
    """encode(x@C@) gives mu and ln sigma^2 of q(z|x@C@); decode(z@C@) gives @OUTPUT@."""

    latent = @LATENT@
    size = (@CHANNELS@, @HEIGHT@, @WIDTH@)  # of an image: channels, height, width
    likelihood = @LIKELIHOOD@
@NAMES@
    def __init__(self):
        super().__init__()
@INIT@

    def encode(self, x@C@):
        e, s = self.encoder, self.shared
@ENCODE@
        # sigma is kept between 4.5e-5 and 22,026.
        return s.mu(x), s.log_variance(x).clamp(-20, 20)

    def decode(self, z@C@):
@DECODE@

    def mean(self, output):
        """The mean image of a decoder's output, in the network's range."""
        return @MEAN@

    def forward(self, x@C@):
        """Encodes, draws z = mu + sigma * epsilon, and decodes: the output, mu and ln sigma^2."""
        mu, log_variance = self.encode(x@C@)
        z = mu + (0.5 * log_variance).exp() * torch.randn_like(mu)
        return self.decode(z@C@), mu, log_variance

    def to_span(self, pictures):
        """Pictures with values in [0, 1], as the network takes them: in @SPAN@."""
        return @TO_SPAN@

    def to_unit(self, x):
        """The inverse: values in [0, 1]."""
        return @TO_UNIT@

@SAMPLE@


def read_tensors(path):
    """The tensors of a safetensors file: 8 bytes with the length of a JSON header, the header, the numbers."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", f"{name} is {entry['dtype']}, and F32 is expected"
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32).reshape(entry["shape"])
    return tensors


def load(path=HERE / "model.safetensors"):
    """The network with its weights."""
    vae = Vae()
    vae.load_state_dict(read_tensors(path), strict=True)
    return vae.eval()


@torch.inference_mode()
def check():
    """Compares with elbo's results for some images and codes. True if all are equal to within the tolerance."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    vae, expected = load(), read_tensors(HERE / "check.safetensors")
    mu, log_variance = vae.encode(expected["images"]@EXPECTED_C@)
    found = {
        "mu": mu,
        "log_variance": log_variance,
        "reconstructions": vae.mean(vae.decode(expected["mu"]@EXPECTED_C@)),
        "samples": vae.mean(vae.decode(expected["codes"]@EXPECTED_C@)),
    }
    good = True
    for name, ours in found.items():
        theirs = expected[name]
        # Absolute for values up to 1, relative beyond. A NaN is larger than any tolerance.
        difference = ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()
        good = good and difference <= TOLERANCE
        print(f"{name:16} {str(tuple(ours.shape)):20} largest difference {difference:.2e}")
    print("equal" if good else "DIFFERENT", f"(tolerance {TOLERANCE:g})")
    return good


if __name__ == "__main__":
    sys.exit(0 if check() else 1)
