"""Laws of one protohalo in 3-D: the drawn surface encloses its sites, in one piece, wherever it lies in the box."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from yt_fakes import BOX, FakePredictor, N

import yt_protohalos as ph
from yt_protohalos.analysis.plots import free_faces, plot_object, unwrapped
from yt_protohalos.exceptions import CatalogError, LatticeError

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def prediction():
    return FakePredictor().predict(ph.generate_initial_conditions(N, BOX, seed=11), progress=False)


@pytest.mark.parametrize("shift", [(0, 0, 0), (5, 19, 23), (-1, -2, -3)])
def test_unwrapped_sites_are_a_shift_of_the_same_body(prediction, shift):
    n = prediction.lattice.n
    sites = np.argwhere(prediction.labels == 1)
    here, there = unwrapped(sites, n), unwrapped((sites + shift) % n, n)
    assert np.array_equal(here % n, sites)
    assert np.all(here.min(axis=0) < n)
    assert np.array_equal(here - here.min(axis=0), there - there.min(axis=0))


def test_the_frame_is_the_smallest():
    n = 10
    for start in range(n):
        sites = (start + np.array([[0, 1, 4]]).T + np.zeros((1, 3), dtype=int)) % n
        assert np.ptp(unwrapped(sites, n), axis=0).tolist() == [4, 4, 4]


def test_the_free_faces_of_a_brick_are_its_surface():
    sites = np.argwhere(np.ones((2, 3, 5)))
    faces = free_faces(sites)
    assert len(faces) == 2 * (6 + 10 + 15)
    assert faces.min(axis=(0, 1)).tolist() == [-0.5] * 3
    assert faces.max(axis=(0, 1)).tolist() == [1.5, 2.5, 4.5]


def test_the_surface_encloses_the_sites():
    """Gauss: the flux of r through a closed surface whose faces all look outwards is three times the volume."""
    for seed in range(3):
        sites = np.argwhere(np.random.default_rng(seed).random((6, 7, 8)) < 0.4) - 3
        faces = free_faces(sites)
        normal = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 1])
        np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1)
        np.testing.assert_allclose(np.sum(faces.mean(axis=1) * normal), 3 * len(sites))


def test_the_picture_shows_the_body_and_its_outline(prediction):
    figure = plot_object(prediction, 2)
    body, ax = figure.axes[:2]
    (solid,) = body.collections
    sites = np.argwhere(prediction.labels == 3)
    assert len(solid.get_facecolor()) == len(free_faces(unwrapped(sites, N)))
    # the default plane is the one with most of its sites
    plane = int(np.bincount(sites[:, 2]).argmax())
    assert ax.get_title() == f"z = {(plane + prediction.site_offset) * BOX / N:.2f} Mpc/h"
    own = prediction.labels[:, :, plane] == 3
    changes = np.count_nonzero(own[1:] != own[:-1]) + np.count_nonzero(own[:, 1:] != own[:, :-1])
    assert [len(lines.get_segments()) for lines in ax.collections[1:]] == [changes, changes]
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert len(stream.getvalue()) > 10_000


def test_objects_and_planes_that_do_not_exist_are_refused(prediction):
    with pytest.raises(CatalogError, match="identifiers run from 0"):
        plot_object(prediction, prediction.n_protohalos)
    with pytest.raises(LatticeError, match="use x, y or z"):
        plot_object(prediction, 0, axis="w")
