"""Write the tables of docs/catalog_validation.md: `python docs/write_catalog_validation.py`.

Two files have the tables of `protohalos validate --catalog -o`: examples/gallery/data/catalog.json those of runs 1101
to 1107, benchmarks/results/catalog_treepm.json those of the TreePM run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE / "catalog_validation.md"
SCORES = HERE.parent / "examples" / "gallery" / "data" / "catalog.json"
TREEPM = HERE.parent / "benchmarks" / "results" / "catalog_treepm.json"
MARKED = re.compile(r"<!-- table: (\w+) -->\n.*?<!-- end of table -->", re.DOTALL)
Tables = dict[str, dict[str, list[Any]]]
QUANTITIES = {
    "$b/a$": "b_a",
    "$c/a$": "c_a",
    "$\\lambda_1$": "lambda_1",
    "$\\lambda_2$": "lambda_2",
    "$\\lambda_3$": "lambda_3",
}


def rows(titles: list[str], cells: Iterator[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mass_bins(table: dict[str, list[Any]]) -> Iterator[tuple[int, str]]:
    """Number and title of each bin that has haloes."""
    for i, number in enumerate(table["haloes"]):
        if number:
            yield i, f"{table['low'][i]:g} to {table['high'][i]:g}"


def spread(table: dict[str, list[Any]], name: str, digits: int, i: int) -> str:
    """Median of a bin, and the percentiles in brackets."""
    median, low, high = (table[f"{name}_{what}"][i] for what in ("median", "16", "84"))
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def offset(table: dict[str, list[Any]], name: str, i: int) -> str:
    """Mean of the true values of a bin, then mean and standard deviation of predicted minus true."""
    return f"{table[f'true_{name}'][i]:.2f}, {table[f'{name}_offset'][i]:+.2f} ± {table[f'{name}_scatter'][i]:.2f}"


def cosines(table: dict[str, list[Any]], i: int) -> str:
    return f"{table['major_cosine'][i]:.3f}, {table['minor_cosine'][i]:.3f}"


def motion(tables: Tables) -> str:
    """Errors of positions, velocities and spins."""
    found, true = tables["by_mass"], tables["by_mass_true_members"]
    titles = [
        "$\\log_{10}M$", "haloes", "position error [Mpc/h]", "true members", "velocity error [km/s]", "true members",
        "rms speed", "spin cosine", "true members",
    ]  # fmt: skip
    cells = (
        [
            title, f"{found['haloes'][i]}", spread(found, "distance", 3, i), f"{true['distance_median'][i]:.3f}",
            spread(found, "velocity", 1, i), f"{true['velocity_median'][i]:.1f}", f"{found['speed_rms'][i]:.0f}",
            f"{found['spin_cosine_mean'][i]:.2f}", f"{true['spin_cosine_mean'][i]:.2f}",
        ]
        for i, title in mass_bins(found)
    )  # fmt: skip
    return rows(titles, cells)


def shapes(tables: Tables) -> str:
    """Axis ratios, tidal eigenvalues, axes and pieces."""
    table = tables["shapes"]
    cells = (
        [
            title, *(offset(table, name, i) for name in QUANTITIES.values()),
            cosines(table, i),
            f"{100 * table['several_pieces'][i]:.0f} %, {100 * table['true_several_pieces'][i]:.0f} %",
        ]
        for i, title in mass_bins(table)
    )  # fmt: skip
    return rows(["$\\log_{10}M$", *QUANTITIES, "cosines", "in pieces"], cells)


def confidence(tables: Tables) -> str:
    """Confidence of protohaloes and what they hold."""
    table = tables["by_confidence"]
    cells = (
        [
            f"{low:g} to {high:g}" if low else f"below {high:g}", f"{number}", f"{table['confidence'][i]:.3f}",
            f"{table['purity'][i]:.3f}", f"{table['found'][i]:.2f}",
        ]
        for i, (low, high, number) in enumerate(zip(table["low"], table["high"], table["protohaloes"], strict=True))
        if number
    )  # fmt: skip
    return rows(["confidence", "protohaloes", "mean", "sites that end in haloes", "matched"], cells)


def other_code(tables: Tables) -> str:
    """Errors of positions and shapes on a run without velocities."""
    found, true, shape = tables["by_mass"], tables["by_mass_true_members"], tables["shapes"]
    cells = (
        [
            title, f"{found['haloes'][i]}", spread(found, "distance", 3, i), f"{true['distance_median'][i]:.3f}",
            offset(shape, "c_a", i), offset(shape, "lambda_1", i), cosines(shape, i),
        ]
        for i, title in mass_bins(found)
    )  # fmt: skip
    titles = ["haloes", "position error [Mpc/h]", "true members", "$c/a$", "$\\lambda_1$", "cosines"]
    return rows(["$\\log_{10}M$", *titles], cells)


WRITERS: dict[str, tuple[Callable[[Tables], str], Path]] = {
    "motion": (motion, SCORES),
    "shapes": (shapes, SCORES),
    "confidence": (confidence, SCORES),
    "treepm": (other_code, TREEPM),
    "treepm_confidence": (confidence, TREEPM),
}


def text(page: str) -> str:
    """The page with its tables made anew."""

    def written(found: re.Match[str]) -> str:
        write, path = WRITERS[found[1]]
        table = write(json.loads(path.read_text(encoding="utf-8"))["catalog"])
        return f"<!-- table: {found[1]} -->\n\n{table}\n\n<!-- end of table -->"

    return MARKED.sub(written, page)


if __name__ == "__main__":
    PAGE.write_text(text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
