"""Models of several lattice spacings: valid for spectra, each field on its own lattice."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from position_standins import make_position_predictor, position_card
from standins import make_card, make_field

from yt_protohalos.exceptions import CosmologyWarning, LatticeError, ModelError, OutOfRangeError, SpacingWarning
from yt_protohalos.fields.fourier import rms_by_side
from yt_protohalos.models.card import ModelCard
from yt_protohalos.models.field_range import FieldRange, neighbour_correlation
from yt_protohalos.models.resolution import checked_side, model_side
from yt_protohalos.models.validity import check_range
from yt_protohalos.prediction.fof_predictor import FriendsOfFriendsPredictor

RANGE = FieldRange((0.1, 0.4), (2.0, 8.0), (0.5, 0.9))


def test_the_correlation_of_neighbours_is_0_for_white_noise_and_that_of_waves_for_waves() -> None:
    noise = np.random.default_rng(1).normal(size=(32, 32, 32)).astype(np.float32)
    assert abs(neighbour_correlation(noise, 0.0, 1.0)) < 0.01
    wave = np.cos(2 * np.pi * np.arange(32) / 16).astype(np.float32)
    along = np.broadcast_to(wave[:, None, None], (32, 32, 32)) + np.float32(3)
    # one axis sees the wave, cos(2 pi / 16), and two see no change
    expected = (np.cos(2 * np.pi / 16) + 2) / 3
    for turned in (along, along.transpose(1, 0, 2), along.transpose(2, 1, 0)):
        assert neighbour_correlation(turned, 3.0, np.sqrt(0.5)) == pytest.approx(expected, abs=1e-5)
    assert neighbour_correlation(np.ones((4, 4, 4), np.float32), 1.0, 0.0) == 0


def test_a_range_holds_the_fields_that_it_was_measured_on() -> None:
    fields = [make_field(24, seed, spacing) for seed, spacing in enumerate((0.1, 0.2, 0.8))]
    found = FieldRange.of_fields(fields)
    assert found.spacing == (0.1, 0.8)
    assert found.rms[0] < found.rms[1] and found.correlation[0] < found.correlation[1]
    assert found.rms[0] == pytest.approx(fields[2].delta.std(), rel=1e-3)
    for field in fields:
        assert not list(found.departures(field))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rms": 9.0}, "rms of delta is 9, outside 2 to 8: use a coarser lattice or haloes of a higher redshift"),
        ({"rms": 1.0}, "rms of delta is 1, outside 2 to 8: use a finer lattice"),
        ({"smooth": True}, "outside 0.5 to 0.9: use initial conditions with power at the smallest scales"),
    ],
)
def test_a_field_outside_is_refused_with_what_differs_and_what_to_use(change: dict, said: str) -> None:
    field = make_field(16)
    delta = field.delta
    if "smooth" in change:
        delta = np.broadcast_to(np.cos(2 * np.pi * np.arange(16) / 16)[:, None, None], (16, 16, 16))
    field = replace(field, delta=(delta * change.get("rms", 4.0) / delta.std()).astype(np.float32))
    card = position_card(field_range=RANGE)
    with pytest.raises(OutOfRangeError, match=re.escape(said)):
        check_range(card, field)
    with pytest.warns(CosmologyWarning, match=re.escape(said)):
        check_range(card, field, "warn")
    check_range(card, field, "allow")


def test_neither_cosmology_nor_spacing_is_compared_inside_the_range() -> None:
    card, field = position_card(field_range=RANGE), make_field(16, spacing=0.6)
    other = replace(field.cosmology, omega_m=0.15, omega_lambda=0.85, sigma_8=1.2, h=0.5)
    check_range(card, replace(field, cosmology=other))
    assert model_side(card, field, "error") == 16
    with pytest.raises(OutOfRangeError, match=r"lattice spacing 0\.6"):
        model_side(position_card(), field, "error")


def test_a_field_is_predicted_on_its_own_lattice() -> None:
    field = make_field(24, spacing=0.3)
    found = make_position_predictor(field_range=RANGE).predict(field, progress=False)
    assert found.settings["model_side"] == 24 and found.n_protohalos > 0
    assert found.min_sites == found.card.min_sites


def test_a_card_keeps_its_range_and_says_it() -> None:
    card = position_card(field_range=RANGE)
    again = ModelCard.from_json(card.to_json())
    assert again == card and again.field_range == RANGE
    facts = dict(card.facts())
    assert facts["lattice spacing"] == "any; trained at 0.1 to 0.4 Mpc/h" and facts["rms of delta"] == "2 to 8"
    assert "cosmology" not in facts
    assert "field_range" not in position_card().values()


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ModelError, match=r"field_range rms .* is not \[lowest, highest\], each a positive number"):
        FieldRange((0.1, 0.4), (8.0, 2.0), (0.5, 0.9))
    with pytest.raises(ModelError, match="field_range correlation"):
        FieldRange((0.1, 0.4), (2.0, 8.0), (0.5, 1.9))
    with pytest.raises(ModelError, match="field_range is of a position network"):
        make_card(field_range=RANGE)
    text = position_card(field_range=RANGE).to_json()
    with pytest.raises(ModelError, match="field_range"):
        ModelCard.from_json(text.replace('"correlation"', '"slope"'))


def with_rms(n: int, spacing: float, rms: float):
    field = make_field(n, spacing=spacing)
    return replace(field, delta=(field.delta * (rms / field.delta.std())).astype(np.float32))


def test_the_rms_on_every_coarser_lattice_is_that_of_the_reduced_field() -> None:
    field = with_rms(16, 0.2, 3.0)
    field = replace(field, delta=field.delta + np.float32(0.5))
    rms = rms_by_side(field.delta)
    assert rms.shape == (17,) and rms[0] == 0
    for side in (1, 2, 5, 8, 13, 15, 16):
        assert rms[side] == pytest.approx(np.sqrt(np.mean(field.resampled(side).delta.astype(float) ** 2)), rel=1e-5)


def test_a_lattice_finer_than_the_range_is_reduced_with_a_warning_as_little_as_needed() -> None:
    card, field = position_card(field_range=RANGE), with_rms(24, 0.05, 12.0)
    with pytest.warns(SpacingWarning, match=r"rms of delta is 12 on the lattice of 0\.05 Mpc/h, above the 8 of"):
        side = model_side(card, field)
    highest = RANGE.limits("rms")[1]
    assert side % 2 == 0 and 8 <= side < 24
    assert field.resampled(side).delta.std() <= highest < field.resampled(side + 2).delta.std()
    assert model_side(card, field, "allow") == side
    with pytest.raises(OutOfRangeError, match=f"use resolution={24 * 0.05 / side:.4g} to reduce the lattice"):
        model_side(card, field, "error")
    # asked for, no warning
    assert model_side(card, field, "error", resolution=24 * 0.05 / side) == side
    assert model_side(card, field, "error", resolution=0.05) == 24


def test_the_range_is_that_of_the_field_as_the_model_sees_it() -> None:
    card, field = position_card(field_range=replace(RANGE, correlation=(-0.5, 1.0))), with_rms(24, 0.05, 12.0)
    side = model_side(card, field, "allow")
    assert checked_side(card, field, "allow") == side
    with pytest.raises(OutOfRangeError, match="rms of delta is 12, outside 2 to 8"):
        checked_side(card, field, resolution=0.05)


@pytest.mark.parametrize("method", ["positions", "fof"])
def test_protohaloes_of_a_coarser_lattice_come_back_to_that_of_the_field(method: str) -> None:
    field = make_field(32, spacing=0.3)
    predictor = FriendsOfFriendsPredictor() if method == "fof" else make_position_predictor(field_range=RANGE)
    coarse = predictor.predict(field.resampled(24), progress=False)
    found = predictor.predict(field, progress=False, resolution=0.4)
    assert found.settings["model_side"] == 24 and found.labels.shape == (32, 32, 32)
    assert found.min_sites == round(found.card.min_sites * (32 / 24) ** 3)
    assert found.n_protohalos > 0 and found.sizes[1:].min() >= found.min_sites
    # site 0 of both is in the same place, and every fourth and third after it
    both = found.labels[::4, ::4, ::4] > 0, coarse.labels[::3, ::3, ::3] > 0
    assert np.mean(both[0] == both[1]) > 0.9 and both[1].any()
    assert found.motion.position.shape == (found.n_protohalos, 3)


@pytest.mark.parametrize(
    ("resolution", "said"),
    [
        (0.1, "resolution 0.1 Mpc/h is finer than the lattice, 0.3 Mpc/h"),
        (float("nan"), "resolution nan Mpc/h is finer"),
        (2.0, "leaves 2 sites per side of a box of 4.8 Mpc/h; give a smaller one"),
    ],
)
def test_a_resolution_that_gains_nothing_is_refused(resolution: float, said: str) -> None:
    field = make_field(16, spacing=0.3)
    for predictor in (FriendsOfFriendsPredictor(), make_position_predictor(field_range=RANGE)):
        with pytest.raises(LatticeError, match=re.escape(said)):
            predictor.predict(field, progress=False, resolution=resolution)
    with pytest.raises(LatticeError, match=r"'.*' works on 0\.1953.* alone; leave it out, or use method 'fof'"):
        model_side(position_card(), field, resolution=resolution)
