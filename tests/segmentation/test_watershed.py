"""Instances by watershed: contours to learn, seeds, flooding, the way through a predictor, and the choice of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from standins import (
    SPACING,
    StandIns,
    make_card,
    make_field,
    make_network,
    make_predictor,
    peak_positions,
    same_partition,
    smoothed,
)

from yt_protohalos.exceptions import LatticeError, ModelError, ModelIntegrityError
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.models import registry
from yt_protohalos.models.card import ModelCard
from yt_protohalos.models.channels import stretch
from yt_protohalos.models.runtime import load_model
from yt_protohalos.models.symmetry import Symmetry, spread_symmetries
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.segmentation.watershed import contour_sites, find_seeds, flood, otsu_threshold
from yt_protohalos.yt_interface.options import PredictionOptions

MEMBERS = 0.55
THRESHOLDS = {"foreground": 0.5, "contour": 0.5}


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    squares = [(np.arange(m) - c) ** 2 for m, c in zip(shape, centre, strict=True)]
    return squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= radius**2


@pytest.fixture(scope="module")
def peaks() -> tuple[np.ndarray, np.ndarray]:
    """Periodic labels of many irregular haloes that touch, with their smoothed density."""
    field = make_field(24)
    density = smoothed(field.delta, mode="wrap")
    # a few equal heights would be flooded in the order of the sites, which no symmetry keeps
    density = np.argsort(np.argsort(density, axis=None)).reshape(density.shape).astype(np.float32) / density.size
    climbed = field.lattice.flat_index(peak_positions(density, periodic=True))
    labels = np.unique(climbed, return_inverse=True)[1].reshape(climbed.shape) + 1
    return np.where(density > MEMBERS, labels, 0).astype(np.int32), density


# ---- contours


def test_the_contour_of_a_cube_is_the_layer_around_it_without_its_edges() -> None:
    lattice = Lattice(20, 1.0)
    labels = np.zeros(lattice.shape, dtype=np.int32)
    labels[5:13, 5:13, 5:13] = 3
    contour = contour_sites(labels, lattice)
    # an edge site has 12 of its 27 sites in the cube, a face site 18
    sites = np.indices(lattice.shape)
    body = (labels > 0) & (np.count_nonzero((sites == 5) | (sites == 12), axis=0) < 2)
    assert np.array_equal(contour, ndimage.binary_dilation(body) & ~body)


def test_two_haloes_that_touch_have_their_contour_on_both_sides_of_the_surface() -> None:
    lattice = Lattice(20, 1.0)
    labels = np.zeros(lattice.shape, dtype=np.int32)
    labels[2:9, 5:14, 5:14], labels[9:16, 5:14, 5:14] = 1, 2
    contour = contour_sites(labels, lattice)
    assert contour[8:10, 7:12, 7:12].all()
    assert not contour[3:8, 7:12, 7:12].any() and not contour[10:15, 7:12, 7:12].any()


def test_spurs_are_cut_off_and_holes_filled() -> None:
    lattice = Lattice(20, 1.0)
    smooth = np.where(ball(lattice.shape, (10, 10, 10), 5.3), 1, 0)
    rough = smooth.copy()
    rough[17:19, 10, 10], rough[10, 10, 10], rough[12, 10, 10] = 1, 0, 0
    assert np.array_equal(contour_sites(rough, lattice), contour_sites(smooth, lattice))


def test_contours_do_not_depend_on_numbers_place_or_orientation(peaks: tuple[np.ndarray, np.ndarray]) -> None:
    labels = peaks[0]
    lattice = Lattice(labels.shape[0], 1.0)
    contour = contour_sites(labels, lattice)
    assert 0.05 < contour.mean() < 0.95
    numbers = np.concatenate([[0], 1 + np.random.default_rng(2).permutation(3 * labels.max())[: labels.max()]])
    assert np.array_equal(contour_sites(numbers[labels], lattice), contour)
    shift = (7, 0, 13)
    assert np.array_equal(contour_sites(lattice.shifted(labels, shift), lattice), lattice.shifted(contour, shift))
    for symmetry in spread_symmetries(48)[1:48:9]:
        assert np.array_equal(contour_sites(symmetry.apply(labels), lattice), symmetry.apply(contour))


def test_a_box_without_haloes_has_no_contour() -> None:
    lattice = Lattice(6, 1.0)
    assert not contour_sites(np.zeros(lattice.shape, dtype=np.int32), lattice).any()
    with pytest.raises(LatticeError, match="labels has shape"):
        contour_sites(np.zeros((5, 6, 6), dtype=np.int32), lattice)


# ---- thresholds, seeds, flooding


def test_otsu_separates_two_classes() -> None:
    rng = np.random.default_rng(0)
    cube = np.concatenate([rng.normal(0.2, 0.02, 500), rng.normal(0.8, 0.02, 300)]).astype(np.float32)
    assert 0.25 < otsu_threshold(cube) < 0.75
    assert otsu_threshold(np.full((3, 3, 3), 0.4)) == pytest.approx(0.4)
    with pytest.raises(LatticeError, match="at least one"):
        otsu_threshold(np.zeros(0))


def test_each_separated_ball_is_one_seed() -> None:
    shape = (30, 20, 20)
    inside = ball(shape, (6, 9, 9), 4) | ball(shape, (20, 9, 9), 6)
    seeds = find_seeds(np.where(inside, 0.9, 0.1).astype(np.float32), np.zeros(shape, np.float32), 0.5, 0.5)
    assert np.array_equal(seeds > 0, inside)
    assert seeds.max() == 2 and seeds[6, 9, 9] != seeds[20, 9, 9]


def test_a_touching_pair_is_split_where_the_contour_is() -> None:
    shape = (30, 18, 18)
    inside = ball(shape, (10, 9, 9), 6) | ball(shape, (20, 9, 9), 6)
    height = np.where(inside, 0.9, 0.1).astype(np.float32)
    contour = np.zeros(shape, np.float32)
    assert find_seeds(height, contour, 0.5, 0.5).max() == 1, "without a contour, a touching pair must be one"
    contour[15] = 1
    labels = flood(height, find_seeds(height, contour, 0.5, 0.5), inside)
    assert np.array_equal(labels > 0, inside)
    assert len(np.unique(labels[:15][inside[:15]])) == len(np.unique(labels[16:][inside[16:]])) == 1
    assert labels[10, 9, 9] != labels[20, 9, 9]


def flooded(density: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    members = density > MEMBERS
    seeds = ndimage.label(density > 0.8)[0].astype(np.int32)
    return flood(density, seeds, members), seeds, members


def test_every_member_that_a_seed_can_reach_has_the_label_of_one(peaks: tuple[np.ndarray, np.ndarray]) -> None:
    labels, seeds, members = flooded(peaks[1])
    assert seeds.max() > 5
    pieces = ndimage.label(members)[0]
    reached = np.isin(pieces, np.unique(pieces[seeds > 0])) & members
    assert np.array_equal(labels > 0, reached), "mass is lost or made"
    assert np.array_equal(labels[seeds > 0], seeds[seeds > 0])
    for number in range(1, labels.max() + 1):
        assert ndimage.label(labels == number)[1] == 1, "a flooded region is connected"


def test_flooding_does_not_depend_on_numbers_or_orientation(peaks: tuple[np.ndarray, np.ndarray]) -> None:
    density = peaks[1]
    labels, seeds, members = flooded(density)
    numbers = np.concatenate([[0], 1 + np.random.default_rng(1).permutation(seeds.max())]).astype(np.int32)
    assert np.array_equal(flood(density, numbers[seeds], members), numbers[labels])
    for symmetry in spread_symmetries(48)[1:48:9]:
        turned = flood(*(symmetry.apply(cube) for cube in (density, seeds, members)))
        assert np.array_equal(turned, symmetry.apply(labels))


def test_seeds_are_joined_by_faces_alone_and_thresholds_are_as_stated() -> None:
    inside = np.zeros((6, 6, 6), dtype=bool)
    inside[:3, :3, :3] = inside[3:, 3:, :3] = True  # share an edge
    height, contour = np.where(inside, 0.9, 0.1).astype(np.float32), np.zeros(inside.shape, np.float32)
    seeds = find_seeds(height, contour, 0.5, 0.5)
    assert seeds.max() == 2 and seeds[0, 0, 0] != seeds[5, 5, 0]
    height[3, :3, :3] = 0.9  # a face of both
    assert find_seeds(height, contour, 0.5, 0.5).max() == 1
    # a probability above the first threshold, a contour not above the second
    level = np.float32(0.5)
    assert not find_seeds(np.full_like(height, level), contour, level, 0.5).any()
    assert find_seeds(height, np.full_like(contour, level), 0.1 - 1e-3, level).all()


def test_without_members_or_seeds_there_are_no_labels() -> None:
    cube = np.full((4, 4, 4), 0.2, np.float32)
    nothing = np.zeros(cube.shape, dtype=bool)
    seeds = find_seeds(cube, cube, 0.5, 0.5)
    assert not seeds.any()
    assert not flood(cube, seeds, ~nothing).any()
    assert not flood(cube, np.ones(cube.shape, np.int32), nothing).any()


# ---- stretch


def test_sites_that_stay_are_their_lattice_distance_apart_and_those_that_meet_are_not() -> None:
    still = [np.zeros((9, 9, 9), np.float32)] * 3
    assert np.allclose(stretch(still, 3), np.log1p(3)) and stretch(still, 3).shape == (3, 3, 3)
    contracted = [-0.5 * np.indices((9, 9, 9))[axis].astype(np.float32) for axis in range(3)]
    assert np.allclose(stretch(contracted, 1), np.log1p(0.5))


def test_stretch_is_the_largest_of_six_distances_and_turns_with_the_field() -> None:
    rng = np.random.default_rng(4)
    psi = rng.normal(size=(3, 7, 7, 7)).astype(np.float32)
    ends = psi + np.indices((7, 7, 7))
    own = ends[:, 3, 3, 3]
    there = [ends[:, 2, 3, 3], ends[:, 4, 3, 3], ends[:, 3, 2, 3], ends[:, 3, 4, 3], ends[:, 3, 3, 2], ends[:, 3, 3, 4]]
    expected = np.log1p(max(np.linalg.norm(end - own) for end in there))
    assert stretch(list(psi), 1)[2, 2, 2] == pytest.approx(expected, rel=1e-5)
    symmetry = Symmetry((2, 0, 1), (True, False, True))
    signs = [-1 if flipped else 1 for flipped in symmetry.flips]
    turned = [sign * symmetry.apply(psi[axis]) for sign, axis in zip(signs, symmetry.axes, strict=True)]
    np.testing.assert_allclose(stretch(turned, 1), symmetry.apply(stretch(list(psi), 1)), rtol=1e-5)


# ---- through the predictor


class ContourStandIns(StandIns):
    """A contour where smoothed delta is below another peak's valley: the surface between two climbs."""

    def contour(self, batch: np.ndarray) -> np.ndarray:
        peaks = peak_positions(smoothed(batch[0, ..., 0]))
        owner = (peaks[..., 0] * 1000 + peaks[..., 1]) * 1000 + peaks[..., 2]
        edge = np.zeros(owner.shape, dtype=bool)
        for axis in range(3):
            differ = np.diff(owner, axis=axis) != 0
            low = [slice(None)] * 3
            low[axis] = slice(None, -1)
            edge[tuple(low)] |= differ
            low[axis] = slice(1, None)
            edge[tuple(low)] |= differ
        return edge[self._inner, self._inner, self._inner].astype(np.float32)[None, ..., None]


