"""Friends of friends through yt: all that takes a model takes it, on any lattice; what cannot be is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import yt
from yt_fakes import FakePredictor

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.catalog.catalog import EVOLVED
from yt_protohalos.exceptions import LatticeError, ModelError
from yt_protohalos.models.fof_card import FriendsOfFriendsCard
from yt_protohalos.yt_interface.options import PredictionOptions

yt.set_log_level("error")
N, SPACING = 32, 0.5  # a spacing that no model has


@pytest.fixture(scope="module")
def ics(tmp_path_factory):
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    ph.generate_initial_conditions(N, N * SPACING, seed=11, filename=path)
    return str(path)


@pytest.fixture(scope="module")
def ds(ics):
    return ph.load(ics)


@pytest.fixture(scope="module")
def prediction(ds):
    return ph.predict(ds, method="fof", cache=False, progress=False)


def test_every_way_to_ask_gives_one_prediction(ds, prediction):
    assert ph.predict(ds, method="fof", cache=False) is prediction
    assert ph.predict(ds, predictor=ph.FriendsOfFriendsPredictor(), cache=False) is prediction
    other = ph.predict(ds, predictor=ph.FriendsOfFriendsPredictor("accurate"), cache=False, progress=False)
    assert other is not prediction and other.card.evolution == "accurate"
    expected = ph.FriendsOfFriendsPredictor().predict(ph.linear_field(ds), progress=False)
    assert np.array_equal(prediction.labels, expected.labels) and prediction.n_protohalos > 3


@pytest.mark.parametrize("resolution", [0.8, "800 kpc/h", (0.8, "Mpc/h")])
def test_a_coarser_lattice_is_asked_for_in_any_unit_and_is_another_prediction(ds, prediction, resolution):
    coarse = ph.predict(ds, method="fof", resolution=resolution, cache=False, progress=False)
    assert coarse.settings["model_side"] == 20 and coarse.labels.shape == (N, N, N)
    assert coarse.min_sites == round(prediction.min_sites * (N / 20) ** 3)
    with pytest.raises(LatticeError, match="finer than the lattice"):
        ph.predict(ds, method="fof", resolution=0.3, cache=False)


def test_fields_have_labels_and_the_mask(ds, prediction):
    ph.add_protohalo_fields(ds, method="fof", cache=False)
    data = ds.all_data()
    ids, probability = data["all", "particle_protohalo_id"].v, data["all", "particle_protohalo_probability"].v
    assert np.array_equal(np.bincount((ids + 1).astype(int)), prediction.sizes)
    assert np.array_equal(probability, ids >= 0)
    assert ds.field_info["all", "particle_protohalo_probability"].display_name == "Protohalo Mask"
    ph.add_protohalo_fields(ds, method="fof", cache=False, redshift=1.0)
    assert data.ds.all_data()["all", "particle_protohalo_id"].max() < prediction.n_protohalos


def test_the_catalogue_says_how_it_was_made(ds, prediction, tmp_path):
    catalog = ph.find_protohalos(ds, tmp_path, method="fof", cache=False, progress=False)
    assert catalog.all_data()["halos", "particle_mass"].size == prediction.n_protohalos
    told = catalog.parameters
    assert (told["model"], told["model_sha256"]) == ("fof", prediction.card.sha256)
    assert EVOLVED in told["position_definition"] and "no probability" in told["confidence_definition"]


def test_the_cache_keeps_one_file_for_each_plan_and_is_read(ds, prediction, tmp_path, monkeypatch):
    options = {"cache": tmp_path, "progress": False}
    first = ph.predict(ds, method="fof", **options)
    ph.predict(ds, predictor=ph.FriendsOfFriendsPredictor(min_sites=20), **options)
    assert {path.suffix for path in tmp_path.iterdir()} == {".h5"} and len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(FriendsOfFriendsCard, "evolve", lambda *_: pytest.fail("it was evolved again"))
    again = ph.predict(ph.load(ds.parameter_filename), method="fof", **options)
    assert again is not first and np.array_equal(again.labels, prediction.labels)


def test_an_interrupted_prediction_leaves_no_file(ds, tmp_path):
    def interrupt(items, title, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ph.predict(ds, method="fof", cache=tmp_path / "cache", progress=interrupt)
    assert not list((tmp_path / "cache").glob("*"))


def test_a_threshold_or_a_model_beside_it_is_refused(ds):
    for arguments in ({"method": "fof"}, {"predictor": ph.FriendsOfFriendsPredictor()}):
        with pytest.raises(ModelError, match=r"threshold 0\.5 was given, but method 'fof' .*leave it out"):
            ph.predict(ds, threshold=0.5, **arguments)
    with pytest.raises(ModelError, match="method 'fof' has no model, but 'planck-v4' was given; leave one"):
        ph.predict(ds, "planck-v4", method="fof")
    with pytest.raises(
        ModelError, match=r"model 'tiny' has method 'pseudo-space', not 'fof'; leave one of the two out$"
    ):
        ph.predict(ds, predictor=FakePredictor(), method="fof")
    with pytest.raises(ModelError, match="model 'fof' has method 'fof', not 'watershed'"):
        PredictionOptions(predictor=ph.FriendsOfFriendsPredictor(), method="watershed")
    with pytest.raises(ModelError, match="linking_length 0 is not a positive number; give another"):
        ph.FriendsOfFriendsPredictor(linking_length=0)


def test_a_field_that_cannot_be_linked_is_refused_when_fields_are_added(ds):
    with pytest.raises(ValueError, match="more than a third of the 32 sites"):
        ph.add_protohalo_fields(ds, predictor=ph.FriendsOfFriendsPredictor(linking_length=11), cache=False)


@pytest.mark.slow
def test_the_commands_take_it(ics, prediction, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("YT_PROTOHALOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["find", ics, "-o", "out", "--method", "fof", "-q"]) == 0
    assert np.array_equal(ph.Prediction.load("out/prediction.h5").labels, prediction.labels)
    first = (tmp_path / "out" / "protohalos.0.h5").read_bytes()
    assert cli.main(["catalog", "out", "--ics", ics]) == cli.main(["report", "out"]) == 0
    # positions of the stored prediction are evolved again, to the same bits
    assert (tmp_path / "out" / "protohalos.0.h5").read_bytes() == first
    assert "linking_length" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert cli.main(["plot", "out", "--ics", ics, "--protohalo", "0"]) == 0
    assert cli.main(["zoom", "out", "--halo", "0", "-o", "points.txt"]) == 0
    assert cli.main(["tree", ics, "--redshifts", "0", "0.5", "-o", "tree", "--method", "fof", "-q"]) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 2
    capsys.readouterr()
    assert cli.main(["find", ics, "-o", "out", "--method", "fof", "--threshold", "0.4"]) == 2
    assert "threshold 0.4" in capsys.readouterr().err


@pytest.mark.slow
def test_validate_scores_it_without_its_probability(ics, prediction, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with h5py.File("labels.h5", "w") as file:
        file["labels"] = prediction.labels
    arguments = ["validate", "--ics", ics, "--labels", "labels.h5", "--method", "fof", "--figures", "figures", "-q"]
    assert cli.main([*arguments, "--no-cache"]) == 0
    text = capsys.readouterr().out
    assert next(line.split()[-1] for line in text.splitlines() if line.startswith("ACC")).startswith("1")
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"confusion", "rate_by_mass", "voxel_masses", "mass_functions"}
