"""Make the data that the gallery is drawn from: `python docs/make_gallery_data.py --reference DIR --work DIR`.

It simulates the baseline pair, predicts the TreePM reference run and the experiments, and writes one small HDF5 file.
What the networks and the simulation give is kept in the work folder, so that a second start is quick. On two cores it
takes some ten minutes.

For another model, or new weights, the prediction of the reference run is enough, half a minute of processor time:
`--parts treepm --model NAME --reference DIR --work DIR`. Other parts of the file stay as they are.

Bias and mass function of larger boxes are added to the file that is there, from predictions that were stored before:
`--boxes DIR/prediction.h5 --ics ICS`, or --seeds in place of --ics, or --runs for simulations: see `add_boxes`. No
network runs for them, and an older entry of the same kind and box size is replaced.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

import yt_protohalos as ph
from yt_protohalos._utils.files import atomic_path
from yt_protohalos.analysis.bias import lagrangian_bias
from yt_protohalos.analysis.block_counts import N_PROBABILITIES
from yt_protohalos.analysis.mass_function import HaloCounts
from yt_protohalos.models.registry import DEFAULT_MODEL
from yt_protohalos.prediction.result import Prediction
from yt_protohalos.training.run_files import read_run
from yt_protohalos.training.simulation import SimulationSettings, simulate

TARGET = Path(__file__).parents[1] / "examples" / "gallery" / "data" / "gallery.h5"
PAIR = SimulationSettings(n=96, box_size=18.75, mesh=256)
PAIR_SEED, FINE_SEEDS = 920, (1, 2)
LATTICE_MODEL, LINEAR_MODEL = "planck-v4", "planck-v2"
"""Of the labels before stitching, which the default model has not, and of the experiments."""
PARTS = ("pair", "treepm", "lattices", "experiments")
EXPERIMENT_SITES, EXPERIMENT_SEED = 64, 1
EXPERIMENTS = {
    "reference": lambda field: field,
    "overdensity -0.5": lambda field: ph.add_overdensity(field, -0.5),
    "overdensity 0.5": lambda field: ph.add_overdensity(field, 0.5),
    "tide -0.5": lambda field: ph.add_tide(field, -0.5),
    "tide 0.5": lambda field: ph.add_tide(field, 0.5),
}
PLANE = 60
"""Plane z whose overdensity and single lattices are kept."""
BIAS_EDGES = tuple(np.arange(11.0, 15.01, 0.5).tolist())


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the file anew, or add boxes to it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="folder of the TreePM run: treepm96.h5 and treepm96_ics.hdf5")
    parser.add_argument("--work", type=Path, help="folder for runs and predictions")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="of the reference run (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to make (default: all)")
    parser.add_argument("--boxes", type=Path, nargs="+", default=[], help="predictions of larger boxes, stored before")
    parser.add_argument("--ics", type=Path, nargs="+", default=[], help="their initial conditions, a file a box")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], help="or seeds of generate_initial_conditions")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="larger boxes of protohalos simulate")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    args = parser.parse_args(arguments)
    if args.ics and args.seeds:
        parser.error("give either --ics or --seeds, not both")
    if len(args.boxes) != len(args.ics) + len(args.seeds):
        parser.error("give one of --ics or --seeds for each of --boxes")
    if args.reference is not None:
        if args.work is None:
            parser.error("--reference needs --work")
        args.output.parent.mkdir(parents=True, exist_ok=True)
        make = {
            "pair": lambda group: add_pair(group, args.work),
            "treepm": lambda group: add_reference(group, args.model, args.reference, args.work),
            "lattices": lambda group: add_lattices(group, args.reference, args.work),
            "experiments": lambda group: add_experiments(group, args.work),
        }
        replace_groups(args.output, {part: make[part] for part in args.parts})
    elif not args.boxes and not args.runs:
        parser.error("nothing to do: give --reference, --boxes or --runs")
    with h5py.File(args.output, "a") as file:
        add_boxes(file, args.boxes, args.ics or args.seeds, args.runs)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB")


def replace_groups(path: Path, makers: dict[str, Callable[[h5py.Group], None]]) -> None:
    """Write a file with new groups, and with all others of the file that is there; a replaced group leaves no gap."""
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        for name, make in makers.items():
            make(file.create_group(name))
        if path.is_file():
            with h5py.File(path) as old:
                for name in old.keys() - makers.keys():
                    old.copy(name, file)


def add_pair(group: h5py.Group, work: Path) -> None:
    """Halo labels of two simulations that differ below the lattice alone."""
    for name, fine_seed in zip(("first", "second"), FINE_SEEDS, strict=True):
        path = work / "runs" / f"run_{PAIR_SEED:04d}_fine_{fine_seed:04d}.h5"
        simulate(PAIR_SEED, PAIR, path, fine_seed=fine_seed)
        with h5py.File(path) as run:
            store(group, name, run["labels"][()])
    group.attrs.update(seed=PAIR_SEED, fine_seeds=FINE_SEEDS, settings=json.dumps(asdict(PAIR)))
    group.attrs.update(n=PAIR.n, box_size=PAIR.box_size, source="particle mesh, protohalos simulate")


def add_reference(group: h5py.Group, model: str, folder: Path, work: Path) -> None:
    """The TreePM run: its haloes and what a model predicts from its initial conditions."""
    field = ph.linear_field(ph.load(folder / "treepm96_ics.hdf5"))
    found = prediction(model, field, work, "treepm")[0]
    with h5py.File(folder / "treepm96.h5") as run:
        true = run["halo_id"][()] + 1
    store(group, "true", true)
    store(group, "predicted", found.labels)
    # the bins of the block counts, so that scores by threshold stay exact
    store(group, "probability", np.minimum(found.probability * N_PROBABILITIES, N_PROBABILITIES - 1), np.uint8)
    store(group, "mask", found.mask, np.uint8)
    store(group, "delta_plane", field.delta[:, :, PLANE], np.float16)
    group.attrs.update(n=field.n, box_size=field.box_size, plane=PLANE, model=model, threshold=found.card.threshold)
    group.attrs["probability_levels"] = N_PROBABILITIES
    group.attrs["source"] = "Gadget-4 (TreePM), friends-of-friends haloes of at least 155 particles"


def add_lattices(group: h5py.Group, folder: Path, work: Path) -> None:
    """A plane of the labels of both lattices of crops of the TreePM run, and of the stitched ones."""
    field = ph.linear_field(ph.load(folder / "treepm96_ics.hdf5"))
    found, crops = prediction(LATTICE_MODEL, field, work, "treepm")
    for name, which in (("first", "a"), ("second", "b")):
        plane = np.load(crops / f"labels_{which}.npy", mmap_mode="r")[:, :, PLANE]
        store(group, name, np.unique(plane, return_inverse=True)[1].reshape(plane.shape))
    store(group, "stitched", found.labels[:, :, PLANE])
    group.attrs.update(n=field.n, box_size=field.box_size, plane=PLANE, model=LATTICE_MODEL)


def add_experiments(group: h5py.Group, work: Path) -> None:
    """The response of a small box to a large-scale density and tide, with a model that sees the linear field alone."""
    field = ph.generate_initial_conditions(EXPERIMENT_SITES, EXPERIMENT_SITES * 50 / 256, EXPERIMENT_SEED)
    for name, change in EXPERIMENTS.items():
        found = prediction(LINEAR_MODEL, change(field), work, f"experiment_{name.replace(' ', '_')}")[0]
        store(group, name, found.labels)
    group.attrs.update(n=field.n, box_size=field.box_size, seed=EXPERIMENT_SEED, model=LINEAR_MODEL)


def add_boxes(file: h5py.File, boxes: list[Path], origins: Sequence[Path | int], runs: list[Path]) -> None:
    """Bias and mass function of stored predictions, whose initial conditions are a file or a seed, and of runs."""
    for path, origin in zip(boxes, origins, strict=True):
        found = Prediction.load(path)
        field = initial_field(found, origin)
        about = {"box_size": field.box_size, "kind": "predicted", "model": found.card.name}
        about["seed" if isinstance(origin, int) else "initial_conditions"] = getattr(origin, "name", origin)
        add_box(file, found.labels, field.at_redshift(found.target_redshift), about)
    for path in runs:
        field, labels, attributes = read_run(path)
        about = {"box_size": field.box_size, "kind": "simulated", "seed": int(attributes["seed"])}
        add_box(file, labels, field, about)


def initial_field(found: Prediction, origin: Path | int) -> ph.LinearField:
    """The field that a prediction was made from, of a file or a seed; an error if it is another."""
    if isinstance(origin, int):
        side = found.lattice.n, found.lattice.box_size
        field = ph.generate_initial_conditions(*side, origin, found.cosmology, found.redshift)
    else:
        field = ph.linear_field(ph.load(origin))
    found.check_field(field)
    return field


def add_box(file: h5py.File, labels: np.ndarray, field: ph.LinearField, about: dict) -> None:
    """Bias and counts of the haloes of one box."""
    counts = HaloCounts.of_labels(labels, field.site_mass_msun_h, field.box_size**3)
    store_numbers(file.require_group("bias"), lagrangian_bias(labels, field, BIAS_EDGES), about)
    store_numbers(file.require_group("abundance"), counts, about)


def prediction(model: str, field: ph.LinearField, work: Path, name: str) -> tuple[Prediction, Path]:
    """A prediction, and the folder where its crops stay, and with them the labels of the single lattices."""
    predictor = ph.ProtohaloPredictor.from_pretrained(model)
    # other weights are another folder
    folder = work / f"{name}_{model}_{predictor.card.sha256[:8]}"
    return predictor.predict(field, store=folder), folder


def store(group: h5py.Group, name: str, cube: np.ndarray, kind: type = np.uint16) -> None:
    """A compressed cube; labels fit 16 bits."""
    if np.issubdtype(kind, np.integer) and not 0 <= cube.min() <= cube.max() <= np.iinfo(kind).max:
        raise ValueError(f"{name} runs from {cube.min()} to {cube.max()}, which {kind.__name__} does not hold")
    group.create_dataset(name, data=cube.astype(kind), compression="gzip", compression_opts=9, shuffle=True)


def store_numbers(group: h5py.Group, numbers: object, attributes: dict) -> None:
    """The fields of a `LagrangianBias` or `HaloCounts`; an older entry of the same kind and box size is replaced."""
    name = f"{attributes['kind']} {attributes['box_size']:g}"
    if name in group:
        del group[name]
    entry = group.create_group(name)
    for key, value in vars(numbers).items():
        entry[key] = value
    entry.attrs.update(attributes)


if __name__ == "__main__":
    main()
