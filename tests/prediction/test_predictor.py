"""The predictor obeys its laws: tiled equals whole, order and numbering do not matter, finished crops are kept."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
from small_model import MARGIN, SIDE, write_small_model
from standins import (
    COLLAPSE,
    SPACING,
    exact_clusters,
    make_card,
    make_field,
    make_predictor,
    peak_positions,
    same_partition,
    smoothed,
)

from yt_protohalos.analysis.mass_function import protohalo_mass_function
from yt_protohalos.exceptions import (
    InitialConditionsError,
    LatticeError,
    ModelError,
    OutOfRangeError,
    SpacingWarning,
    StoreError,
)
from yt_protohalos.fields.cosmology import Cosmology
from yt_protohalos.fields.lattice import Lattice, nearest_sites
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.fields.region import Region
from yt_protohalos.models.channels import POSITION_CHANNELS, ModelInput, network_input
from yt_protohalos.models.symmetry import Symmetry
from yt_protohalos.prediction import inference, store
from yt_protohalos.prediction.inference import CropNetwork, calibrated
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.prediction.result import Prediction
from yt_protohalos.segmentation.tiling import CropPlan

N = 24


@pytest.fixture(scope="module")
def field():
    return make_field(N)


@pytest.fixture
def exact(monkeypatch):
    """Clustering without noise, so that the laws of tiling hold to the last site."""
    monkeypatch.setattr(inference, "cluster_embedding", exact_clusters)


@pytest.fixture(scope="module")
def prediction(field):
    return make_predictor().predict(field, progress=False)


def shifted(field, shift):
    return replace(field, delta=field.lattice.shifted(field.delta, shift), phi=field.lattice.shifted(field.phi, shift))


@pytest.mark.parametrize("n", [N, 30])
def test_tiled_equals_whole(exact, n):
    field = make_field(n)
    tiled = make_predictor(min_sites=1).predict(field, progress=False)
    density = smoothed(field.delta, mode="wrap")
    np.testing.assert_allclose(tiled.probability, 1 / (1 + np.exp(COLLAPSE - density)), atol=1e-6)
    peaks = field.lattice.flat_index(peak_positions(density, periodic=True))
    assert tiled.n_protohalos > 5
    assert same_partition(tiled.labels, np.where(density > COLLAPSE, 1 + peaks, 0))


def test_a_box_smaller_than_its_crop_has_each_object_once(exact):
    """The crop shows the box several times; images are instances of their own and none is joined to another."""
    field = make_field(18)
    tiled = make_predictor(min_sites=1, core=18, side=60).predict(field, progress=False)
    peaks = field.lattice.flat_index(peak_positions(smoothed(field.delta, mode="wrap"), periodic=True))
    assert tiled.n_protohalos > 2
    assert same_partition(tiled.labels, np.where(tiled.mask, 1 + peaks, 0))


@pytest.mark.parametrize("shift", [(12, 0, 0), (12, 12, 12), (0, -12, 24)])
def test_labels_commute_with_shifts_by_a_core(field, prediction, shift):
    moved = make_predictor().predict(shifted(field, shift), progress=False)
    assert prediction.n_protohalos > 5
    assert same_partition(moved.labels, field.lattice.shifted(prediction.labels, shift))


def test_labels_do_not_depend_on_the_order_of_crops(field, prediction, monkeypatch):
    crops = CropPlan.crops
    monkeypatch.setattr(CropPlan, "crops", lambda self, which: crops(self, which)[::-1])
    again = make_predictor().predict(field, progress=False)
    np.testing.assert_array_equal(again.labels, prediction.labels)


def test_labels_do_not_depend_on_the_numbering_within_crops(field, prediction, monkeypatch):
    cluster = inference.cluster_embedding
    monkeypatch.setattr(
        inference,
        "cluster_embedding",
        lambda points, **settings: (lambda found: found.max(initial=0) - found)(cluster(points, **settings)),
    )
    again = make_predictor().predict(field, progress=False)
    np.testing.assert_array_equal(again.labels, prediction.labels)


def test_a_constant_in_phi_moves_nothing(field, prediction):
    """The stand-ins do not read phi, so the channels themselves are compared too."""
    lifted = replace(field, phi=field.phi + np.float32(50))
    np.testing.assert_array_equal(make_predictor().predict(lifted, progress=False).labels, prediction.labels)
    scales = {"delta": 1.0, "phi": 1.0}
    plain = network_input({"delta": field.delta, "phi": field.phi}, POSITION_CHANNELS, scales)
    ramp = np.arange(N, dtype=np.float32)
    tilted = field.phi + 50 + 0.7 * ramp[:, None, None] - 1.3 * ramp[None, None, :]
    moved = network_input({"delta": field.delta, "phi": tilted}, POSITION_CHANNELS, scales)
    np.testing.assert_allclose(moved, plain, atol=1e-4)


def test_a_network_that_reads_phi_gives_the_same_labels_for_any_constant(field):
    def predict(phi):
        predictor = make_predictor(core=24)
        seen = predictor.semantic

        def semantic(batch):
            mixed = batch.copy()
            mixed[..., 0] += 0.5 * np.round(batch[..., 1], 2)
            return seen(mixed)

        predictor.semantic = semantic
        return predictor.predict(replace(field, phi=phi), progress=False)

    first, second = predict(field.phi), predict(field.phi + np.float32(16))
    assert np.mean(first.labels != second.labels) < 1e-3
    assert np.mean(first.labels != predict(2 * field.phi).labels) > 1e-3


def test_labels_are_numbered_by_size_and_small_ones_are_none(field, prediction):
    sizes = prediction.sizes[1:]
    assert np.all(np.diff(sizes) <= 0)
    assert sizes.min() >= prediction.card.min_sites
    strict = make_predictor(min_sites=200).predict(field, progress=False)
    assert strict.n_protohalos == np.count_nonzero(sizes >= 200)
    np.testing.assert_array_equal(strict.mask, prediction.mask)
    np.testing.assert_array_equal(
        strict.labels, np.where(prediction.labels <= strict.n_protohalos, prediction.labels, 0)
    )


@pytest.mark.slow
def test_threshold_bounds_the_mask(field):
    loose, strict = (make_predictor().predict(field, threshold=t, progress=False) for t in (0.3, 0.7))
    np.testing.assert_array_equal(strict.mask, strict.probability > 0.7)
    assert loose.mask.sum() > strict.mask.sum()
    assert not np.any(strict.labels[~strict.mask])


def test_nothing_above_the_threshold_is_an_empty_prediction(field):
    predictor = make_predictor()
    empty = predictor.predict(field, threshold=0.999999, progress=False)
    assert empty.n_protohalos == 0
    assert not empty.labels.any()
    assert len(empty.graph) == 0
    assert predictor.standins.calls["instance"] == 0


def test_calibration_undoes_a_shift_of_the_odds():
    """Balanced cross-entropy learns odds times beta / (1 - beta); the card's intercept takes that back."""
    true = np.linspace(0.01, 0.99, 99, dtype=np.float32)
    beta = 0.6
    odds = true / (1 - true) * beta / (1 - beta)
    np.testing.assert_allclose(calibrated(odds / (1 + odds), 1.0, float(np.log((1 - beta) / beta))), true, rtol=1e-5)
    ends = calibrated(np.array([0, 1], dtype=np.float32), 2.0, 0.5)
    assert np.all((ends > 0) & (ends <= 1)) and np.all(np.isfinite(ends))


