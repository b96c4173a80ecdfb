"""Laws of the yt fields: one prediction a dataset, the right site for every particle and cell, units, round trips."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yt
from standins import make_predictor
from yt.utilities.exceptions import YTFieldNotFound
from yt_fakes import BOX, REDSHIFT, FakePredictor, N, grid_dataset, write_fake_model

import yt_protohalos as ph
from yt_protohalos.exceptions import (
    CosmologyError,
    InitialConditionsError,
    MissingPredictionError,
    ModelError,
    OutOfRangeError,
    ProtohaloError,
    SpacingWarning,
    UnknownModelError,
)
from yt_protohalos.yt_interface import predict as predict_module
from yt_protohalos.yt_interface.fields import CELL_FIELDS, PROTOHALO_FIELDS
from yt_protohalos.yt_interface.options import OptionKeywords, PredictionOptions

yt.set_log_level("error")


@pytest.fixture(scope="module")
def ics(tmp_path_factory):
    """Field and particle file of the same realisation."""
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    field = ph.generate_initial_conditions(N, BOX, seed=11, redshift=REDSHIFT, filename=path)
    return field, path


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("YT_PROTOHALOS_CACHE", str(tmp_path / "cache"))
    # a plain yt.load returns the dataset of an earlier test while anything still holds it
    monkeypatch.setattr("yt.data_objects.static_output._cached_datasets", {}, raising=True)


@pytest.fixture
def particles(ics):
    """Particle dataset with registered fields, and its predictor."""
    ds, predictor = ph.load(ics[1]), FakePredictor()
    ph.add_protohalo_fields(ds, predictor=predictor)
    return ds, predictor


@pytest.fixture(params=[1, 8], ids=["one grid", "eight grids"])
def grid(ics, request):
    """Grid dataset with registered fields, and its predictor."""
    ds, predictor = grid_dataset(ics[0], nprocs=request.param), FakePredictor()
    ph.add_protohalo_fields(ds, predictor=predictor)
    return ds, predictor


def test_registration_runs_no_network_and_lists_every_field(particles, grid):
    ds, predictor = particles
    expected = {(t, f"particle_{name}") for t in ("PartType1", "all", "nbody") for name in PROTOHALO_FIELDS}
    assert expected <= set(ds.derived_field_list)
    assert {("gas", name) for name in CELL_FIELDS} <= set(grid[0].derived_field_list)
    assert predictor.runs == grid[1].runs == 0


def test_cell_fields_of_particles_point_to_the_lattice_dataset(particles):
    ds = particles[0]
    for name in (("gas", "protohalo_probability"), ("gas", "linear_overdensity"), "protohalo_mass"):
        with pytest.raises(YTFieldNotFound, match=r"no cells.*yt_protohalos\.lattice_dataset\(ds\)"):
            ds.all_data()[name]
    with pytest.raises(YTFieldNotFound, match="lattice_dataset"):
        yt.SlicePlot(ds, "z", ("gas", "protohalo_probability"))
    with pytest.raises(YTFieldNotFound, match=r"^(?!.*lattice_dataset)"):
        ds.all_data()["gas", "nonsense"]
    assert ds.all_data()["all", "particle_protohalo_id"].size == N**3


def test_particles_carry_the_values_of_their_sites(particles):
    ds, predictor = particles
    ad = ds.all_data()
    prediction = ph.predict(ds)
    # generated ICs count their IDs row-major from 1
    sites = ad["all", "particle_index"].v.astype(int) - 1
    labels = prediction.labels.ravel()[sites]
    assert prediction.n_protohalos > 5
    assert np.array_equal(ad["all", "particle_protohalo_id"].v, labels - 1)
    assert np.array_equal(ad["all", "particle_protohalo_probability"].v, prediction.probability.ravel()[sites])
    mass = ad["all", "particle_protohalo_mass"]
    assert str(mass.units) == "Msun"
    np.testing.assert_allclose(mass.v, prediction.label_mass[labels], rtol=1e-12)
    assert np.array_equal(ad["PartType1", "particle_protohalo_mass"], mass)
    assert predictor.runs == 1


def test_protohalo_mass_is_the_mass_of_its_particles(particles):
    ad = particles[0].all_data()
    inside = ad["all", "particle_protohalo_id"].v == 0
    total = ad["all", "particle_mass"][inside].sum().to_value("Msun")
    np.testing.assert_allclose(ad["all", "particle_protohalo_mass"][inside].to_value("Msun"), total, rtol=1e-3)


def test_particle_inference_runs_once_for_every_kind_of_data_object(particles):
    ds, predictor = particles
    center, side = ds.domain_center, ds.domain_width[0]
    name = ("all", "particle_protohalo_mass")

    @yt.particle_filter(requires=["particle_protohalo_id"], filtered_type="all")
    def collapsing(pfilter, data):
        return data[pfilter.filtered_type, "particle_protohalo_id"] >= 0

    ds.add_particle_filter("collapsing")
    whole = ds.all_data()
    objects = [whole, ds.all_data(), ds.sphere(center, 0.3 * side), ds.box(center - 0.2 * side, center + 0.2 * side)]
    assert all(data[name].size > 0 for data in objects)
    assert sum(chunk[name].size for chunk in whole.chunks([], "io")) == N**3
    assert whole["collapsing", "particle_protohalo_mass"].min() > 0
    assert whole["collapsing", "particle_mass"].size == np.count_nonzero(whole["all", "particle_protohalo_id"].v >= 0)
    profile = yt.create_profile(
        whole, name, ("all", "particle_ones"), weight_field=None, logs={name: False}, extrema={name: (1e9, 1e16)}
    )
    assert profile["all", "particle_ones"].sum() == whole["collapsing", "particle_ones"].sum()
    assert whole.quantities.extrema(name)[1] == whole[name].max()
    assert predictor.runs == 1


def test_grid_inference_runs_once_for_every_kind_of_data_object(grid):
    ds, predictor = grid
    name = ("gas", "protohalo_mass")
    center, side = ds.domain_center, ds.domain_width[0]
    whole = ds.all_data()
    objects = [
        whole,
        ds.sphere(center, 0.3 * side),
        ds.slice("z", center[2]),
        ds.proj(name, "x"),
        ds.ray(center, center * 1.7),
        ds.cut_region(whole, ['obj["gas", "protohalo_mass"] > 0']),
        ds.r[::8j, ::8j, ::8j],
        ds.covering_grid(0, ds.domain_left_edge, ds.domain_dimensions),
    ]
    assert all(data[name].size > 0 for data in objects)
    assert sum(chunk[name].size for chunk in whole.chunks([], "io")) == N**3
    yt.create_profile(whole, ("gas", "linear_overdensity"), name, weight_field=("index", "ones"), n_bins=8)
    assert predictor.runs == 1


def test_cells_carry_the_values_of_their_sites(grid, ics):
    ds, _ = grid
    prediction = ph.predict(ds)
    cube = ds.covering_grid(0, ds.domain_left_edge, ds.domain_dimensions)
    assert np.array_equal(cube["gas", "protohalo_id"].v, prediction.labels - 1)
    assert np.array_equal(cube["gas", "protohalo_probability"].v, prediction.probability)
    np.testing.assert_allclose(cube["gas", "protohalo_mass"].to_value("Msun"), prediction.mass, rtol=1e-6)
    field = ph.linear_field(ds)
    assert np.array_equal(cube["gas", "linear_overdensity"].v, field.delta)
    np.testing.assert_allclose(
        cube["gas", "linear_potential"].to_value("(Mpccm/h)**2"), field.phi, rtol=1e-5, atol=1e-9
    )
    assert cube["gas", "linear_potential"].std().to_value("(Mpccm/h)**2") == pytest.approx(field.phi.std(), rel=1e-4)
    np.testing.assert_allclose(field.delta, ics[0].delta, atol=1e-4)


def test_cut_region_keeps_exactly_the_protohalo_cells(grid):
    ds, _ = grid
    inside = ds.cut_region(ds.all_data(), ['obj["gas", "protohalo_id"] >= 0'])
    assert inside["gas", "protohalo_mass"].size == np.count_nonzero(ph.predict(ds).labels)


def test_cells_of_a_subregion_do_not_depend_on_the_grid_layout(ics):
    values = []
    for nprocs in (1, 8):
        ds = grid_dataset(ics[0], nprocs)
        ph.add_protohalo_fields(ds, predictor=FakePredictor())
        region = ds.box(ds.domain_center * 0.4, ds.domain_center * 1.3)
        order = np.lexsort([region["index", axis].v for axis in "xyz"])
        values.append(region["gas", "protohalo_id"].v[order])
    assert values[0].size > 0
    assert np.array_equal(*values)


def test_a_particle_filter_made_before_registration_gets_the_fields_too(ics):
    ds = ph.load(ics[1])

    @yt.particle_filter(requires=["particle_index"], filtered_type="all")
    def even(pfilter, data):
        return data[pfilter.filtered_type, "particle_index"] % 2 == 0

    ds.add_particle_filter("even")
    ph.add_protohalo_fields(ds, predictor=FakePredictor())
    ad = ds.all_data()
    chosen = ad["all", "particle_index"].v % 2 == 0
    assert np.array_equal(ad["even", "particle_protohalo_id"], ad["all", "particle_protohalo_id"][chosen])


def test_registering_again_replaces_the_function(particles):
    ds, first = particles
    before = ds.all_data()["all", "particle_protohalo_id"].copy()
    ph.add_protohalo_fields(ds, predictor=first, threshold=0.7)
    after = ds.all_data()["all", "particle_protohalo_id"]
    assert np.count_nonzero(after >= 0) < np.count_nonzero(before >= 0)
    assert first.runs == 2
    ph.add_protohalo_fields(ds, predictor=first)
    assert np.array_equal(ds.all_data()["all", "particle_protohalo_id"], before)
    assert first.runs == 2


def test_predict_returns_the_same_object_and_serves_the_fields(particles):
    ds, predictor = particles
    prediction = ph.predict(ds, progress=False)
    assert ph.predict(ds) is prediction
    ds.all_data()["all", "particle_protohalo_id"]
    assert predictor.runs == 1


def test_a_new_dataset_of_the_same_file_reads_the_cache(ics, tmp_path):
    first, second = FakePredictor(), FakePredictor()
    labels = ph.predict(ph.load(ics[1]), predictor=first, progress=False).labels
    again = ph.predict(ph.load(ics[1]), predictor=second, progress=False).labels
    assert (first.runs, second.runs) == (1, 0)
    assert np.array_equal(labels, again)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".h5"]


@pytest.mark.parametrize(
    ("changes", "min_sites"), [({"threshold": 0.61}, None), ({}, 9), ({"cache": False}, None)],
    ids=["threshold", "model", "no cache"],
)  # fmt: skip
def test_the_cache_tells_settings_and_models_apart(ics, changes, min_sites):
    ph.predict(ph.load(ics[1]), predictor=FakePredictor(), progress=False)
    other = FakePredictor() if min_sites is None else FakePredictor(min_sites=min_sites)
    ph.predict(ph.load(ics[1]), predictor=other, progress=False, **changes)
    assert other.runs == 1


def test_a_damaged_cache_is_computed_again(ics, tmp_path):
    labels = ph.predict(ph.load(ics[1]), predictor=FakePredictor(), progress=False).labels
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(b"not HDF5")
    predictor = FakePredictor()
    assert np.array_equal(ph.predict(ph.load(ics[1]), predictor=predictor, progress=False).labels, labels)
    assert predictor.runs == 1


@pytest.mark.slow
def test_an_interrupted_prediction_resumes_with_the_crops_it_has(ics, tmp_path):
    first, second, whole = (make_predictor() for _ in range(3))
    evaluate = first.semantic

    def interrupted(batch):
        if first.standins.calls["semantic"] == 3:
            raise KeyboardInterrupt
        return evaluate(batch)

    first.semantic = interrupted
    with pytest.raises(KeyboardInterrupt):
        ph.predict(ph.load(ics[1]), predictor=first, progress=False)
    resumed = ph.predict(ph.load(ics[1]), predictor=second, progress=False)
    expected = ph.predict(ph.load(ics[1]), predictor=whole, cache=False, progress=False)
    assert second.standins.calls["semantic"] == whole.standins.calls["semantic"] - 3
    assert np.array_equal(resumed.labels, expected.labels)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".h5"]


def test_an_unwritable_cache_costs_nothing_but_itself(ics, tmp_path):
    (tmp_path / "occupied").write_text("a file, not a folder")
    predictor = FakePredictor()
    ph.predict(ph.load(ics[1]), predictor=predictor, cache=tmp_path / "occupied", progress=False)
    assert predictor.runs == 1
    assert (tmp_path / "occupied").read_text() == "a file, not a folder"


@pytest.mark.slow
def test_a_second_process_reads_the_cache(ics, tmp_path):
    model = write_fake_model(tmp_path / "model")
    code = """
