"""Memory and time of `linear_field` on Gadget HDF5 files of n^3 particles, and the slope of the memory in n^3.

Run: python benchmarks/reading.py [SIDE ...] [--folder FOLDER] [--always-stream]

Files are generated where the folder has none of that side; each side is read in a process of its own (Linux).
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPACING = 50 / 256
"""Mpc/h."""


def resident_bytes(largest: bool = False) -> int:
    """Memory of this process: now, or the largest since `forget_largest`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM" if largest else "VmRSS"))
    return 1024 * int(line.split()[1])


def forget_largest() -> int:
    """Let the largest memory start again from what is in use, which is returned."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident_bytes()


def read(path: Path, always_stream: bool) -> None:
    """Print peak and kept bytes, wall and processor seconds of one file."""
    import yt

    import yt_protohalos as ph
    from yt_protohalos.yt_interface import linear

    yt.set_log_level(50)
    if always_stream:
        linear.LARGEST_HELD = 0
    ds = ph.load(path)
    before, start, busy = forget_largest(), time.perf_counter(), time.process_time()
    field = ph.linear_field(ds)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(field.n, resident_bytes(largest=True) - before, resident_bytes() - before, seconds, busy)


def generate(path: Path, side: int) -> None:
    """Write the initial conditions of a box of `side`^3 particles."""
    import yt_protohalos as ph

    ph.generate_initial_conditions(side, side * SPACING, seed=5, filename=path)


def apart(*arguments: str) -> str:
    """What this script prints in a process of its own."""
    return subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sides", type=int, nargs="*", default=[128, 192, 256])
    parser.add_argument("--folder", type=Path, help="where files are kept; 28 n^3 bytes each")
    parser.add_argument("--always-stream", action="store_true", help="read the file in every pass, whatever its size")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--generate", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read or args.generate:
        read(args.read, args.always_stream) if args.read else generate(args.generate, args.sides[0])
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        found = []
        for side in args.sides:
            path = folder / f"ics{side}.hdf5"
            if not path.exists():
                apart(str(side), "--generate", str(path))
            words = apart("--read", str(path), *(["--always-stream"] if args.always_stream else [])).split()
            n, peak, kept, seconds, busy = (float(word) for word in words)
            found.append((n**3, peak, kept))
            print(
                f"{side}^3: peak {peak / 2**20:.0f} MiB ({peak / n**3:.0f} bytes per site), kept "
                f"{kept / 2**20:.0f} MiB ({kept / n**3:.0f}), {seconds:.1f} s ({busy:.1f} s of processors)",
                flush=True,
            )
    for (sites, peak, kept), (more, more_peak, more_kept) in itertools.pairwise(found):
        each = more - sites
        print(f"slope of the next {each:.3g} sites: peak {(more_peak - peak) / each:.1f} bytes per site, "
              f"kept {(more_kept - kept) / each:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