def test_the_calibration_follows_the_amplitude_of_the_field_within_the_range_of_the_model(field):
    by_amplitude = {"slope_by_amplitude": -0.5, "intercept_by_amplitude": 2.0}
    predictor = make_predictor(calibration={"slope": 1.0, "intercept": -0.3, **by_amplitude})
    low, high = predictor.card.amplitude_range
    inside = [predictor.calibration(replace(field, delta=s * field.delta, phi=s * field.phi)) for s in (1.0, 1.05)]
    assert inside[1]["intercept"] - inside[0]["intercept"] == pytest.approx(2.0 * np.log(1.05), rel=1e-3)
    assert inside[1]["slope"] - inside[0]["slope"] == pytest.approx(-0.5 * np.log(1.05), rel=1e-3)
    assert predictor.card.calibration_at(0.1) == predictor.card.calibration_at(low)
    assert predictor.card.calibration_at(9.0) == predictor.card.calibration_at(high)
    assert make_predictor().calibration(field) == {"slope": 1.0, "intercept": 0.0}


def test_graph_knows_the_final_label_of_each_crop_label(prediction):
    labels = {data["label"] for _, data in prediction.graph.nodes(data=True)}
    assert set(range(1, prediction.n_protohalos + 1)) <= labels
    for first, second, iou in prediction.graph.edges(data="iou"):
        assert prediction.graph.nodes[first]["label"] == prediction.graph.nodes[second]["label"]
        assert 0.5 <= iou <= 1