import sys, yt
import yt_protohalos as ph
from standins import make_predictor
from yt.utilities.exceptions import YTFieldNotFound
from yt_fakes import FakePredictor
from yt_protohalos.prediction.predictor import ProtohaloPredictor
yt.set_log_level("error")
made = []
def stand_in(name, precision):
    made.append(FakePredictor())
    made[-1].card = ph.models.registry.load_card(name)[0]
    return made[-1]
ProtohaloPredictor.from_pretrained = stand_in
ds = ph.load(sys.argv[1])
ph.add_protohalo_fields(ds, model=sys.argv[2])
print(ds.all_data()["all", "particle_protohalo_mass"].sum().v, len(made))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", code, str(ics[1]), str(model)]
    results = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        results.append(done.stdout.split())
    assert results[0][0] == results[1][0]
    assert [result[1] for result in results] == ["1", "0"]


TAKE_OPTIONS = ["predict", "add_protohalo_fields", "lattice_dataset", "find_protohalos", "ProtohaloFinder"]
OPTION_NAMES = [each.name for each in fields(PredictionOptions)]


@pytest.mark.parametrize("name", TAKE_OPTIONS)
def test_every_function_of_options_shows_each_of_them_once(name):
    function = getattr(ph, name)
    signature, text = inspect.signature(function), inspect.getdoc(function)
    defaults = {option: signature.parameters[option].default for option in OPTION_NAMES}
    assert PredictionOptions(**defaults) == PredictionOptions()
    assert not any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    section = text.split("Parameters\n---")[1].split("\n\n")[0]
    entries = [each for line in section.splitlines() if " : " in line for each in line.split(" : ")[0].split(", ")]
    assert sorted({*entries} & {*OPTION_NAMES}) == sorted(OPTION_NAMES)
    assert len(entries) == len({*entries})
    assert "**options" not in text


