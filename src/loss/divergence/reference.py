"""Prints the table in tests.rs: both divergences and their gradients, computed with 60 digits."""

from decimal import Decimal, getcontext

getcontext().prec = 60
for mu in ["0.0", "0.001", "-0.75", "3.0"]:
    for s in ["-20.0", "-1.0", "-0.001", "-0.0000001", "0.0", "0.0000001", "0.03125", "0.999", "1.001", "20.0"]:
        # The program's input is the nearest f32, for both of its number types.
        import struct

        m, t = (Decimal(struct.unpack("f", struct.pack("f", float(x)))[0]) for x in (mu, s))
        e, r = t.exp(), (-t).exp()
        kl = (m * m + e - 1 - t) / 2
        jeffreys = (m * m + e + (1 + m * m) * r - 2) / 4
        row = [kl, (e - 1) / 2, jeffreys, m * (1 + r) / 2, (e - (1 + m * m) * r) / 4]
        print(f"    ({mu}, {s}, [" + ", ".join(f"{float(x)!r}" for x in row) + "]),")