def test_mass_is_sites_times_site_mass(field, prediction):
    site_mass = field.site_mass_msun_h / field.cosmology.h
    np.testing.assert_allclose(prediction.label_mass[1:], prediction.sizes[1:] * site_mass)
    assert prediction.label_mass[0] == 0
    assert np.all(prediction.mass[prediction.labels == 0] == 0)
    np.testing.assert_allclose(prediction.mass[prediction.labels == 1], prediction.label_mass[1], rtol=1e-6)


def test_a_site_exactly_at_the_threshold_is_no_member(field):
    predictor = make_predictor()
    predictor.semantic = lambda batch: np.full((1, 30, 30, 30, 1), 0.5, dtype=np.float32)
    found = predictor.predict(field, progress=False)
    assert found.settings["threshold"] == 0.5 and np.all(found.probability == 0.5)
    assert not found.mask.any() and found.n_protohalos == 0


def test_other_spacings_come_back_on_their_own_lattice(field, prediction):
    finer = field.resampled(36)
    with pytest.warns(SpacingWarning):
        found = make_predictor().predict(finer, progress=False)
    assert found.labels.shape == (36, 36, 36)
    assert found.lattice == finer.lattice
    assert found.settings["model_side"] == N
    # resampling drops the Nyquist modes, hence nearly
    index = nearest_sites(finer.lattice, field.lattice, 0.0)
    assert np.mean((found.labels > 0) == (prediction.labels[index] > 0)) > 0.98
    np.testing.assert_allclose(found.label_mass[1:].sum(), prediction.label_mass[1:].sum(), rtol=0.05)
    # a protohalo of the smallest size of the model, 5 sites, has 5 * (36 / 24)^3 sites here
    assert found.min_sites == 17 <= found.sizes[1:].min() and prediction.min_sites == 5 == prediction.card.min_sites
    _, density, _ = protohalo_mass_function(found, bins_per_decade=5)
    assert density.sum() * found.lattice.box_size**3 / 5 == pytest.approx(found.n_protohalos), "none is left out"
    assert {data["label"] for _, data in found.graph.nodes(data=True)} >= set(range(1, found.n_protohalos + 1))


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_nearest_sites_are_nearest(offset):
    coarse, fine = Lattice(6, 6.0), Lattice(15, 6.0)
    (x, _, _) = nearest_sites(fine, coarse, offset)
    apart = (np.arange(15) + offset) * fine.spacing - (x.ravel() + offset) * coarse.spacing
    assert np.max(np.abs(fine.minimum_image(apart))) <= 0.5 * coarse.spacing + 1e-12


def test_resume_computes_only_what_is_missing(field, prediction, tmp_path):
    store = tmp_path / "crops"
    interrupted = make_predictor()

    def stop_after_three(items, title, total):
        for index, item in enumerate(items):
            if "Separating" in title and index == 3:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        interrupted.predict(field, progress=stop_after_three, store=store)
    # while one crop is clustered the network is at the next: three are finished, the fourth and fifth are not kept
    assert interrupted.standins.calls == {"semantic": 8, "instance": 5}
    assert not list(store.glob("*.partial"))

    resumed = make_predictor()
    found = resumed.predict(field, progress=False, store=store)
    assert resumed.standins.calls == {"semantic": 0, "instance": 13}
    np.testing.assert_array_equal(found.labels, prediction.labels)
    np.testing.assert_array_equal(found.probability, prediction.probability)

    again = make_predictor()
    np.testing.assert_array_equal(again.predict(field, progress=False, store=store).labels, prediction.labels)
    assert again.standins.calls == {"semantic": 0, "instance": 0}