@pytest.mark.parametrize("name", TAKE_OPTIONS)
def test_an_unknown_option_is_named_with_those_that_exist(ics, name, tmp_path):
    with pytest.raises(TypeError, match=f"treshold.*{', '.join(OPTION_NAMES)}"):
        getattr(ph, name)(ph.load(ics[1]), treshold=0.5)


def test_options_are_declared_alike_for_reader_and_type_checker():
    declared = {each.name: each.type for each in fields(PredictionOptions)[1:]}
    assert {name: each.__forward_arg__ for name, each in OptionKeywords.__annotations__.items()} == declared


def test_options_that_ask_for_the_same_prediction_are_equal():
    predictor = FakePredictor()
    one = PredictionOptions(predictor=predictor, threshold=0.5)
    assert {one: 1}[PredictionOptions(None, predictor, 0.5, on_spacing="allow", on_range="warn")] == 1
    for other in ({"threshold": 0.6}, {"precision": "float32"}, {"cache": False}, {"predictor": FakePredictor()}):
        assert PredictionOptions(**{"predictor": predictor, "threshold": 0.5, **other}) != one


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("threshold", 1.0, ModelError), ("threshold", "0.5", ModelError), ("threshold", np.nan, ModelError),
        ("precision", "float8", ModelError), ("on_spacing", "shrug", ModelError), ("on_range", None, ModelError),
    ],
)  # fmt: skip
def test_options_are_checked_when_they_are_made(option, value, error):
    with pytest.raises(error, match=option):
        PredictionOptions(**{option: value})