def watershed_card(**changes: Any) -> ModelCard:
    contour = make_network("contour", side=changes.get("side", 40))
    return make_card(instance=contour, clustering=dict(THRESHOLDS), **changes)


def watershed_predictor(**changes: Any) -> ProtohaloPredictor:
    networks = ContourStandIns()
    return ProtohaloPredictor(watershed_card(**changes), networks.semantic, networks.contour)


def test_a_predicted_box_shifts_with_its_initial_conditions() -> None:
    # cores of 12 in a box of 24: shifts by a core move every crop into another's place
    field, predictor = make_field(24), watershed_predictor(side=28)
    found = predictor.predict(field, progress=False)
    assert found.n_protohalos > 5
    shift = (12, -12, 0)
    moved = predictor.predict(replace(field, delta=field.lattice.shifted(field.delta, shift)), progress=False)
    assert same_partition(moved.labels, field.lattice.shifted(found.labels, shift))


def test_labels_lie_within_the_mask_and_weigh_what_they_hold(tmp_path: Path) -> None:
    field, predictor = make_field(24), watershed_predictor(side=28)
    found = predictor.predict(field, progress=False, store=tmp_path)
    assert not found.labels[~found.mask].any()
    sizes = np.bincount(found.labels.ravel())[1:]
    assert (sizes >= predictor.card.min_sites).all() and found.label_mass[0] == 0
    assert np.allclose(found.label_mass[1:], sizes * found.site_mass_msun)
    again = watershed_predictor(side=28).predict(field, progress=False, store=tmp_path)
    assert np.array_equal(again.labels, found.labels), "finished crops are taken from the store"


