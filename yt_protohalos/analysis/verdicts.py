"""Verdicts: the scores of a model beside the paper's and beside the limit that a baseline pair sets.

The paper's numbers are López-Cano et al. 2024, table 2, and readings of figures 6, 8 and 9; every floor is what a model
must reach, every goal what it should.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .block_counts import BINS, OFFSET_WINDOWS
from .metrics import RATE_CENTRES
from .score_tables import Table

PAPER_BELOW_LIMIT = {"ACC": (0.864, 0.039), "F1": (0.838, 0.046)}
"""The paper's model and its distance below the paper's limit (0.903 and 0.884), table 2."""
PAPER_TPR = (0.74, 0.84, 0.87, 0.885)
PAPER_OFFSET = {11.2: 0.37, 11.85: 0.20}
PAPER_OFFSET_ABOVE = (12.1, 0.09)
FEWEST_HALOES = 5
"""Simulated haloes in a bin of mass below which an offset is reported but not judged."""
EPSILON = 1e-9

Row = dict[str, Any]


def verdict_table(table: Table, pair: Table | None = None) -> list[Row]:
    """Judge a table row by row.

    Parameters
    ----------
    table : dict
        Of `validation_table`.
    pair : dict, optional
        Of `pair_table`, made in the same set-up. Without it floors and goals that depend on the limit are None.

    Returns
    -------
    list of dict
        ``figure``; ``log10_mass``, the centre of the window or None; ``value`` and ``error``; ``paper``; ``limit``, the
        pair's value; ``rule``, one of "at least", "within" (of 0) and "within of 1"; ``floor`` and ``goal``, the bounds
        of the rule; ``floor_met`` and ``goal_met``: "yes", "within error" (missed by at most one standard deviation),
        "no", or None where the bound or the value is missing, and in bins of mass with too few haloes for an error.
    """
    return [*_site_rows(table, pair), *_rate_rows(table, pair), *_mass_function_rows(table, pair),
            *_offset_rows(table, pair), *_halo_rows(table, pair)]  # fmt: skip


def _site_rows(table: Table, pair: Table | None) -> Iterator[Row]:
    for name, (paper, below) in PAPER_BELOW_LIMIT.items():
        limit = _value(pair, name)
        floor, goal = (None, None) if limit is None else (limit - below, limit - below / 2)
        yield _row(name, None, table[name], paper, limit, "at least", floor, goal)


def _rate_rows(table: Table, pair: Table | None) -> Iterator[Row]:
    entry = table["TPR_at_mass"]
    for i, (centre, paper) in enumerate(zip(RATE_CENTRES, PAPER_TPR, strict=True)):
        one, limit = _bin(entry, i), _value(pair, "TPR_at_mass", i)
        # the floor is the paper's value less the error of ours
        floor = paper - (one["error"] or 0)
        row = _row("TPR", centre, one, paper, limit, "at least", floor, limit)
        # the error is in the floor already, and counts once
        if row["floor_met"] is not None:
            row["floor_met"] = "yes" if one["value"] >= floor - EPSILON else "no"
        yield row


def _mass_function_rows(table: Table, pair: Table | None) -> Iterator[Row]:
    for i, window in enumerate(BINS):
        centre = round(sum(window) / 2, 3)
        floor = 0.15 if 11.95 < centre < 13.25 else None
        goal = 0.05 if floor else (0.15 if 11.3 <= centre < 12 else None)
        one, limit = _bin(table["mass_function_ratio"], i), _value(pair, "mass_function_ratio", i)
        if one["value"] is not None:
            yield _row("mass function ratio", centre, one, None, limit, "within of 1", floor, goal)


def _offset_rows(table: Table, pair: Table | None) -> Iterator[Row]:
    # a bin of a few haloes says nothing of the mass; its figures are reported without a verdict
    haloes = dict(zip(BINS, table["simulated_haloes"]["value"], strict=True))
    for i, window in sorted(enumerate(OFFSET_WINDOWS), key=lambda numbered: numbered[1]):
        centre = round(sum(window) / 2, 3)
        paper = PAPER_OFFSET.get(centre, PAPER_OFFSET_ABOVE[1] if window[0] >= PAPER_OFFSET_ABOVE[0] else None)
        one, limit = _bin(table["voxel_offset_median"], i), _value(pair, "voxel_offset_median", i)
        goal = 0.05 if window[0] >= 11.5 else None
        if one["value"] is not None:
            few = haloes.get(window, FEWEST_HALOES) < FEWEST_HALOES
            bounds = (None, None) if few else (paper, goal)
            yield _row("median voxel mass offset", centre, one, paper, limit, "within", *bounds)


def _halo_rows(table: Table, pair: Table | None) -> Iterator[Row]:
    limit = _value(pair, "matched_share_large")
    floor, goal = (None, None) if limit is None else (0.80 * limit, 0.92 * limit)
    yield _row("matched share", None, table["matched_share_large"], None, limit, "at least", floor, goal)
    yield _row("calibration error", None, table["calibration_error"], None, None, "within", 0.05, 0.02)


def _row(
    figure: str, centre: float | None, one: Row, paper: float | None, limit: float | None, rule: str,
    floor: float | None, goal: float | None,
) -> Row:  # fmt: skip
    row = {"figure": figure, "log10_mass": centre, **one, "paper": paper, "limit": limit, "rule": rule}
    for name, bound in (("floor", floor), ("goal", goal)):
        row[name] = None if bound is None else round(bound, 4)
        # a bin whose error is unknown has a halo or two: no basis for a verdict
        known = centre is None or one["error"] is not None
        row[f"{name}_met"] = _judge(one["value"], one["error"], rule, bound) if known else None
    return row


def _judge(value: float | None, error: float | None, rule: str, bound: float | None) -> str | None:
    if value is None or bound is None:
        return None
    if rule == "at least":
        lack = bound - value
    else:
        lack = abs(value - (1 if rule == "within of 1" else 0)) - bound
    if lack <= EPSILON:
        return "yes"
    return "within error" if lack <= (error or 0) + EPSILON else "no"


def _bin(entry: Row, i: int) -> Row:
    return {"value": entry["value"][i], "error": entry["error"][i]}


def _value(table: Table | None, name: str, i: int | None = None) -> float | None:
    if table is None:
        return None
    value = table[name]["value"]
    found: float | None = value if i is None else value[i]
    return found


def format_verdicts(rows: list[Row]) -> str:
    """Text of `verdict_table`, a line a row."""
    lines = [
        f"{'figure':26s} {'log10 M':>8s} {'value':>16s} {'paper':>7s} {'limit':>7s} {'floor':>7s} {'goal':>7s}"
        f"  {'floor met':12s} goal met"
    ]
    for row in rows:
        error = "" if row["error"] is None else f"+-{row['error']:.3f}"
        value = "-" if row["value"] is None else f"{row['value']:.3f}{error}"
        numbers = "".join(f" {_number(row[name])}" for name in ("paper", "limit", "floor", "goal"))
        centre = "" if row["log10_mass"] is None else f"{row['log10_mass']:.2f}"
        verdicts = f"{row['floor_met'] or '-':12s} {row['goal_met'] or '-'}"
        lines.append(f"{row['figure']:26s} {centre:>8s} {value:>16s}{numbers}  {verdicts}")
    lines.append("(mass function ratio: floor and goal bound the distance from 1; offset and calibration: from 0)")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.3f'):>7s}"