def test_networks_are_loaded_without_the_start_up_lines_of_their_library(tmp_path):
    """A stand-in for keras says what a library says in C; only a user who asks for all messages sees it."""
    stand_in = "import os; os.write(2, b'I0000 custom operations are on')"
    stand_in += "\nclass backend:\n    backend = lambda: 'none'\n"
    (tmp_path / "keras.py").write_text(stand_in)
    code = "import os; from yt_protohalos.models.backend import import_keras as f; f(); os.write(2, b'later')"
    for level, said in ((None, "later"), ("3", "later"), ("0", "I0000 custom operations are onlater")):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        if level is not None:
            environment["TF_CPP_MIN_LOG_LEVEL"] = level
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, said)


def test_bad_input_is_refused_at_registration(ics, tmp_path):
    ds = ph.load(ics[1])
    with pytest.raises(UnknownModelError, match="nonesuch"):
        ph.add_protohalo_fields(ds, model="nonesuch")
    with pytest.raises(ModelError, match="both"):
        ph.add_protohalo_fields(ds, model="nonesuch", predictor=FakePredictor())
    with pytest.raises(ModelError, match="threshold"):
        ph.add_protohalo_fields(ds, predictor=FakePredictor(), threshold=2.0)
    with pytest.raises(ModelError, match="precision"):
        ph.add_protohalo_fields(ds, model=write_fake_model(tmp_path / "model"), precision="float8")
    with pytest.raises(OutOfRangeError, match="spacing"):
        ph.add_protohalo_fields(ds, predictor=FakePredictor(spacing=1.0))
    with pytest.raises(OutOfRangeError, match="sigma_8"):
        ph.add_protohalo_fields(ds, predictor=FakePredictor(amplitude_range=(0.1, 0.2)))
    with pytest.warns(SpacingWarning):
        ph.add_protohalo_fields(ds, predictor=FakePredictor(spacing=0.25))