# ---- cards and choices


def test_a_card_says_its_method_and_needs_its_settings() -> None:
    card = watershed_card()
    assert (card.method, make_card().method) == ("watershed", "pseudo-space")
    assert ModelCard.from_json(card.to_json()) == card
    with pytest.raises(ModelError, match="unknown keys n_dens, n_ngb, persistence; it may have foreground, contour"):
        replace(card, clustering=make_card().clustering)
    with pytest.raises(ModelError, match="it may have n_dens"):
        make_card(clustering=dict(THRESHOLDS))
    with pytest.raises(ModelError, match="between 0 and 1"):
        replace(card, clustering={"foreground": 0.5, "contour": 1.5})
    with pytest.raises(ModelError, match="must be 'semantic'"):
        replace(card, semantic=make_network("contour"))


def test_weights_of_another_model_are_named_not_pathed_and_verified() -> None:
    planck, folder = registry.load_card(registry.DEFAULT_MODELS["pseudo-space"])
    borrowed = replace(planck.semantic, model=planck.name)
    assert registry.weights_folder(borrowed, "nowhere") == folder
    card = replace(planck, semantic=borrowed, instance=None)
    registry.verify(card, "nowhere")
    assert ModelCard.from_json(card.to_json()) == card
    with pytest.raises(ModelIntegrityError, match="SHA-256"):
        registry.verify(replace(card, semantic=replace(borrowed, sha256="0" * 64)), "nowhere")
    with pytest.raises(ModelIntegrityError, match="'planck-v0', which is not among the bundled ones"):
        registry.verify(replace(card, semantic=replace(borrowed, model="planck-v0")), "nowhere")
    for name in ("../planck-v4", "/etc", "..", "planck-v4/", "a b\n"):
        with pytest.raises(ModelError, match="is no name"):
            replace(borrowed, model=name)


