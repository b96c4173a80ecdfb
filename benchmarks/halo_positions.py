"""Where the protohaloes of a position network are: by the evolved field, and by the positions the network predicts.

Run: python benchmarks/halo_positions.py --runs RUN.h5 ... [--model NAME]

Prints the errors of the matched haloes of the runs (made by `protohalos simulate`) in bins of mass. The velocities are
those of the evolved field both times.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def errors_by_source(predictor: Any, run: Path) -> dict[str, Any]:
    """`CatalogErrors` of one run, by where its positions come from."""
    from yt_protohalos.analysis.catalog_scores import catalog_errors
    from yt_protohalos.catalog.catalog import protohalo_catalog
    from yt_protohalos.fields.evolution import EvolvedField
    from yt_protohalos.fields.particle_mesh import PLANS
    from yt_protohalos.prediction.evolved_channels import evolve_with_channels
    from yt_protohalos.prediction.result import Prediction, provenance
    from yt_protohalos.segmentation.overlap import OverlapGraph
    from yt_protohalos.training.run_files import read_haloes, read_run

    field, true_labels, _ = read_run(run)
    haloes = read_haloes(run, true_labels)
    evolved = evolve_with_channels(field, PLANS[predictor.card.evolution])
    outputs = predictor.site_outputs(field, progress=False, evolved=evolved)
    labels = predictor.labels(outputs)
    prediction = Prediction(
        probability=outputs.probability,
        mask=labels > 0,
        labels=labels,
        lattice=field.lattice,
        overlap=OverlapGraph.empty(),
        **provenance(field, predictor.card, {}),
    )
    sources = {"evolved field": evolved.displacement, "position network": outputs.displacement}
    return {
        name: catalog_errors(
            protohalo_catalog(prediction, field, EvolvedField(displacement, velocity=evolved.velocity)),
            haloes,
            field.site_mass_msun_h,
        )
        for name, displacement in sources.items()
    }


def main() -> None:
    import yt_protohalos as ph
    from yt_protohalos.analysis.catalog_scores import CatalogErrors
    from yt_protohalos.analysis.catalog_tables import errors_by_mass, format_catalog

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--model", default="planck-v5", help="a model with a position network (default %(default)s)")
    args = parser.parse_args()
    predictor = ph.PositionPredictor.from_pretrained(args.model)
    found = [errors_by_source(predictor, run) for run in args.runs]
    for name in found[0]:
        print(f"positions by the {name}")
        print(format_catalog(errors_by_mass(CatalogErrors.pooled([one[name] for one in found]))))


if __name__ == "__main__":
    main()