def test_initial_conditions_that_are_no_lattice_are_refused_at_registration():
    rng = np.random.default_rng(1)
    data = {f"particle_position_{axis}": rng.random(N**3) * BOX for axis in "xyz"}
    data["particle_mass"] = np.ones(N**3)
    ds = yt.load_particles(data, bbox=np.array([[0.0, BOX]] * 3))
    with pytest.raises(CosmologyError, match="redshift"):
        ph.add_protohalo_fields(ds, predictor=FakePredictor())
    with pytest.raises(ProtohaloError):
        ph.linear_field(ds, box_size=BOX, redshift=REDSHIFT, cosmology=ph.PAPER_COSMOLOGY)
    with pytest.raises(ProtohaloError):
        ph.add_protohalo_fields(ds, predictor=FakePredictor())
    assert not any("protohalo" in name for _, name in ds.derived_field_list)


def test_fields_on_disk_are_not_overridden(ics):
    grid = ph.lattice_dataset(grid_dataset(ics[0]), predictor=FakePredictor(), progress=False)
    with pytest.raises(InitialConditionsError):
        ph.add_protohalo_fields(grid, predictor=FakePredictor())
    assert ("gas", "protohalo_id") in grid.field_list


def test_several_ranks_refuse_a_lazy_prediction(ics, monkeypatch):
    ds = ph.load(ics[1])
    predictor = FakePredictor()
    ph.add_protohalo_fields(ds, predictor=predictor)

    class TwoRanks:
        size = 2

    monkeypatch.setattr(predict_module.communication_system, "communicators", [TwoRanks()])
    with pytest.raises(MissingPredictionError, match="predict"):
        predict_module.box_prediction(ds).get_lazily()
    assert predictor.runs == 0


def test_progress_uses_the_bar_of_yt(particles, monkeypatch):
    seen = []

    class Bar:
        def __init__(self, title, total):
            seen.append((title, total))

        def update(self, value):
            seen.append(value)

        def finish(self):
            seen.append("finished")

    monkeypatch.setattr(predict_module, "get_pbar", Bar)
    ph.predict(particles[0], cache=False, predictor=particles[1])
    assert seen == [("Pretending", 3), 1, 2, 3, "finished"]