@pytest.mark.parametrize("name", registry.available())
def test_what_a_card_says_of_weights_beside_it_is_what_it_said_before_they_could_be_elsewhere(name: str) -> None:
    card, folder = registry.load_card(name)
    stored, written = (json.loads(text) for text in ((folder / registry.CARD_NAME).read_text("utf-8"), card.to_json()))
    assert all(written[key] == value for key, value in stored.items())
    assert ('"model"' in card.to_json()) == (card.method == "watershed")


def test_the_method_chooses_the_model_and_must_be_its_own() -> None:
    assert PredictionOptions(method="watershed").model == registry.DEFAULT_MODELS["watershed"]
    assert PredictionOptions(method="pseudo-space").model == "planck-v4"
    assert PredictionOptions(method="positions").model == registry.DEFAULT_MODEL
    assert PredictionOptions().model is None
    assert registry.choose_model(None, None) == registry.DEFAULT_MODEL
    assert PredictionOptions("planck-v2", method="pseudo-space").model == "planck-v2"
    with pytest.raises(ModelError, match=r"'planck-v4' has method 'pseudo-space', not 'watershed'; leave"):
        PredictionOptions("planck-v4", method="watershed")
    with pytest.raises(ModelError, match=rf"'planck-v4' .* not 'positions'; .* use model '{registry.DEFAULT_MODEL}'"):
        PredictionOptions("planck-v4", method="positions")
    with pytest.raises(ModelError, match=r"'tiny' has method 'watershed', not 'pseudo-space'"):
        PredictionOptions(predictor=watershed_predictor(), method="pseudo-space")
    assert PredictionOptions(predictor=make_predictor(), method="pseudo-space").model is None
    with pytest.raises(
        ModelError, match="method 'magic' is unknown; use one of positions, pseudo-space, watershed, fof"
    ):
        PredictionOptions(method="magic")


def test_the_command_refuses_a_model_of_another_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from yt_protohalos.cli import main
    from yt_protohalos.cli.common import prediction_options

    ics = Path(registry.__file__).parents[1] / "data" / "music64_gadget2.dat"
    status = main(["find", str(ics), "-o", str(tmp_path), "--method", "watershed", "--model", "planck-v4", "-q"])
    assert status == 2
    assert "has method 'pseudo-space', not 'watershed'" in capsys.readouterr().err
    chosen = SimpleNamespace(
        model=None, method="watershed", threshold=None, precision="auto", on_spacing="warn", on_range="error",
        cache=None, no_cache=True, resolution=None,
    )  # fmt: skip
    assert PredictionOptions(**prediction_options(chosen)).model == "watershed-v1"


@pytest.mark.slow
def test_the_bundled_watershed_model_loads_and_finds_contours() -> None:
    card, folder = registry.load_card(registry.DEFAULT_MODELS["watershed"])
    registry.verify(card, folder)
    planck = registry.load_card(registry.DEFAULT_MODELS["pseudo-space"])[0]
    assert card.method == "watershed" and card.semantic.model == planck.name
    assert card.semantic.sha256 == planck.semantic.sha256
    assert (card.threshold, card.calibration) == (planck.threshold, planck.calibration)
    network = card.instance_network()
    assert (folder / network.weights).stat().st_size <= 200_000
    small = replace(network, architecture={**network.architecture, "side": 32})
    output = np.asarray(load_model(small, folder, "float32")(np.zeros((1, 32, 32, 32, len(network.channels)))))
    assert output.shape == (1, 16, 16, 16, 1) and 0 <= output.min() <= output.max() <= 1
    assert card.spacing == SPACING
