"""Spherical-overdensity masses of predicted haloes: fit the relations of `catalog.spherical_masses`, and test them.

Run: python benchmarks/spherical_masses.py --fit RUN.h5 ... --test RUN.h5 ... [-o FILE.json] [--predictions FOLDER]

The runs are of `protohalos simulate --keep-positions` at z = 0. True masses are those of all particles about the
densest place of each friends-of-friends halo. A predicted halo counts if it matches a simulated one (intersection over
union above 0.5). Fitted are medians, at the nodes of the module; the table tells the errors on the test runs.
"""

from __future__ import annotations

import argparse
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

LEAST = 20
"""Particles about the densest place."""
BINS = (155, 300, 600, 1500, 5000, 10**8)
"""Sites of the predicted haloes, in the table."""


def overdensities(cosmology: Any) -> dict[str, float]:
    """Overdensity of each definition at z = 0, over the mean density; the virial one by Bryan & Norman (1998)."""
    x = cosmology.omega_m - 1
    virial = 18 * np.pi**2 + 82 * x - 39 * x**2
    return {"200m": 200.0, "vir": virial / cosmology.omega_m, "200c": 200.0 / cosmology.omega_m}


def densest_place(points: np.ndarray) -> np.ndarray:
    """Mean of the nearest `LEAST` points about the one whose `LEAST`-th neighbour is nearest; points are unwrapped."""
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    distance, _ = tree.query(points, k=[LEAST])
    _, nearest = tree.query(points[np.argmin(distance[:, 0])], k=LEAST)
    return points[nearest].mean(axis=0)


def true_masses(positions: np.ndarray, labels: np.ndarray, box: float, over: dict[str, float]) -> np.ndarray:
    """Particles within each overdensity about the densest place of every halo, (K, 3); NaN if the place is too thin.

    positions : (n^3, 3), comoving Mpc/h; labels : (n, n, n), 1..K
    """
    from scipy.spatial import cKDTree

    n, flat = len(labels), labels.ravel()
    points = np.mod(positions, np.float32(box))
    points[points >= box] = 0
    tree = cKDTree(points, boxsize=box, leafsize=64, balanced_tree=False, compact_nodes=False)
    sizes = np.bincount(flat)[1:]
    members = np.argsort(flat, kind="stable")[-sizes.sum() :]
    result = np.full((len(sizes), len(over)), np.nan)
    for i, group in enumerate(np.split(members, np.cumsum(sizes)[:-1])):
        first = points[group[0]].astype(float)
        away = points[group] - first
        centre = np.mod(first + densest_place(away - box * np.round(away / box)), box)
        reach, density = 1.6 * np.cbrt(3 * sizes[i] / (800 * np.pi)) * box / n, np.inf
        while density > 0.75 * min(over.values()) and reach < box / 3:
            near = points[tree.query_ball_point(centre, reach)] - centre
            distance = np.sort(np.linalg.norm(near - box * np.round(near / box), axis=1)) * n / box
            volume = 4 / 3 * np.pi * distance**3
            density, reach = len(distance) / volume[-1], 1.4 * reach
        count = np.arange(1, len(distance) + 1)
        for j, contrast in enumerate(over.values()):
            thin = np.flatnonzero((count < contrast * volume) & (count >= LEAST))
            if len(thin) and thin[0] >= LEAST:
                result[i, j] = thin[0]
    return result


def measure(run: Path, predictions: Path) -> dict[str, np.ndarray]:
    """Sites, sites in the evolved sphere, and true particles of the matched haloes of a run."""
    import yt_protohalos as ph
    from yt_protohalos.analysis.catalog_scores import matched_indices
    from yt_protohalos.catalog.spherical_masses import sphere_mass
    from yt_protohalos.training.run_files import read_positions, read_run

    field, labels, _ = read_run(run)
    stored = predictions / f"{run.stem}.h5"
    if stored.is_file():
        prediction = ph.Prediction.load(stored)
    else:
        prediction = ph.ProtohaloPredictor.from_pretrained("planck-v5").predict(field)
        predictions.mkdir(parents=True, exist_ok=True)
        prediction.save(stored)
    over = overdensities(field.cosmology)
    true = true_masses(read_positions(run), labels, field.box_size, over)
    theirs, mine = matched_indices(prediction.labels, labels)
    sphere = sphere_mass(prediction.motion.radius, field.cosmology.mean_density) / field.site_mass_msun_h
    print(f"{run.name}: {len(mine)} of {prediction.n_protohalos} predicted haloes match", flush=True)
    return {"sites": prediction.sizes[1:][mine], "sphere": sphere[mine], "true": true[theirs]}


