"""Every public function that takes a length, a mass or a redshift takes it with a unit too."""

from __future__ import annotations

import inspect
import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from public_names import LISTED, own_methods, sections
from unyt import unyt_array, unyt_quantity
from yt_fakes import FakePredictor, grid_dataset

import yt_protohalos as ph
from yt_protohalos.analysis.bias import tracer_bias
from yt_protohalos.analysis.matching import compare_labels
from yt_protohalos.analysis.validation import _pair_counts
from yt_protohalos.cli.common import load_ics
from yt_protohalos.exceptions import UnitsError
from yt_protohalos.initial_conditions.generate import decimated_particles
from yt_protohalos.models.fof_card import FriendsOfFriendsCard
from yt_protohalos.models.resolution import model_side
from yt_protohalos.training.halo_labels import halo_redshift
from yt_protohalos.yt_interface.options import PredictionOptions

H = ph.PAPER_COSMOLOGY.h
UNIT = re.compile(r"\b(?:[kM]pc|Msun)\b")
NAME = re.compile(
    r"redshifts?|target_redshift|box_size|smoothing|padding|(?:pair_)?spacing|center|site_mass\w*|positions?|separation"
)
# cubes and columns of numbers, and log10 of masses, have no unit to convert
ARRAY = re.compile(r"float(?:32|64),|log10|\{")
NUMBER = re.compile(r"float|quantity|(?:tuple|iterable|sequence) of float|array|$")
DIMENSIONLESS = {"h", "sigma_8"}
MADE_BY_THE_PACKAGE = {
    "Catalog", "Comparison", "DeformedField", "Ellipsoid", "EvolvedField", "FriendsOfFriendsCard", "Hull",
    "LagrangianBias", "LinearField", "ModelCard", "NetworkCard", "Prediction", "ProgenitorLinks", "ProgenitorTree",
    "RegionPrediction", "Validation", "ZoomRegion",
}  # fmt: skip


def explained(function: Any) -> dict[str, str]:
    """Type and text that the docstring of a function or class gives each parameter."""
    found: dict[str, str] = {}
    names: list[str] = []
    for title in ("Parameters", "Attributes"):
        for line in sections(function.__doc__ or "").get(title, "").splitlines():
            if line and not line[0].isspace():
                head, _, kind = line.partition(" : ")
                names = [name.strip().lstrip("*") for name in head.split(",")]
                found |= dict.fromkeys(names, kind)
            else:
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def callables() -> Iterator[tuple[str, Any]]:
    for value in LISTED.values():
        if inspect.isfunction(value):
            yield value.__name__, value
        elif inspect.isclass(value) and not issubclass(value, Exception):
            if value.__name__ not in MADE_BY_THE_PACKAGE:
                yield value.__name__, value
            for name, method in own_methods(value):
                method = getattr(method, "__func__", method)
                if inspect.isfunction(method):
                    yield f"{value.__name__}.{name}", method


def dimensional() -> set[str]:
    """Names "function.parameter" of all parameters with a dimension, and of redshifts."""
    found = set()
    for name, function in callables():
        text = explained(function)
        for parameter in inspect.signature(function).parameters:
            described = text.get(parameter, "")
            if parameter in DIMENSIONLESS or ARRAY.search(described):
                continue
            if NAME.fullmatch(parameter) or (NUMBER.match(described) and UNIT.search(described)):
                found.add(f"{name}.{parameter}")
    return found


