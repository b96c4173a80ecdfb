"""The default method through yt and the commands: one position network, whose mask does not bound protohaloes."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
import yt
from position_standins import make_position_predictor
from small_model import write_small_bundle
from standins import SPACING

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.catalog.catalog import EVOLVED
from yt_protohalos.exceptions import CatalogError, OutOfMemoryError
from yt_protohalos.models import registry
from yt_protohalos.prediction.position_predictor import PositionPredictor

yt.set_log_level("error")
N = 32


@pytest.fixture(scope="module")
def ics(tmp_path_factory):
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    ph.generate_initial_conditions(N, N * SPACING, seed=3, filename=path)
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def bundle(tmp_path_factory):
    """Small models under the names of the bundled ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_BUNDLED", write_small_bundle(tmp_path_factory.mktemp("bundle")))
        yield


@pytest.fixture(scope="module")
def ds(ics):
    return ph.load(ics)


@pytest.fixture(scope="module")
def prediction(ds):
    return ph.predict(ds, cache=False, progress=False, precision="float32")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("YT_PROTOHALOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_what_is_done_where_nothing_is_asked_for(ds, prediction):
    assert (prediction.card.name, prediction.card.method) == (registry.DEFAULT_MODEL, "positions")
    assert prediction.n_protohalos > 5
    asked = ph.predict(ds, method="positions", cache=False, progress=False, precision="float32")
    assert asked is prediction
    assert isinstance(ph.ProtohaloPredictor.from_pretrained(), PositionPredictor)
    assert repr(ph.ProtohaloPredictor.from_pretrained(precision="float32")).startswith(
        "PositionPredictor(model 'planck"
    )


def test_fields_have_every_site_of_a_protohalo_in_the_mask_or_not(ds, prediction):
    outside = (prediction.labels > 0) & ~prediction.mask
    assert outside.any(), "a protohalo without uncertain sites would prove nothing"
    ph.add_protohalo_fields(ds, cache=False, precision="float32")
    data = ds.all_data()
    ids, probability = data["all", "particle_protohalo_id"].v, data["all", "particle_protohalo_probability"].v
    assert np.array_equal(np.bincount((ids + 1).astype(int)), prediction.sizes)
    assert np.count_nonzero((ids >= 0) & (probability <= prediction.card.threshold)) == outside.sum()


def test_the_catalogue_has_the_mean_probability_and_the_evolved_positions(ds, prediction, tmp_path):
    catalog = ph.find_protohalos(ds, tmp_path, cache=False, progress=False, precision="float32")
    halos, told = catalog.all_data(), catalog.parameters
    for identifier, confidence in zip(halos["halos", "particle_identifier"], halos["halos", "confidence"], strict=True):
        sites = prediction.labels == int(identifier) + 1
        assert confidence == pytest.approx(prediction.probability[sites].mean(), rel=1e-4)
    assert 0 < halos["halos", "confidence"].min() < 1
    assert EVOLVED in told["position_definition"] and EVOLVED in told["velocity_definition"]
    assert (told["model"], told["model_sha256"]) == (registry.DEFAULT_MODEL, prediction.card.sha256)


def test_a_threshold_changes_the_mask_and_no_protohalo(ds, prediction, tmp_path):
    strict = ph.predict(ds, threshold=0.999, cache=False, progress=False, precision="float32")
    assert strict.mask.sum() < prediction.mask.sum()
    assert np.array_equal(strict.labels, prediction.labels)
    # so none is advised where no protohalo is found
    nothing = make_position_predictor(min_sites=N**3)
    with pytest.raises(CatalogError, match=r"use a larger box or predict"):
        ph.find_protohalos(ds, tmp_path, predictor=nothing, cache=False, progress=False)


def test_a_lack_of_memory_names_a_method_that_needs_less(ds, tmp_path):
    predictor = make_position_predictor()

    def full(outputs):
        raise MemoryError("of a test")

    predictor.labels = full
    with pytest.raises(OutOfMemoryError, match=r"more memory, or use method 'pseudo-space', which needs less"):
        ph.predict(ds, predictor=predictor, cache=tmp_path, progress=False)


@pytest.mark.slow
def test_an_interrupted_run_resumes_from_its_crops(ds, tmp_path):
    whole, again = make_position_predictor(), make_position_predictor()
    expected = ph.predict(ds, predictor=whole, cache=False, progress=False)
    stopping = make_position_predictor()
    network = stopping.semantic

    def stop(batch):
        if stopping.standins.calls["semantic"] == 3:
            raise KeyboardInterrupt
        return network(batch)

    stopping.semantic = stop
    with pytest.raises(KeyboardInterrupt):
        ph.predict(ds, predictor=stopping, cache=tmp_path, progress=False)
    found = ph.predict(ds, predictor=again, cache=tmp_path, progress=False)
    assert again.standins.calls["semantic"] == whole.standins.calls["semantic"] - 3
    assert np.array_equal(found.labels, expected.labels)
    assert [path.suffix for path in tmp_path.iterdir()] == [".h5"]


@pytest.mark.slow
def test_the_commands_take_it(ics, prediction, here, capsys):
    assert cli.main(["find", ics, "-o", "out", "--precision", "float32", "-q"]) == 0
    assert np.array_equal(ph.Prediction.load("out/prediction.h5").labels, prediction.labels)
    first = (here / "out" / "protohalos.0.h5").read_bytes()
    assert cli.main(["catalog", "out", "--ics", ics]) == cli.main(["report", "out"]) == 0
    # positions of the stored prediction are evolved again, to the same bits
    assert (here / "out" / "protohalos.0.h5").read_bytes() == first
    page = (here / "out" / "report.html").read_text(encoding="utf-8")
    assert f"{registry.DEFAULT_MODEL}, version 1" in page and "core_length" in page and "instance network" not in page
    assert cli.main(["plot", "out", "--ics", ics, "--protohalo", "0"]) == 0
    assert cli.main(["zoom", "out", "--halo", "0", "-o", "points.txt"]) == 0
    assert len(np.loadtxt("points.txt")) == 1 + len(ph.zoom_region(prediction, 0).hull.vertices)
    capsys.readouterr()
    assert cli.main(["models", registry.DEFAULT_MODEL]) == 0
    said = capsys.readouterr().out
    assert re.search(r"method +positions\n", said) and "(default)" in said


@pytest.mark.slow
def test_trees_link_it_where_it_is_asked_for(ics, here, capsys):
    options = ["--method", "positions", "--redshifts", "0", "0.2", "-o", "tree", "--precision", "float32", "-q"]
    assert cli.main(["tree", ics, *options]) == 0
    assert "redshift   protohalos   linked   sites kept" in capsys.readouterr().out
    later, earlier = (yt.load(f"tree/tree_000{number}.0.h5") for number in (1, 0))
    assert later.parameters["model"] == earlier.parameters["model"] == registry.DEFAULT_MODEL
    assert cli.main(["tree", ics, *options[:3], "0", "2", *options[5:]]) == 2
    assert f"model {registry.DEFAULT_MODEL!r} was trained; it is valid up to z = " in capsys.readouterr().err


@pytest.mark.slow
def test_validate_scores_mask_and_protohaloes(ics, prediction, here, capsys):
    with h5py.File("labels.h5", "w") as file:
        file["labels"] = prediction.labels
    arguments = [
        "validate",
        "--ics",
        ics,
        "--labels",
        "labels.h5",
        "--figures",
        "figures",
        "--precision",
        "float32",
        "-q",
    ]
    assert cli.main([*arguments, "--no-cache"]) == 0
    text = capsys.readouterr().out
    right = np.mean(prediction.mask == (prediction.labels > 0))
    rows = {line.split("  ")[0]: line.split()[-1] for line in text.splitlines() if line.startswith(("ACC", "matched"))}
    assert text.count(f"{right:.3f}") >= 1 and rows
    assert {path.stem for path in (here / "figures").iterdir()} >= {"confusion", "reliability", "mass_functions"}
