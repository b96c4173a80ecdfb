"""Time and memory of the label graph of a large box: components of 10^7 crop labels.

Run: python benchmarks/label_graph.py [--labels N] [--networkx]
"""

import argparse
import time
from pathlib import Path

import networkx
import numpy as np

from yt_protohalos.segmentation.labels import lowest_connected


def overlaps(n_labels: int, rng: np.random.Generator) -> np.ndarray:
    """Edges between the labels of two lattices, int32 (E, 2): 1.5 partners a label, most of them near each other."""
    half = n_labels // 2
    first = rng.integers(1, half, int(1.5 * half))
    second = half + np.clip(first + rng.integers(-3, 4, len(first)), 1, half - 1)
    return np.stack([first, second], axis=-1).astype(np.int32)


def resident_gib(largest: bool = False) -> float:
    """Memory of this process, GiB: now, or the largest since `forget_largest` (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM" if largest else "VmRSS"))
    return int(line.split()[1]) / 2**20


def forget_largest() -> float:
    """Let the largest memory start again from what is in use, which is returned."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident_gib()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=10_000_000)
    parser.add_argument("--networkx", action="store_true", help="compare with networkx, some 500 bytes a label")
    args = parser.parse_args()

    edge = overlaps(args.labels, np.random.default_rng(0))
    before = forget_largest()
    start = time.perf_counter()
    lowest = lowest_connected(edge, args.labels)
    seconds = time.perf_counter() - start
    n_components = np.count_nonzero(lowest == np.arange(args.labels))
    print(f"csgraph   {args.labels} labels, {len(edge)} edges, {n_components} components: {seconds:.1f} s, "
          f"{resident_gib(largest=True) - before:.2f} GiB more than the edges")  # fmt: skip
    if not args.networkx:
        return
    before = forget_largest()
    start = time.perf_counter()
    graph = networkx.Graph(edge.tolist())
    graph.add_nodes_from(range(args.labels))
    same = all(set(lowest[list(nodes)].tolist()) == {min(nodes)} for nodes in networkx.connected_components(graph))
    seconds = time.perf_counter() - start
    print(f"networkx  the same partition: {same}; {seconds:.1f} s, {resident_gib(largest=True) - before:.2f} GiB more")


if __name__ == "__main__":
    main()
