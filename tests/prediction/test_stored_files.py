"""Files that earlier versions stored still open and say what made them; those of later versions are refused by name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import yt_protohalos as ph
from yt_protohalos._utils import files
from yt_protohalos.analysis.report.page import report_page
from yt_protohalos.exceptions import FormatError, ModelError, StoreError
from yt_protohalos.models.card import ModelCard
from yt_protohalos.prediction.result import FIELD_SAMPLE, field_sample
from yt_protohalos.prediction.store import CropStore
from yt_protohalos.training.run_files import read_run

STORED = Path(__file__).parents[1] / "data" / "stored"
VERSIONS = sorted(STORED.iterdir())
LATER = "a later yt_protohalos wrote it: install that version or a newer one"


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def stored(request) -> Path:
    """Folder that one version wrote."""
    return request.param


@pytest.fixture
def facts(stored) -> dict:
    return json.loads((stored / "facts.json").read_text())


@pytest.fixture
def copy(tmp_path) -> Path:
    """The newest folder, to be changed."""
    return Path(shutil.copytree(VERSIONS[-1], tmp_path / "stored"))


def test_this_version_has_stored_files():
    assert ph.__version__ in {path.name for path in VERSIONS}, "run tests/support/stored_files.py"


def test_a_stored_prediction_opens_and_says_what_made_it(stored, facts):
    prediction = ph.Prediction.load(stored / "prediction.h5")
    assert prediction.package_version == facts["package_version"] == stored.name
    assert prediction.card.name == facts["model"]
    assert prediction.settings["threshold"] == facts["threshold"]
    assert (prediction.lattice.n, prediction.lattice.box_size) == (facts["sites"], facts["box_size"])
    assert prediction.sizes.tolist() == facts["sizes"]
    assert prediction.label_mass[1] == pytest.approx(facts["mass_of_largest"])
    assert prediction.mask[prediction.labels > 0].all()


def test_a_stored_prediction_survives_saving_again(stored, tmp_path):
    prediction = ph.Prediction.load(stored / "prediction.h5")
    prediction.save(tmp_path / "again.h5")
    again = ph.Prediction.load(tmp_path / "again.h5")
    assert again.package_version == stored.name, "it was made by that version, whoever saves it"
    assert again.card == prediction.card and np.array_equal(again.labels, prediction.labels)


def test_a_stored_catalogue_opens_in_yt_and_for_a_zoom(stored, facts):
    import yt

    data = yt.load(str(stored / "protohalos.0.h5")).all_data()
    assert data["halos", "particle_mass"].to("Msun").max() == pytest.approx(facts["mass_of_largest"])
    region = ph.zoom_region(stored / "protohalos.0.h5", len(facts["sizes"]) - 2, padding=0)
    assert region.n_members == facts["sizes"][-1]
    with h5py.File(stored / "protohalos.0.h5") as file:
        assert file.attrs["package_version"] == stored.name
        assert file.attrs["model"] == facts["model"]
        assert json.loads(file.attrs["settings"])["threshold"] == facts["threshold"]


def test_stored_files_make_a_report(stored, facts):
    page = report_page(ph.Prediction.load(stored / "prediction.h5"), stored / "protohalos.0.h5")
    assert f"yt_protohalos {stored.name}" in page and facts["model"] in page


@pytest.mark.parametrize("name", ["run_seed.h5", "run_field.h5"])
def test_stored_runs_open(stored, facts, name):
    field, labels, attributes = read_run(stored / name)
    assert np.bincount(labels.ravel()).tolist() == facts["sizes"]
    assert attributes["package_version"] == stored.name
    # the noise of a seed is that of numpy, and reading it from particles rounds
    np.testing.assert_allclose(field_sample(field), facts["field_sample"], atol=0.02)


def test_a_stored_card_opens(stored, facts):
    card = ModelCard.from_json((stored / "card.json").read_text())
    assert card.name == facts["model"]
    assert card.sha256 == ph.Prediction.load(stored / "prediction.h5").card.sha256


def test_predictions_from_before_versions_were_kept_open(copy):
    with h5py.File(copy / "prediction.h5", "r+") as file:
        del file.attrs["package_version"], file.attrs["target_redshift"]
        settings = json.loads(file["settings"].asstr()[()])
        del settings[FIELD_SAMPLE], file["settings"]
        file["settings"] = json.dumps(settings)
    prediction = ph.Prediction.load(copy / "prediction.h5")
    assert (prediction.package_version, prediction.target_redshift) == ("", 0.0)
    assert "(version not kept)" in report_page(prediction)
    with h5py.File(copy / "protohalos.0.h5", "r+") as file:
        del file.attrs["catalog_format"], file.attrs["package_version"]
    assert ph.zoom_region(copy / "protohalos.0.h5", 5, padding=0).n_members > 0


def test_files_of_later_versions_are_refused_with_a_remedy(copy):
    for name, attribute in (
        ("prediction.h5", "format"), ("protohalos.0.h5", "catalog_format"),
        ("run_seed.h5", "format_version"), ("run_field.h5", "format_version"),
    ):  # fmt: skip
        with h5py.File(copy / name, "r+") as file:
            file.attrs[attribute] = 99
    card = json.loads((copy / "card.json").read_text()) | {"format": 99}
    whole = ph.Prediction.load(VERSIONS[-1] / "prediction.h5")
    for error, read in (
        (StoreError, lambda: ph.Prediction.load(copy / "prediction.h5")),
        (StoreError, lambda: ph.zoom_region(copy / "protohalos.0.h5", 0)),
        (StoreError, lambda: report_page(whole, copy / "protohalos.0.h5")),
        (FormatError, lambda: read_run(copy / "run_seed.h5")),
        (FormatError, lambda: read_run(copy / "run_field.h5")),
        (ModelError, lambda: ModelCard.from_json(json.dumps(card))),
    ):
        with pytest.raises(error, match=rf"format 99.*{LATER}"):
            read()


@pytest.mark.parametrize("found", [0, -1, "one", None, float("inf"), [2]])
def test_versions_that_never_were_have_another_remedy(copy, found):
    card = json.loads((copy / "card.json").read_text()) | {"format": found}
    with pytest.raises(ModelError, match=re.escape(f"format {found!r} is unknown, this version reads 1; restore")):
        ModelCard.from_json(json.dumps(card))
    if not isinstance(found, int | float):
        return
    for name, attribute in (("prediction.h5", "format"), ("protohalos.0.h5", "catalog_format")):
        with h5py.File(copy / name, "r+") as file:
            file.attrs[attribute] = found
    with pytest.raises(StoreError, match="this version reads 1; run the prediction again"):
        ph.Prediction.load(copy / "prediction.h5")
    with pytest.raises(StoreError, match="this version reads 1; run `protohalos find` again"):
        ph.zoom_region(copy / "protohalos.0.h5", 0)
    with h5py.File(copy / "run_seed.h5", "r+") as file:
        file.attrs["format_version"] = found
    with pytest.raises(FormatError, match="this version reads 1 to 2; make it again"):
        read_run(copy / "run_seed.h5")


def test_a_folder_of_crops_of_another_version_is_refused(tmp_path):
    CropStore(tmp_path / "store", {"a": 1})
    manifest = tmp_path / "store" / "manifest.json"
    values = json.loads(manifest.read_text())
    assert values["format"] == files.STORE_FORMAT
    manifest.write_text(json.dumps(values | {"format": 99}))
    with pytest.raises(StoreError, match=r"other format.*another folder, or delete it"):
        CropStore(tmp_path / "store", {"a": 1})
