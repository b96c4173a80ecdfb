"""Models of several lattice spacings: valid for spectra, each field on its own lattice."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from position_standins import make_position_predictor, position_card
from standins import make_card, make_field

from yt_protohalos.exceptions import CosmologyWarning, ModelError, OutOfRangeError
from yt_protohalos.models.card import ModelCard
from yt_protohalos.models.field_range import FieldRange, neighbour_correlation
from yt_protohalos.models.validity import check_range, model_side

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
    assert model_side(card, field.lattice, "error") == 16
    with pytest.raises(OutOfRangeError, match=r"lattice spacing 0\.6"):
        model_side(position_card(), field.lattice, "error")


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