def test_a_large_resampled_field_is_read_from_the_store_and_gives_the_same_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MAPPED_SIDE", N)
    finer, seen = make_field(N).resampled(36), []
    crop = LinearField.crop
    monkeypatch.setattr(LinearField, "crop", lambda self, *which: (seen.append(self), crop(self, *which))[1])
    options = {"progress": False, "on_spacing": "allow"}
    found = make_predictor().predict(finer, store=tmp_path / "crops", **options)
    assert seen and all(each.is_mapped and each.n == N for each in seen)
    np.testing.assert_array_equal(found.labels, make_predictor().predict(finer, **options).labels)
    np.testing.assert_array_equal(np.load(tmp_path / "crops" / "phi.npy"), finer.resampled(N).phi)


def test_a_store_of_another_run_is_refused(field, tmp_path):
    make_predictor().predict(field, progress=False, store=tmp_path / "crops")
    other = make_predictor()
    for changed, settings in ((field, {"threshold": 0.4}), (shifted(field, (1, 0, 0)), {})):
        with pytest.raises(StoreError, match="another run"):
            other.predict(changed, progress=False, store=tmp_path / "crops", **settings)
    with pytest.raises(StoreError, match="model"):
        make_predictor(beta=0.6).predict(field, progress=False, store=tmp_path / "crops")
    assert other.standins.calls == {"semantic": 0, "instance": 0}


def test_bad_requests_are_refused_before_any_network_runs(field, tmp_path):
    predictor = make_predictor()
    (tmp_path / "file").write_text("in the way")
    high = replace(field, cosmology=Cosmology(h=0.6777, omega_m=0.307112, omega_lambda=0.692888, sigma_8=1.2))
    coarse = replace(field, lattice=Lattice(N, 3 * N * SPACING))
    for error, arguments in [
        (ModelError, {"threshold": 1.5}),
        (ModelError, {"threshold": "half"}),
        (ModelError, {"on_spacing": "maybe"}),
        (ModelError, {"on_range": "maybe"}),
        (StoreError, {"store": tmp_path / "file"}),
        (StoreError, {"store": tmp_path}),
    ]:
        with pytest.raises(error):
            predictor.predict(field, progress=False, **arguments)
    for bad in (high, coarse):
        with pytest.raises(OutOfRangeError):
            predictor.predict(bad, progress=False, store=tmp_path / "never")
    assert predictor.standins.calls == {"semantic": 0, "instance": 0}
    assert not (tmp_path / "never").exists()


def test_networks_that_break_their_promise_are_named(field):
    card = make_card()
    predictor = ProtohaloPredictor(card, lambda batch: batch[..., :1], lambda batch: batch[..., :3])
    with pytest.raises(ModelError, match="semantic network returned shape"):
        predictor.predict(field, progress=False)
    predictor = make_predictor()
    predictor.semantic = lambda batch: np.full((1, 30, 30, 30, 1), np.nan, dtype=np.float32)
    with pytest.raises(ModelError, match="not finite"):
        predictor.predict(field, progress=False)
    with pytest.raises(ModelError, match="precision"):
        ProtohaloPredictor(card, predictor.semantic, predictor.instance, precision="float8")


def test_a_stored_prediction_knows_its_field(field, prediction, tmp_path):
    prediction.save(tmp_path / "prediction.h5")
    again = Prediction.load(tmp_path / "prediction.h5")
    again.check_field(field)
    # read from another file of the same realisation
    again.check_field(replace(field, delta=field.delta * np.float32(1 + 1e-5)))
    for other in (make_field(N, seed=4), field.resampled(36), replace(field, redshift=60.0)):
        with pytest.raises(InitialConditionsError, match="give the file that it was made from"):
            again.check_field(other)
    # predictions of before remember no sample; their lattice is compared still
    del again.settings["field_sample"]
    again.check_field(make_field(N, seed=4))


@pytest.mark.parametrize("keep_checksum", [True, False])
@pytest.mark.parametrize(
    ("name", "site", "value", "said"),
    [
        ("labels", (0, 0, 0), -5, "labels, from -5 to"),
        ("labels", (0, 0, 0), 10**9, "to 1000000000, are not 0 and 1..K by descending size"),
        ("labels", (slice(None),) * 3, 2, "are not 0 and 1..K"),
        ("probability", (1, 2, 3), np.nan, "probabilities are not all from 0 to 1"),
        ("probability", (1, 2, 3), 1.5, "probabilities are not all from 0 to 1"),
        ("mask", (1, 2, 3), None, ""),
    ],
)
def test_a_stored_prediction_that_was_changed_is_refused(
    prediction, tmp_path, name, site, value, said, keep_checksum
):  # fmt: skip
    path = tmp_path / "prediction.h5"
    prediction.save(path)
    with h5py.File(path, "r+") as file:
        file[name][site] = not file[name][site] if value is None else value
        if not keep_checksum:
            del file[name].attrs["crc32"]
    if keep_checksum:
        said = f"{name} was changed after it was written"
    elif not said:
        assert Prediction.load(path).mask.shape == prediction.mask.shape, "a mask may be anything"
        return
    with pytest.raises(StoreError, match=rf"prediction\.h5 cannot be read .*{said}.*; delete it and predict again"):
        Prediction.load(path)


