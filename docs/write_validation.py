"""Write the tables of docs/validation.md from files of `protohalos validate -o`: `python docs/write_validation.py`.

The files are ``benchmarks/results/validation_SET_MODEL.json``, for the sets of runs and the models below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE / "validation.md"
RESULTS = HERE.parent / "benchmarks" / "results"
TABLE = re.compile(r"<!-- table: (\w+) -->\n.*?<!-- end of table -->", re.DOTALL)
MODELS = ("planck-v5", "planck-v4", "fof")
PAIR = "pair"
LARGE = "haloes_above_500_sites"
Table = dict[str, Any]
COUNTED = (11.1, 13.3)
"""First and last edge of the mass bins whose haloes are counted, log10 of Msun/h."""


def read(runs: str) -> dict[str, Table]:
    """Table of each model that was scored on a set of runs, and of the pair."""
    found: dict[str, Table] = {}
    for model in MODELS:
        path = RESULTS / f"validation_{runs}_{model}.json"
        if path.is_file():
            scored = json.loads(path.read_text(encoding="utf-8"))
            tables = scored["tables"]
            found[model] = {**tables["model"], LARGE: sum(run[LARGE] for run in scored["runs"])}
            if PAIR in tables:
                found.setdefault(PAIR, tables[PAIR])
    return {name: found[name] for name in (*MODELS, PAIR) if name in found}


def plain(table: Table, figure: str) -> str:
    one = table[figure]
    if one["value"] is None:
        return ""
    return f"{one['value']:.3f}" + ("" if one["error"] is None else f" ± {one['error']:.3f}")


def listed(table: Table, figure: str) -> str:
    """Values of the bins, and the largest of their errors."""
    values, errors = table[figure]["value"], [error for error in table[figure]["error"] if error is not None]
    text = ", ".join("-" if value is None else f"{value:.3f}" for value in values)
    return f"{text} (± {max(errors):.3f})" if errors else text


def offset(table: Table) -> str:
    """Median voxel mass offset at 11.2, and the largest from 11.5 to 13.3."""
    bins = table["voxel_offset_median"]
    value = {tuple(edges): value for edges, value in zip(bins["bins"], bins["value"], strict=True)}
    later = [one for (low, high), one in value.items() if low >= 11.45 and high <= COUNTED[1] and one is not None]
    return f"{value[11.1, 11.3]:.3f}; within {max(map(abs, later)):.3f} from 11.5 on"


ROWS: dict[str, Callable[[Table], str]] = {
    "ACC": lambda table: plain(table, "ACC"),
    "F1": lambda table: plain(table, "F1"),
    "TPR at 11.41, 12.0, 12.6, 13.04": lambda table: listed(table, "TPR_at_mass"),
    "share of sites in the mask": lambda table: plain(table, "predicted_fraction"),
    "matched share above 500 sites": lambda table: plain(table, "matched_share_large"),
    "their median IoU": lambda table: plain(table, "median_iou_large"),
    "matched share from 155 sites on": lambda table: plain(table, "matched_share_all"),
    "median voxel mass offset [dex], at 11.2 and above": offset,
    "calibration error": lambda table: plain(table, "calibration_error"),
}


def heads(tables: dict[str, Table]) -> str:
    names = [name if name == PAIR else f"`{name}`" for name in tables]
    return f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}"


def scores(runs: str) -> str:
    """Both tables of a set of runs: figures, and predicted over simulated haloes."""
    tables = read(runs)
    if not tables:
        raise SystemExit(f"no {RESULTS.name}/validation_{runs}_{MODELS[0]}.json: run `protohalos validate -o` first")
    lines = [heads(tables)]
    for name, cell in ROWS.items():
        lines.append(f"| {name} | {' | '.join(map(cell, tables.values()))} |")
    first = next(iter(tables.values()))
    share = plain(first, "true_fraction")
    lines += ["", f"The simulations have {first[LARGE]} haloes above 500 sites, and {share} of the sites in haloes."]
    lines += ["The next table gives the number of predicted haloes divided by that of simulated ones.", ""]
    lines.append(heads({"simulated": first, **tables}).replace("| | `simulated`", "| $\\log_{10} M$ | simulated"))
    for i, (low, high) in enumerate(first["mass_function_ratio"]["bins"]):
        if low < COUNTED[0] or high > COUNTED[1]:
            continue
        cells = [ratio(table["mass_function_ratio"], i) for table in tables.values()]
        number = first["simulated_haloes"]["value"][i]
        lines.append(f"| {(low + high) / 2:.1f} | {number:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(figure: Table, i: int) -> str:
    value, error = figure["value"][i], figure["error"][i]
    if value is None:
        return ""
    return f"{value:.2f}" + ("" if error is None else f" ± {error:.2f}")


def text(page: str) -> str:
    """The page with its tables made anew."""
    return TABLE.sub(lambda found: f"<!-- table: {found[1]} -->\n\n{scores(found[1])}\n\n<!-- end of table -->", page)


if __name__ == "__main__":
    PAGE.write_text(text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
