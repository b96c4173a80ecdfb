"""Draw mass functions of several amplitudes: `python docs/plot_amplitudes.py IMAGE SCORES.json ...`.

Each file is what `protohalos validate -o` wrote for runs of one cosmology; a panel each, beside fits to
friends-of-friends haloes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

from yt_protohalos.analysis.mass_function import fof_mass_function
from yt_protohalos.cosmology import Cosmology

FITS = {"watson13": "-", "angulo12": "--"}


def main(image: str, *files: str) -> None:
    """Counts above, their ratio below."""
    shape = {"sharex": True, "sharey": "row", "layout": "constrained", "height_ratios": (2.2, 1)}
    figure, panels = pyplot.subplots(2, len(files), figsize=(3.2 * len(files), 5), squeeze=False, **shape)
    for (top, below), path in zip(panels.T, files, strict=True):
        scores = json.loads(Path(path).read_text(encoding="utf-8"))
        table, cosmology = scores["tables"]["model"], Cosmology(**scores["cosmology"])
        bins = np.array(table["predicted_haloes"]["bins"])
        centre, width = bins.mean(axis=1), bins[0, 1] - bins[0, 0]
        for fit, style in FITS.items():
            mass = np.linspace(bins[0, 0], bins[-1, 1], 100)
            top.plot(mass, fof_mass_function(cosmology, mass, fit), style, color="0.6", lw=1, label=f"{fit}, FoF")
        for name, colour, marker in (("simulated", "black", "o"), ("predicted", "C3", "s")):
            number = np.array([value or 0 for value in table[f"{name}_haloes"]["value"]])
            kept = number > 0
            density = number[kept] / (width * scores["volume"])
            bars = density / np.sqrt(number[kept])
            top.errorbar(centre[kept], density, [np.minimum(bars, 0.9 * density), bars], fmt=marker, ms=3,
                         color=colour, label=name)  # fmt: skip
        ratio = np.array(
            [[np.nan if v is None else v for v in table["mass_function_ratio"][key]] for key in ("value", "error")]
        )
        below.axhspan(0.85, 1.15, color="0.92")
        below.axhline(1, color="0.6", lw=0.8)
        below.errorbar(centre, *ratio, fmt="s-", ms=3, color="C3")
        runs = table["runs"]
        top.set(yscale="log", title=f"$\\sigma_8$ = {cosmology.sigma_8:.2f}, {runs} run{'s' if runs > 1 else ''}")
        below.set(ylim=(0, 2), xlabel=r"log$_{10}$ $M$ [$h^{-1}M_\odot$]")
    panels[0, 0].set_ylabel(r"d$n$ / dlog$_{10}M$ [($h^{-1}$Mpc)$^{-3}$]")
    panels[1, 0].set_ylabel("predicted / simulated")
    panels[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(image, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
