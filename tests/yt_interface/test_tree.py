"""Progenitors: links follow the sites, conserve them, and make trees that ytree reads."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import yt
from yt_fakes import BOX, FakePredictor, N, write_fake_model

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.catalog.progenitors import link_labels
from yt_protohalos.exceptions import CatalogError, OutOfRangeError
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.segmentation.labels import relabel_by_size

yt.set_log_level("error")
REDSHIFTS = (0.0, 0.25, 0.5)
WIDE = (0.4, 1.1)


def cube(sites: dict[int, list[int]]) -> np.ndarray:
    """Labels (4, 4, 4) from the flat sites of each."""
    labels = np.zeros(64, dtype=np.int32)
    for label, where in sites.items():
        labels[where] = label
    return labels.reshape(4, 4, 4)


def random_labels(seed: int, count: int = 7) -> np.ndarray:
    return relabel_by_size(np.random.default_rng(seed).integers(0, count, (6, 6, 6)))


@pytest.fixture(scope="module")
def ics(tmp_path_factory):
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    ph.generate_initial_conditions(N, BOX, seed=11, filename=path)
    return str(path)


@pytest.fixture(scope="module")
def stack(ics):
    ds, predictor = ph.load(ics), FakePredictor(amplitude_range=WIDE)
    return [ph.predict(ds, predictor=predictor, cache=False, redshift=z, progress=False) for z in REDSHIFTS]


@pytest.fixture(scope="module")
def tree(ics, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    predictor = FakePredictor(amplitude_range=WIDE)
    return ph.progenitor_tree(ph.load(ics), REDSHIFTS, folder, predictor=predictor, cache=False, progress=False)


def test_a_protohalo_becomes_the_one_that_holds_most_of_it():
    earlier = cube({1: [0, 1, 2, 3, 4], 2: [10, 11, 12, 13], 3: [20, 21, 22], 4: [30, 31]})
    later = cube({1: [0, 1, 2, 40, 41, 42], 2: [3, 4, 10, 11, 22], 3: [12, 13, 31]})
    descendant, shared = link_labels(earlier, later)
    # 1: three sites against two; 2: two against two, the larger counts; 3: most are in none; 4: a tie with none
    assert descendant.tolist() == [0, 1, -1, 2]
    assert shared.tolist() == [3, 2, 0, 1]
    assert [part.tolist() for part in link_labels(np.zeros_like(earlier), later)] == [[], []]
    assert link_labels(earlier, np.zeros_like(later))[0].tolist() == [-1] * 4


@pytest.mark.parametrize("seed", range(4))
def test_links_conserve_sites_whatever_the_order_of_the_sites(seed):
    earlier, later = random_labels(seed), random_labels(seed + 100)
    descendant, shared = link_labels(earlier, later)
    sizes, sizes_later = np.bincount(earlier.ravel())[1:], np.bincount(later.ravel())[1:]
    linked = descendant >= 0
    assert np.all(shared <= sizes) and np.all((shared > 0) == linked)
    arrived = np.bincount(descendant[linked], weights=shared[linked], minlength=len(sizes_later))
    assert np.all(arrived <= sizes_later), "no site arrives twice"
    common = [[np.count_nonzero((earlier == i + 1) & (later == j)) for j in range(8)] for i in range(len(sizes))]
    for i, row in enumerate(common):
        assert sum(row) == sizes[i]
        assert max(row) == (shared[i] if linked[i] else row[0])
    order = np.random.default_rng(seed).permutation(earlier.size)
    moved = link_labels(earlier.ravel()[order].reshape(6, 6, 6), later.ravel()[order].reshape(6, 6, 6))
    assert np.array_equal(moved[0], descendant) and np.array_equal(moved[1], shared)


def test_identical_levels_link_one_to_one():
    labels = random_labels(1)
    descendant, shared = link_labels(labels, labels)
    assert np.array_equal(descendant, np.arange(labels.max()))
    assert np.array_equal(shared, np.bincount(labels.ravel())[1:])


def test_a_stack_is_ordered_by_redshift_and_walked_along_its_largest_progenitors(stack):
    links = ph.progenitor_links(stack[::-1])
    assert links.redshifts == (0.5, 0.25, 0.0)
    for level, prediction in enumerate(stack[::-1]):
        assert np.array_equal(links.n_sites[level], prediction.sizes[1:])
    assert set(links.descendant[-1]) == {-1} and not links.shared[-1].any()
    again = ph.progenitor_links([stack[1], stack[0], stack[2]])
    assert all(np.array_equal(a, b) for a, b in zip(links.descendant, again.descendant, strict=True))
    trunk = links.trunk(0)
    assert len(trunk) == 3
    for step, identifier in enumerate(trunk[1:], 1):
        level = 2 - step
        assert links.descendant[level][identifier] == trunk[step - 1]
        others = links.progenitors(level + 1, int(trunk[step - 1]))
        assert links.n_sites[level][others].max() == links.n_sites[level][identifier]
    assert links.progenitors(0, 0).size == 0 and links.trunk(0, level=0).tolist() == [0]
    with pytest.raises(CatalogError, match="no protohalo 999 at z = 0"):
        links.trunk(999)
    with pytest.raises(CatalogError, match="levels 0 to 2"):
        links.progenitors(3, 0)


def test_a_stack_needs_two_redshifts_of_one_box(stack, ics, tmp_path):
    for few in ([], stack[:1], [stack[0], stack[0]]):
        with pytest.raises(CatalogError, match="two or more different"):
            ph.progenitor_links(few)
    other = ph.generate_initial_conditions(12, BOX / 2, seed=1)
    small = FakePredictor().predict(other.at_redshift(0.1), progress=False)
    with pytest.raises(CatalogError, match="2 lattices"):
        ph.progenitor_links([stack[0], small])
    ds, predictor = ph.load(ics), FakePredictor()
    with pytest.raises(CatalogError, match="beside redshifts"):
        ph.progenitor_tree(ds, REDSHIFTS, tmp_path, predictor=predictor, redshift=0.5)
    with pytest.raises(OutOfRangeError, match=r"at z = 0\.5"):
        ph.progenitor_tree(ds, REDSHIFTS, tmp_path, predictor=predictor)
    assert predictor.runs == 0, "all redshifts are checked before the first runs"
    assert list(tmp_path.iterdir()) == []


def test_the_tree_holds_the_links_of_the_stack(tree, stack):
    links = ph.progenitor_links(stack)
    assert tree.links.redshifts == links.redshifts
    for name in ("n_sites", "descendant", "shared"):
        for a, b in zip(getattr(tree.links, name), getattr(links, name), strict=True):
            assert np.array_equal(a, b)
    names = sorted(path.name for path in tree.path.parent.iterdir())
    assert names == ["tree_0000.0.h5", "tree_0001.0.h5", "tree_0002.0.h5"] and tree.path.name == names[-1]
    with h5py.File(tree.path.parent / "tree_0000.0.h5") as file:
        assert file.attrs["current_redshift"] == 0.5 and "particles" not in file
        assert np.array_equal(file["descendent_identifier"][()], links.descendant[0])
        assert np.array_equal(file["shared_sites"][()], links.shared[0])


def test_ytree_walks_the_tree(tree, stack):
    ytree = pytest.importorskip("ytree", reason="needs ytree")
    links = tree.links
    arbor = ytree.load(str(tree.path))
    assert float(arbor.box_size.to("Mpc/h")) == pytest.approx(BOX)
    roots = [root for root in arbor[:] if float(root["redshift"]) == 0]
    assert len(roots) == stack[0].n_protohalos
    for root in roots[:5]:
        identifier = int(root["halo_id"])
        trunk = links.trunk(identifier)
        assert root["prog", "halo_id"].astype(int).tolist() == trunk.tolist()
        levels = range(len(links) - 1, len(links) - 1 - len(trunk), -1)
        sites = [int(links.n_sites[level][i]) for level, i in zip(levels, trunk, strict=True)]
        assert root["prog", "n_sites"].astype(int).tolist() == sites
        np.testing.assert_allclose(root["prog", "mass"].to_value("Msun"), np.array(sites) * stack[0].site_mass_msun)
        np.testing.assert_allclose(root["prog", "redshift"], [links.redshifts[level] for level in levels])
    # the stand-in's objects are basins above a level, which rises as time goes back
    grown = roots[0]["prog", "mass"].to_value("Msun")
    assert len(grown) == 3 and np.all(np.diff(grown) < 0)
    # every protohalo is in the forest once
    nodes = sum(root["tree", "mass"].size for root in arbor[:])
    assert nodes == sum(len(sizes) for sizes in links.n_sites)


def test_yt_and_ytree_agree_on_every_level(tree, ics):
    ytree = pytest.importorskip("ytree", reason="needs ytree")
    ds, predictor = ph.load(ics), FakePredictor(amplitude_range=WIDE)
    arbor = ytree.load(str(tree.path))
    found = {z: {} for z in REDSHIFTS}
    for root in arbor[:]:
        for node in root["tree"]:
            found[float(node["redshift"])][int(node["halo_id"])] = node
    for number, z in enumerate(sorted(REDSHIFTS, reverse=True)):
        level = yt.load(str(tree.path.parent / f"tree_{number:04d}.0.h5"))
        assert level.current_redshift == z
        np.testing.assert_allclose(level.domain_width.to_value("Mpccm/h"), BOX, rtol=1e-6)
        halos = level.all_data()
        prediction = ph.predict(ds, predictor=predictor, cache=False, redshift=z, progress=False)
        catalog = ph.protohalo_catalog(prediction, ph.linear_field(ds))
        order = halos["halos", "particle_identifier"].v.astype(int)
        assert sorted(order) == list(range(len(catalog))) == sorted(found[z])
        position = halos["halos", "particle_position_x"].to_value("Mpccm/h")
        np.testing.assert_allclose(position, catalog.position[order, 0], rtol=1e-5)
        radius = halos["halos", "virial_radius"].to_value("Mpccm/h")
        np.testing.assert_allclose(radius, catalog.radius_200m[order], rtol=1e-5)
        for identifier in (0, len(catalog) - 1):
            node = found[z][identifier]
            x = float(node["position_x"].to("unitary")) * BOX
            assert x == pytest.approx(catalog.position[identifier, 0], rel=1e-5)
            assert float(node["virial_radius"].to("Mpc/h")) == pytest.approx(catalog.radius_200m[identifier], rel=1e-5)
            assert float(node["velocity_x"].to("km/s")) == pytest.approx(catalog.velocity[identifier, 0], rel=1e-4)


def test_levels_without_protohalos_are_ends_of_branches(ics, tmp_path):
    ytree = pytest.importorskip("ytree", reason="needs ytree")
    # nothing is above this level at z = 3
    predictor = FakePredictor(level=2.5, amplitude_range=(0.1, 1.1))
    tree = ph.progenitor_tree(ph.load(ics), (0, 3), tmp_path, predictor=predictor, cache=False, progress=False)
    assert len(tree.links.n_sites[0]) == 0 < len(tree.links.n_sites[1])
    arbor = ytree.load(str(tree.path))
    assert arbor.size == len(tree.links.n_sites[1])
    assert all(root["prog", "mass"].size == 1 for root in arbor[:])
    with pytest.raises(CatalogError, match="no protohalo was found at z = 3"):
        ph.progenitor_tree(ph.load(ics), (3, 4), tmp_path, predictor=predictor, cache=False, progress=False)
    assert len(list(tmp_path.iterdir())) == 2, "the tree that was there is whole"


def test_the_command_resumes_and_replaces(ics, tmp_path, monkeypatch, capsys):
    runs = []

    class Counting(FakePredictor):
        def predict(self, field, **settings):
            if len(runs) == 2 and "stop" in settings_of_test:
                raise KeyboardInterrupt
            runs.append(field.target_redshift)
            return super().predict(field, **settings)

    settings_of_test = {"stop"}
    monkeypatch.setattr(ProtohaloPredictor, "from_pretrained", lambda name, precision="auto": Counting())
    monkeypatch.setenv("YT_PROTOHALOS_CACHE", str(tmp_path / "cache"))
    model = str(write_fake_model(tmp_path / "model"))
    arguments = [
        "tree",
        ics,
        "--redshifts",
        "0",
        "0.1",
        "0.2",
        "0.3",
        "-o",
        str(tmp_path / "out"),
        "--model",
        model,
        "-q",
    ]
    assert cli.main(arguments) == cli.INTERRUPTED
    assert runs == [0.3, 0.2] and list((tmp_path / "out").iterdir()) == []
    settings_of_test.clear()
    assert cli.main(arguments) == 0
    assert runs == [0.3, 0.2, 0.1, 0.0], "what was predicted is not predicted again"
    text = capsys.readouterr().out
    assert "redshift   protohalos   linked   sites kept" in text and "tree_0003.0.h5 and 3 more" in text
    assert len(list((tmp_path / "out").iterdir())) == 4
    # a smaller tree leaves nothing of a larger one
    arguments[3:7] = ["0", "0.3"]
    assert cli.main(arguments) == 0 and len(runs) == 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tree_0000.0.h5", "tree_0001.0.h5"]
    arguments[3:5] = ["0", "5"]
    assert cli.main(arguments) == cli.USER_ERROR
    assert "it is valid up to z = 0.3" in capsys.readouterr().err


def test_what_ytree_says_of_a_catalogue_is_among_the_messages_and_leads_to_a_tree():
    ytree = pytest.importorskip("ytree", reason="needs ytree")
    here = Path(__file__).parents[1]
    with pytest.raises(TypeError) as error:
        ytree.load(str(here / "data" / "stored" / "0.1.0" / "protohalos.0.h5"))
    page = " ".join((here.parent / "docs" / "troubleshooting.md").read_text().split())
    assert "`progenitor_tree`" in page[page.index(f"TypeError: {error.value}") :][:300]