def pooled(runs: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def least_deviations(columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients with the smallest sum of absolute residuals, by reweighted least squares."""
    weights = np.ones(len(values))
    for _ in range(50):
        found = np.linalg.lstsq(columns * weights[:, None], values * weights, rcond=None)[0]
        weights = 1 / np.sqrt(np.maximum(np.abs(values - columns @ found), 0.005))
    return found


def spread(values: np.ndarray) -> float:
    return float(np.diff(np.percentile(values, [16, 84]))[0] / 2)


def fit(data: dict[str, np.ndarray], with_radius: bool) -> dict[str, dict[str, list[float]]]:
    """Constants of each definition at the nodes."""
    from yt_protohalos.catalog.spherical_masses import DEFINITIONS, NODES

    size, nodes = np.log10(data["sites"]), np.log10(NODES)
    hats = np.stack([np.interp(size, nodes, one) for one in np.eye(len(nodes))], axis=1)
    excess = np.log10(data["sphere"] / data["sites"])
    columns = np.hstack([hats, hats * excess[:, None]]) if with_radius else hats
    at = np.digitize(size, (nodes[1:] + nodes[:-1]) / 2)
    result = {}
    for name, true in zip(DEFINITIONS, data["true"].T, strict=True):
        known = np.isfinite(true)
        wanted = np.log10(true[known] / data["sites"][known])
        found = least_deviations(columns[known], wanted)
        rest = wanted - columns[known] @ found
        result[name] = {
            "offset": found[: len(nodes)].round(4).tolist(),
            "weight": found[len(nodes) :].round(4).tolist() if with_radius else [0.0] * len(nodes),
            "scatter": [round(spread(rest[at[known] == node]), 4) for node in range(len(nodes))],
        }
    return result


def nfw_ratios(mass_200m: float, cosmology: Any) -> dict[str, float]:
    """Masses over M_200m of an NFW profile with the concentration of Diemer & Joyce (2019) at z = 0; mass in Msun/h."""
    from colossus.cosmology import cosmology as colossus
    from colossus.halo import concentration, mass_defs

    colossus.setCurrent(cosmology._colossus)
    value = concentration.concentration(mass_200m, "200m", 0.0, model="diemer19")
    other = {name: mass_defs.changeMassDefinition(mass_200m, value, 0.0, "200m", name)[0] for name in ("vir", "200c")}
    return {"200m": 1.0} | {name: round(float(mass / mass_200m), 3) for name, mass in other.items()}


def table(
    data: dict[str, np.ndarray], relations: dict[str, dict[str, Any]], site_mass: float, cosmology: Any
) -> list[dict[str, Any]]:
    """Bias and scatter of log10(predicted / true) in bins of the predicted sites, by what the relations know."""
    from yt_protohalos.catalog import spherical_masses as module

    rows = []
    for low, high in pairwise(BINS):
        inside = (data["sites"] >= low) & (data["sites"] < high)
        sites, true = data["sites"][inside].astype(float), data["true"][inside]
        row: dict[str, Any] = {"sites": [low, high], "haloes": int(inside.sum())}
        row["log10_mass_msun_h"] = round(float(np.log10(np.median(sites) * site_mass)), 2)
        nfw = nfw_ratios(float(np.nanmedian(true[:, 0])) * site_mass, cosmology)
        for i, name in enumerate(module.DEFINITIONS):
            ratio = round(float(np.nanmedian(true[:, i] / true[:, 0])), 3)
            row[name] = {"true_over_200m": ratio, "nfw_over_200m": nfw[name]}
            found = {"protohalo": sites}
            for what, sphere in (("without_radius", None), ("with_radius", data["sphere"][inside])):
                constants = {key: module.Relation(**value) for key, value in relations[what].items()}
                found[what] = module.spherical_masses(sites, sites, sphere, relations=constants).mass[:, i]
            for what, values in found.items():
                error = np.log10(values / true[:, i])[np.isfinite(true[:, i])]
                row[name][what] = {"bias": round(float(np.median(error)), 3), "scatter": round(spread(error), 3)}
        rows.append(row)
    return rows


def main() -> None:
    from yt_protohalos.catalog.spherical_masses import NODES
    from yt_protohalos.training.run_files import read_run

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", nargs="+", type=Path, required=True, metavar="RUN")
    parser.add_argument("--test", nargs="+", type=Path, required=True, metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/spherical_masses.json"))
    parser.add_argument("--predictions", type=Path, default=Path("predictions"), help="folder where they are kept")
    args = parser.parse_args()
    data = pooled([measure(run, args.predictions) for run in args.fit])
    relations = {"without_radius": fit(data, False), "with_radius": fit(data, True)}
    field = read_run(args.test[0])[0]
    tested = pooled([measure(run, args.predictions) for run in args.test])
    rows = table(tested, relations, field.site_mass_msun_h, field.cosmology)
    result = {
        "model": "planck-v5", "fit": [run.stem for run in args.fit], "test": [run.stem for run in args.test],
        "nodes": list(NODES), "relations": relations, "test_table": rows,
    }  # fmt: skip
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["relations"]))
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