class Inputs:
    """A small box in every form that a function may take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.field = ph.generate_initial_conditions(24, 6.0, seed=3)
        self.prediction = FakePredictor().predict(self.field, progress=False)
        self.music = folder / "box.hdf5"
        delta = ph.generate_initial_conditions(16, 6.0, seed=3).delta / 40
        with h5py.File(self.music, "w") as file:
            file["level_004_DM_rho"] = delta

    def dataset(self) -> Any:
        return grid_dataset(self.field)

    def loaded(self, **facts: Any) -> tuple[float, float]:
        facts = {"box_size": 6.0, "redshift": 49.0, "cosmology": ph.PAPER_COSMOLOGY, **facts}
        field = ph.linear_field(ph.load(str(self.music), **facts))
        return field.box_size, field.redshift

    def described(self, **facts: Any) -> tuple[float, float]:
        import yt

        facts = {"box_size": 6.0, "redshift": 49.0, "cosmology": ph.PAPER_COSMOLOGY, **facts}
        ds = yt.load_uniform_grid({"delta": (self.field.delta / 40, "")}, self.field.lattice.shape)
        field = ph.linear_field(ds, **facts)
        return field.box_size, field.redshift

    def same_spacing(self, spacing: Any) -> bool:
        labels = self.prediction.labels
        return bool(_pair_counts(labels, labels, spacing, 1.5, ph.PAPER_COSMOLOGY, 1))

    def bias(self, function: Callable[..., Any], *haloes: Any) -> Callable[[Any], float]:
        return lambda width: function(*haloes, self.field, edges=(8, 16), smoothing=width, blocks=2).variance


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("units"))


LENGTH = (1.5, unyt_quantity(1500 / H, "kpc"), unyt_quantity(3, "Msun"))
BOX = (6.0, unyt_quantity(6000 / H, "kpc"), unyt_quantity(3, "s"))
# functions without a cosmology take what is over h
LENGTH_OVER_H = (1.5, "1500 kpc/h", unyt_quantity(3, "Msun"))
BOX_OVER_H = (6.0, (6000, "kpccm/h"), unyt_quantity(3, "Msun"))
POINT_OVER_H = ((1.0, 2.0, 3.0), ([1000, 2000, 3000], "kpc/h"), unyt_array([1, 2, 3], "s"))
REDSHIFT = (0.5, unyt_quantity(0.5, ""), unyt_quantity(0.5, "Mpc"))
START = (49.0, unyt_quantity(49, ""), unyt_quantity(49, "Mpc"))


def option(x: Inputs) -> Callable[[Any], Any]:
    """All functions with the options of a prediction hand them to one class."""
    return lambda z: PredictionOptions(redshift=z).redshift


# "function.parameter": plain number, the same with a unit, a wrong unit; then the call
CASES: dict[str, tuple[tuple[Any, Any, Any], Callable[[Inputs], Callable[[Any], Any]]]] = {
    "load.box_size": (BOX, lambda x: lambda size: x.loaded(box_size=size)),
    "load.redshift": (START, lambda x: lambda z: x.loaded(redshift=z)),
    "linear_field.box_size": (BOX, lambda x: lambda size: x.described(box_size=size)),
    "linear_field.redshift": (START, lambda x: lambda z: x.described(redshift=z)),
    **{
        f"{name}.redshift": (REDSHIFT, option)
        for name in (
            "add_protohalo_fields", "predict", "lattice_dataset", "find_protohalos", "ProtohaloFinder",
            "progenitor_tree",
        )
    },
    **{
        f"{name}.resolution": (LENGTH_OVER_H, lambda x: lambda length: PredictionOptions(resolution=length).resolution)
        for name in (
            "add_protohalo_fields", "predict", "lattice_dataset", "find_protohalos", "ProtohaloFinder",
            "progenitor_tree",
        )
    },
    # all predictors hand it to one function
    **{
        f"{name}.predict.resolution": (
            LENGTH, lambda x: lambda length: model_side(FriendsOfFriendsCard(), x.field, resolution=length),
        )
        for name in ("FriendsOfFriendsPredictor", "ProtohaloPredictor")
    },
    "zoom_region.padding": (
        ("0.5 Mpc/h", (500, "kpc/h"), unyt_quantity(3, "Msun")),
        lambda x: lambda length: ph.zoom_region(x.prediction, 0, length).padding,
    ),
    "generate_initial_conditions.box_size": (
        BOX, lambda x: lambda size: ph.generate_initial_conditions(8, size, seed=1).box_size,
    ),
    "generate_initial_conditions.redshift": (
        START, lambda x: lambda z: ph.generate_initial_conditions(8, 6.0, seed=1, redshift=z).redshift,
    ),
    "decimated_particles.box_size": (BOX, lambda x: lambda size: decimated_particles(4, size, 1, 2)),
    "decimated_particles.redshift": (START, lambda x: lambda z: decimated_particles(4, 6.0, 1, 2, redshift=z)),
    "LinearField.from_density.box_size": (
        BOX, lambda x: lambda size: ph.LinearField.from_density(x.field.delta, size, x.field.cosmology, 49).box_size,
    ),
    "LinearField.from_density.redshift": (
        START, lambda x: lambda z: ph.LinearField.from_density(x.field.delta, 6.0, x.field.cosmology, z).redshift,
    ),
    "LinearField.at_redshift.redshift": (REDSHIFT, lambda x: lambda z: x.field.at_redshift(z).delta),
    "Lattice.box_size": (BOX_OVER_H, lambda x: lambda size: ph.Lattice(8, size).box_size),
    "Lattice.minimum_image.separation": (LENGTH_OVER_H, lambda x: x.field.lattice.minimum_image),
    "Lattice.nearest_site.positions": (POINT_OVER_H, lambda x: x.field.lattice.nearest_site),
    "Region.center": (POINT_OVER_H, lambda x: lambda center: ph.Region(center, 1.0).center),
    "Region.side": (LENGTH_OVER_H, lambda x: lambda side: ph.Region((1, 2, 3), side).side),
    "Cosmology.site_mass_msun_h.spacing": (LENGTH, lambda x: x.field.cosmology.site_mass_msun_h),
    **{
        f"Cosmology.{name}.redshift": (REDSHIFT, lambda x, name=name: getattr(x.field.cosmology, name))
        for name in ("growth_factor", "matter_fraction", "growth_rate", "second_growth_rate", "hubble")
    },
    "compare_labels.site_mass_msun": (
        (1e9, unyt_quantity(1e9, "Msun").to("g"), unyt_quantity(3, "Mpc")),
        lambda x: lambda mass: compare_labels(x.prediction.labels, x.prediction.labels, mass).site_mass_msun,
    ),
    "lagrangian_bias.smoothing": (LENGTH, lambda x: x.bias(ph.lagrangian_bias, x.prediction)),
    "tracer_bias.smoothing": (LENGTH, lambda x: x.bias(tracer_bias, np.ones((4, 3)), np.full(4, 12.0))),
    # a pair of another spacing than the runs raises ScoringError
    "validate.pair_spacing": (LENGTH, lambda x: x.same_spacing),
    "label_run.redshift": (REDSHIFT, lambda x: lambda z: halo_redshift(z, None, "the file")),
    "progenitor_tree.redshifts": (
        (0.5, unyt_quantity(0.5, ""), unyt_quantity(3, "Mpc")), option,
    ),
}  # fmt: skip


def test_every_parameter_with_a_dimension_has_a_case():
    named = dimensional()
    assert len(named) > 20
    assert named <= set(CASES), f"without a case: {sorted(named - set(CASES))}"


@pytest.mark.parametrize("name", CASES)
def test_a_unit_is_converted_and_a_wrong_one_is_refused(name, inputs):
    (plain, other, wrong), make = CASES[name]
    call = make(inputs)
    for expected, found in zip(np.atleast_1d(call(plain)), np.atleast_1d(call(other)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-6)
    parameter = name.rpartition(".")[2]
    with pytest.raises(UnitsError, match=f"^{parameter.removesuffix('s')}"):
        call(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda ds, z, folder: ph.add_protohalo_fields(ds, redshift=z),
        lambda ds, z, folder: ph.predict(ds, redshift=z),
        lambda ds, z, folder: ph.lattice_dataset(ds, redshift=z),
        lambda ds, z, folder: ph.find_protohalos(ds, folder, redshift=z),
        lambda ds, z, folder: ph.ProtohaloFinder(ds, output_dir=folder, redshift=z),
        lambda ds, z, folder: ph.progenitor_tree(ds, (0.5, z), folder),
    ],
)
def test_options_of_a_prediction_refuse_a_redshift_with_a_unit(call, inputs, tmp_path):
    with pytest.raises(UnitsError, match=r"^redshift"):
        call(inputs.dataset(), unyt_quantity(1, "Mpc"), str(tmp_path))


@pytest.mark.parametrize("text", ["6", "6000kpc/h", f"{6 / H} Mpccm"])
def test_the_command_line_takes_a_box_with_its_unit(text, inputs, tmp_path):
    (tmp_path / "box.hdf5").symlink_to(inputs.music)
    cosmology = ph.PAPER_COSMOLOGY
    values = {"H0": 100 * H, "Omega_m": cosmology.omega_m, "Omega_L": cosmology.omega_lambda}
    lines = [f"{name} = {value}" for name, value in values.items()]
    (tmp_path / "box.conf").write_text("\n".join(["[setup]", "zstart = 49", "[cosmology]", *lines]))
    given = Namespace(ics=str(tmp_path / "box.hdf5"), box_size=text, redshift=None)
    assert ph.linear_field(load_ics(given)).box_size == pytest.approx(6)
    given.box_size = "6 Msun"
    with pytest.raises(UnitsError, match=r"^box_size = 6\.0 Msun is not a length"):
        load_ics(given)


def test_quantities_of_yt_keep_the_meaning_that_they_have_there(inputs):
    """A proper length of a dataset at z = 49 is fifty times as long in comoving units."""
    ds = inputs.dataset()
    padding = ph.zoom_region(inputs.prediction, 0, "0.5 Mpc/h").padding
    for length in (ds.quan(500, "kpccm/h"), ds.quan(0.5 / H, "Mpccm"), ds.quan(10 / H, "kpc"), ds.domain_width[0] / 12):
        assert ph.zoom_region(inputs.prediction, 0, length).padding == pytest.approx(padding)
    assert inputs.loaded(box_size=ds.domain_width[0]) == pytest.approx((6.0, 49.0))
    assert inputs.loaded(box_size=ds.quan(120 / H, "kpc")) == pytest.approx((6.0, 49.0))