def test_save_and_load_keep_everything(prediction, tmp_path):
    path = tmp_path / "prediction.h5"
    prediction.save(path)
    again = Prediction.load(path)
    for name in ("probability", "mask", "labels"):
        first, second = getattr(prediction, name), getattr(again, name)
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    for name in ("lattice", "cosmology", "redshift", "site_offset", "settings", "card"):
        assert getattr(again, name) == getattr(prediction, name)
    assert dict(again.graph.nodes(data=True)) == dict(prediction.graph.nodes(data=True))
    assert {frozenset(edge[:2]): edge[2] for edge in again.graph.edges(data="iou")} == {
        frozenset(edge[:2]): edge[2] for edge in prediction.graph.edges(data="iou")
    }
    assert [entry.name for entry in tmp_path.iterdir()] == ["prediction.h5"]


@pytest.mark.slow
def test_a_pretrained_model_predicts_the_same_twice_and_nearly_so_in_bfloat16(tmp_path):
    field = make_field(32)
    folder = write_small_model(tmp_path / "model")
    first, second = (
        ProtohaloPredictor.from_pretrained(folder, precision="float32").predict(field, progress=False) for _ in range(2)
    )
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.mask.any() and not first.mask.all()
    low = ProtohaloPredictor.from_pretrained(folder, precision="bfloat16").predict(field, progress=False)
    assert low.settings["precision"] == "bfloat16"
    assert np.abs(low.probability - first.probability).max() < 0.05


@pytest.mark.slow
def test_averaging_over_all_symmetries_makes_the_probability_follow_every_one(tmp_path):
    field = make_field(24)
    predictor = ProtohaloPredictor.from_pretrained(write_small_model(tmp_path / "model"), precision="float32")
    symmetry = Symmetry((2, 0, 1), (True, False, True))
    turned = replace(field, delta=symmetry.apply(field.delta), phi=symmetry.apply(field.phi))

    def mismatch(symmetries):
        (crop,) = CropPlan(n=24, crop=SIDE, context=MARGIN, core=24).crops("a")
        network = CropNetwork(predictor.semantic, predictor.card.semantic, symmetries=symmetries)
        first, second = (network.run(ModelInput(f), [crop])[0][..., 0] for f in (field, turned))
        return np.abs(symmetry.apply(first) - second).max()

    assert mismatch(48) < 1e-4 < mismatch(1)


def test_a_probability_in_hand_spares_the_semantic_network(field, prediction):
    predictor = make_predictor()
    again = predictor.predict(field, progress=False, probability=predictor.probability(field, progress=False))
    np.testing.assert_array_equal(again.labels, prediction.labels)
    with pytest.raises(LatticeError, match="probability"):
        predictor.predict(field, progress=False, probability=np.zeros((3, 3, 3), dtype=np.float32))


def test_predictions_and_predictors_are_shown_in_a_few_lines(field, prediction):
    region = Region.of_sites(field.lattice, (0, 0, 0), 12)
    part = make_predictor().predict_region(field, region, progress=False)
    for shown, facts in (
        (repr(prediction), ("lattice 24 x 24 x 24", "box 4.6875 Mpc/h", "model tiny", "threshold 0.5", "Msun")),
        (repr(part), ("RegionPrediction", "lattice 12 x 12 x 12")),
        (repr(make_predictor()), ("tiny", "float32")),
    ):
        assert len(shown.splitlines()) <= 6 and len(shown) < 400
        assert all(fact in shown for fact in facts)
    shown = prediction._repr_html_()
    assert f"<td>{prediction.n_protohalos}</td>" in shown and "data:image/png;base64,iVBOR" in shown
    empty = make_predictor().predict(field, threshold=0.999999, progress=False)
    assert "Msun" not in empty._repr_html_()
