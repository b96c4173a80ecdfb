"""Wall time of clustering and stitching on synthetic input of a realistic size.

Run: python benchmarks/clustering_stitching.py [--points N] [--side N] [--repeat N]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from yt_protohalos import cluster_embedding, stitch_lattices


def pseudo_space(n_points: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian clouds of about 500 points each, as a trained instance network makes them, float32 (N, 3)."""
    n_clouds = max(1, n_points // 500)
    centres = rng.uniform(-3, 3, (n_clouds, 3)) * n_clouds ** (1 / 3) / 2
    return (centres[rng.integers(n_clouds, size=n_points)] + rng.normal(0, 0.2, (n_points, 3))).astype(np.float32)


def crop_labels(side: int, core: int, shift: int) -> np.ndarray:
    """Blocks of 8^3 sites with a gap, cut by the cores of one lattice, int32 (side, side, side)."""
    axis = np.arange(side)
    inside = axis % 8 < 6
    cell = axis // 8
    core_index = (axis - shift) % side // core
    n_cells = side // 8
    n_cores = -(-side // core)
    label = 1 + cell[:, None, None] * n_cells**2 + cell[None, :, None] * n_cells + cell[None, None, :]
    crop = core_index[:, None, None] * n_cores**2 + core_index[None, :, None] * n_cores + core_index[None, None, :]
    mask = inside[:, None, None] & inside[None, :, None] & inside[None, None, :]
    return np.where(mask, label + crop * n_cells**3, 0).astype(np.int32)


def best_time(function: Callable[[], object], repeat: int) -> float:
    """Shortest wall time of several calls in seconds, after one that compiles."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=128, help="multiple of 64")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()

    points = pseudo_space(args.points, np.random.default_rng(0))
    seconds = best_time(lambda: cluster_embedding(points), args.repeat)
    print(f"cluster_embedding  {args.points} points    {seconds:.2f} s")

    a = crop_labels(args.side, 64, 0)
    b = crop_labels(args.side, 64, 32)
    b[b > 0] += a.max()
    seconds = best_time(lambda: stitch_lattices(a, b), args.repeat)
    print(f"stitch_lattices    {args.side}^3 sites     {seconds:.2f} s")


if __name__ == "__main__":
    main()
