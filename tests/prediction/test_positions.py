"""Laws of the position network in use, with a stand-in that calls every site of a group a member and moves it there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from position_standins import CHANNELS, CLUSTERING, MARGIN, SMALLEST, Groups, position_card
from standins import make_card, make_field, make_network, same_partition

import yt_protohalos as ph
from yt_protohalos.exceptions import ModelError
from yt_protohalos.fields.particle_mesh import FAST
from yt_protohalos.models.channels import FINAL_CHANNELS, GROUP_CENTRE, ModelInput
from yt_protohalos.models.registry import file_sha256, write_card
from yt_protohalos.prediction.evolved_channels import evolve_with_channels
from yt_protohalos.prediction.model_crops import ModelCrops
from yt_protohalos.prediction.position_predictor import PositionPredictor
from yt_protohalos.segmentation.friends_of_friends import friends_of_friends
from yt_protohalos.segmentation.labels import relabel_by_size

N = 32


@pytest.fixture(scope="module")
def field():
    return make_field(N)


@pytest.fixture(scope="module")
def evolved(field):
    return evolve_with_channels(field, FAST)


@pytest.fixture(scope="module")
def prediction(field):
    return PositionPredictor(position_card(), Groups(), None).predict(field, progress=False, on_range="allow")


def test_channels_are_of_the_groups_and_densities_of_the_final_positions(field, evolved):
    assert set(FINAL_CHANNELS) < set(evolved.channels)
    sites = np.indices(field.lattice.shape)
    points = (sites + evolved.displacement).reshape(3, -1).T.astype(np.float32)
    groups = friends_of_friends(points, float(N), 0.25)
    sizes = np.bincount(groups, minlength=N**3)[groups]
    assert np.allclose(10 ** evolved.channels["group_size"].ravel().astype(float), sizes, rtol=0.01)
    one = np.flatnonzero(groups == np.argmax(np.bincount(groups)))
    centres = points[one] + np.stack([evolved.channels[name].ravel()[one] for name in GROUP_CENTRE], axis=-1)
    apart = centres - centres[0]
    assert np.abs(apart - N * np.round(apart / N)).max() < 0.02, "all sites of a group point to one centre"
    dense = evolved.channels["mesh_density"].astype(float)
    assert np.corrcoef(dense.ravel(), np.log10(sizes))[0, 1] > 0.7


def test_channels_do_not_depend_on_the_place_of_the_box(field, evolved):
    moved = replace(
        field, delta=np.roll(field.delta, (3, 5, 7), (0, 1, 2)), phi=np.roll(field.phi, (3, 5, 7), (0, 1, 2))
    )
    channels = evolve_with_channels(moved, FAST).channels
    for name, cube in evolved.channels.items():
        # roundings of the force change single links
        same = np.isclose(np.roll(cube, (3, 5, 7), (0, 1, 2)), channels[name], rtol=0.02, atol=0.05)
        assert same.mean() > 0.97, name


def test_protohaloes_are_the_groups_that_the_network_names(field, evolved, prediction):
    points = (np.indices(field.lattice.shape) + evolved.displacement).reshape(3, -1).T.astype(np.float32)
    groups = relabel_by_size(friends_of_friends(points, float(N), 0.25).reshape(field.lattice.shape) + 1, SMALLEST)
    assert prediction.n_protohalos == groups.max() > 5
    assert same_partition(prediction.labels, groups)
    assert np.array_equal(prediction.mask, groups > 0)
    assert prediction.card.method == "positions"


def test_cores_tile_the_box_once_with_crops_of_any_side(field):
    network = Groups()
    PositionPredictor(position_card(core=16), network, None).predict(field, progress=False, on_range="allow")
    assert network.crops == 8
    for n in (20, 32, 50):
        covered = np.zeros((n, n, n), dtype=int)
        for crop in ModelCrops.of_box(position_card(core=16), n).semantic:
            assert crop.side % 2 == 0 and crop.side - 2 * MARGIN >= max(crop.core_shape)
            x, y, z = (
                np.arange(first, first + sites) % n
                for first, sites in zip(crop.core_start, crop.core_shape, strict=True)
            )
            covered[np.ix_(x, y, z)] += 1
        assert (covered == 1).all()


def test_a_region_shows_the_protohaloes_of_the_box_cut_at_its_faces(field, prediction):
    predictor = PositionPredictor(position_card(), Groups(), None)
    region = ph.Region((2, 2, 2), side=3.125)
    part = predictor.predict_region(field, region, progress=False, on_range="allow")
    cut = field.lattice.crop(prediction.labels, part.start, part.labels.shape)
    assert same_partition(part.labels, cut)
    assert part.touches_border.any()


def test_a_run_that_was_interrupted_takes_finished_crops_from_the_store(field, prediction, tmp_path):
    class Stopping(Groups):
        def __call__(self, batch):
            if self.crops == 3:
                raise KeyboardInterrupt
            return super().__call__(batch)

    with pytest.raises(KeyboardInterrupt):
        PositionPredictor(position_card(), Stopping(), None).predict(
            field, progress=False, store=tmp_path, on_range="allow"
        )
    network = Groups()
    again = PositionPredictor(position_card(), network, None).predict(
        field, progress=False, store=tmp_path, on_range="allow"
    )
    assert network.crops == 5
    assert np.array_equal(again.labels, prediction.labels)


def test_a_prediction_is_saved_and_read_with_its_card(prediction, tmp_path):
    prediction.save(tmp_path / "prediction.h5")
    read = ph.Prediction.load(tmp_path / "prediction.h5")
    assert read.card == prediction.card and read.card.evolution == "fast"
    assert np.array_equal(read.labels, prediction.labels)


def test_a_model_of_a_folder_is_loaded_with_the_predictor_of_its_method(field, tmp_path):
    from yt_protohalos.models.position_network import build_position_network

    card = position_card()
    network = build_position_network(None, len(CHANNELS), margin=MARGIN, filters=(2, 4))
    network.save_weights(tmp_path / card.semantic.weights)
    semantic = replace(card.semantic, sha256=file_sha256(tmp_path / card.semantic.weights))
    write_card(replace(card, semantic=semantic), tmp_path)
    predictor = ph.ProtohaloPredictor.from_pretrained(tmp_path, precision="float32")
    assert isinstance(predictor, PositionPredictor)
    probability = predictor.probability(field, progress=False)
    assert probability.shape == field.lattice.shape and 0 < probability.min() < probability.max() < 1


def test_cards_of_other_networks_or_evolutions_are_refused(field):
    for changes, message in (
        ({"evolution": "coarse"}, "evolution 'coarse' is not for these networks"),
        ({"instance": make_network("instance", 24, MARGIN)}, "separates haloes by itself"),
        ({"clustering": {**CLUSTERING, "min_core": 0}}, "min_core"),
        ({"symmetries": 2}, "symmetries 2 are not for a position network"),
    ):
        with pytest.raises(ModelError, match=message):
            position_card(**changes)
    with pytest.raises(ModelError, match="evolution 'fast' is not for these networks"):
        make_card(evolution="fast")
    with pytest.raises(ModelError, match="lacks the channels group_size"):
        ModelInput(field, ph.FriendsOfFriendsPredictor().predict(field, progress=False).evolved).crop(
            ("group_size",), (0, 0, 0), 8
        )
