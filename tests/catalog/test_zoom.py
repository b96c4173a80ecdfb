"""Zoom regions hold what they must, know periodic faces, and are written as MUSIC reads them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_boxes import box_labels, predicted
from scipy import ndimage
from unyt import unyt_quantity

from yt_protohalos import cli
from yt_protohalos.catalog.bounding import convex_hull, minimum_ellipsoid
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.catalog.zoom import zoom_region
from yt_protohalos.exceptions import CatalogError, RegionError, StoreError, UnitsError

N = 20
SHIFTS = st.tuples(*(st.integers(-N, N),) * 3)


def blob(seed: int) -> np.ndarray:
    """A rugged region of about 8 sites across, label 1, in the middle of the box, with sites of label 2 around it."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(N, N, N)), 1)
    away = np.linalg.norm(np.indices((N, N, N)) - N // 2, axis=0)
    labels = (noise / noise.std() + 3 - away > 0).astype(np.int32)
    labels[0, 0, :3] = 2
    return labels


def music_reads(path) -> np.ndarray:
    """Points as the reader of MUSIC takes them: nearest image to the first."""
    points = np.array([[float(word) for word in line.split(" ")] for line in path.read_text().splitlines()])
    apart = points - points[0]
    return points[0] + np.where(apart < -0.5, apart + 1, np.where(apart > 0.5, apart - 1, apart))


def as_sites(points, offset) -> set:
    """Lattice sites of points in units of the box."""
    return {tuple(site) for site in np.rint(points * N - offset).astype(int) % N}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), whole=st.booleans())
def test_integer_points_of_a_hull_are_those_that_it_contains(seed, whole):
    """Points on faces too, of hulls with integer vertices, and faces that stand upright."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-4, 6, (rng.integers(5, 20), 3))
    hull = convex_hull(np.rint(points) if whole else points)
    grid = np.stack(np.meshgrid(*[np.arange(-6, 9)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    assert hull.count_integer_points() == np.count_nonzero(hull.contains(grid.astype(float)))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), padding=st.sampled_from([0, 1, 1.5, 2.9]))
def test_every_point_is_inside_hull_and_ellipsoid_and_members_are_among_them(seed, padding):
    region = zoom_region(predicted(blob(seed), site_offset=0.5), 0, padding)
    assert region.hull.contains(region.points).all() and region.ellipsoid.contains(region.points).all()
    members = {tuple(site) for site in np.argwhere(blob(seed) == 1)}
    assert members <= as_sites(region.points, 0.5)
    assert region.n_members == len(members)
    assert len(region.points) == region.enclosed["region"] <= region.enclosed["convex_hull"]
    # an ellipsoid may cut the corners of a hull between sites, but not its volume
    assert region.volumes["convex_hull"] < region.volumes["ellipsoid"] < 27 * region.volumes["convex_hull"]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), shift=SHIFTS, padding=st.sampled_from([0, 1.5]))
def test_regions_move_with_the_box(seed, shift, padding):
    labels = blob(seed)
    here = zoom_region(predicted(labels), 0, padding)
    moved = predicted(labels)
    there = zoom_region(predicted(moved.lattice.shifted(labels, shift)), 0, padding)
    np.testing.assert_allclose(there.points - there.points[0], here.points - here.points[0], atol=1e-12)
    np.testing.assert_array_equal(there.sites, (here.sites + shift) % N)
    assert np.all((there.points[0] >= 0) & (there.points[0] < 1))
    assert there.enclosed == here.enclosed
    np.testing.assert_allclose(there.ellipsoid.matrix, here.ellipsoid.matrix, rtol=1e-9)
    np.testing.assert_allclose(there.hull.vertices - there.points[0], here.hull.vertices - here.points[0], atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), padding=st.floats(0, 3.5))
def test_padding_is_all_within_its_distance(seed, padding):
    labels = blob(seed)
    labels[10, 10, 14] = 1
    region = zoom_region(predicted(labels), 0, padding)
    apart = ndimage.distance_transform_edt(np.pad(labels != 1, N, mode="wrap"))[N:-N, N:-N, N:-N]
    expected = {tuple(site) for site in np.argwhere(apart <= padding + 1e-6)}
    assert {tuple(site) for site in region.sites} == expected


@pytest.mark.parametrize("start", [(3, 4, 5), (17, 18, 19), (-2, 18, 0)])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_the_file_encloses_exactly_the_members_as_music_reads_it(start, offset, tmp_path):
    labels = box_labels(N, (4, 5, 6), start)
    region = zoom_region(predicted(labels, site_offset=offset), 0, padding=0)
    region.write(tmp_path / "points.txt")
    read = music_reads(tmp_path / "points.txt")
    np.testing.assert_allclose(np.ptp(read, axis=0) * N, [3, 4, 5], atol=0.01)
    # the middle and the corners, no four of which lie in a plane: MUSIC's hull fails for many that do
    corners = read[1:]
    assert as_sites(read, offset) < {tuple(site) for site in np.argwhere(labels)} and len(corners) == 8
    for face in (corners[:, axis] < corners[:, axis].mean() for axis in range(3)):
        assert np.linalg.matrix_rank(corners[face] - corners[face][0], tol=1e-7) == 3
    np.testing.assert_array_equal(read[0], np.round(region.points[0], 10))
    assert convex_hull(read).contains(region.points).all()
    np.testing.assert_allclose(region.hull.volume * N**3, 3 * 4 * 5)
    assert region.enclosed["convex_hull"] == region.enclosed["region"] == 120
    # the ellipsoid of least volume around a brick has semi-axes sqrt(3) / 2 times its sides
    np.testing.assert_allclose(region.ellipsoid.semi_axes * N, np.sqrt(3) / 2 * np.array([5, 4, 3]), rtol=1e-4)


def test_volumes_and_particles_of_a_brick():
    region = zoom_region(predicted(box_labels(N, (4, 5, 6), (1, 2, 3)), spacing=0.5), 0, padding=0)
    np.testing.assert_allclose(region.volumes["region"], 120 * 0.125)
    np.testing.assert_allclose(region.volumes["convex_hull"], 60 * 0.125)
    assert region.particles(2)["region"] == 120 * 64 and region.particles(0)["convex_hull"] == 60
    with pytest.raises(RegionError, match="levels -1"):
        region.particles(-1)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 20))
def test_the_ellipsoid_follows_linear_maps_and_is_the_least(seed, stretch):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(40, 3))
    found = minimum_ellipsoid(points)
    assert found.contains(points).all()
    matrix = rng.normal(size=(3, 3)) + np.diag([stretch, 1, 2])
    mapped = minimum_ellipsoid(points @ matrix.T + 3)
    np.testing.assert_allclose(mapped.volume, found.volume * abs(np.linalg.det(matrix)), rtol=1e-4)
    hull = convex_hull(points)
    np.testing.assert_allclose(minimum_ellipsoid(hull.vertices).volume, found.volume, rtol=1e-4)
    assert hull.contains(points).all() and not hull.contains(points.mean(axis=0)[None] + 100).any()


def test_flat_wide_and_unknown_are_refused():
    flat = predicted(box_labels(N, (4, 4, 1), (0, 0, 0)))
    with pytest.raises(RegionError, match="in one plane"):
        zoom_region(flat, 0, padding=0)
    assert len(zoom_region(flat, 0, padding=1).points) > 16
    with pytest.raises(RegionError, match="half of the box"):
        zoom_region(predicted(box_labels(N, (14, 3, 3), (0, 0, 0))), 0, padding=3)
    with pytest.raises(RegionError, match="33 sites wide"):
        zoom_region(predicted(box_labels(N, (15, 3, 3), (0, 0, 0))), 0, padding=9)
    with pytest.raises(RegionError, match="use less padding"):
        zoom_region(predicted(np.ones((N, N, N))), 0, padding=0)
    with pytest.raises(CatalogError, match="from 0 to 0"):
        zoom_region(flat, 1)
    with pytest.raises(CatalogError, match="none at all"):
        zoom_region(predicted(np.zeros((N, N, N))), 0)
    with pytest.raises(RegionError, match="padding -1"):
        zoom_region(flat, 0, padding=-1)
    for padding in ("3 miles", (2, "Msun"), "wide"):
        with pytest.raises(UnitsError, match="padding = "):
            zoom_region(flat, 0, padding)
    with pytest.raises(RegionError, match="'box' is unknown"):
        zoom_region(flat, 0).music_lines("points.txt", "box")


def test_padding_in_units_of_length_and_sources_agree():
    prediction = predicted(blob(1), spacing=0.5, site_offset=0.5)
    by_length = zoom_region(prediction, 0, "1 Mpc/h")
    for source in (prediction, protohalo_catalog(prediction)):
        for padding in (2, "2 sites", (2, "sites"), "2", "1 Mpc/h", (1000.0, "kpccm/h")):
            np.testing.assert_array_equal(zoom_region(source, 0, padding).points, by_length.points)
    h = prediction.cosmology.h
    np.testing.assert_array_equal(zoom_region(prediction, 0, unyt_quantity(1 / h, "Mpc")).points, by_length.points)


def test_a_region_is_described_in_a_few_lines():
    text = repr(zoom_region(predicted(blob(1), spacing=0.5), 0, 2))
    assert len(text.splitlines()) <= 6
    assert all(part in text for part in ("protohalo 0", "2 sites, 1 Mpc/h", "convex_hull"))


def test_music_lines_describe_the_ellipsoid():
    region = zoom_region(predicted(blob(2)), 0)
    lines = region.music_lines("run/points.txt", "ellipsoid").splitlines()
    assert lines[:3] == ["[setup]", "region            = ellipsoid", "region_point_file = run/points.txt"]
    rows = [[float(number) for number in line.split("=")[1].split(",")] for line in lines[4:]]
    np.testing.assert_allclose(rows[:3], region.ellipsoid.matrix, rtol=1e-6)
    np.testing.assert_allclose(rows[3], region.ellipsoid.center, rtol=1e-6)
    assert all(line.startswith("#") for line in lines[3:])
    assert "region            = convex_hull" in region.music_lines("points.txt")


# what follows goes through files


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Folder with a catalogue and its prediction, and what made them."""
    import yt_fakes as fakes

    import yt_protohalos as ph

    folder = tmp_path_factory.mktemp("found")
    ph.generate_initial_conditions(fakes.N, fakes.BOX, seed=11, filename=folder / "ics.hdf5")
    ds = ph.load(folder / "ics.hdf5")
    catalog = ph.find_protohalos(ds, folder / "out", predictor=fakes.FakePredictor(), cache=False, progress=False)
    prediction = ph.predict(ds)
    prediction.save(folder / "out" / "prediction.h5")
    return folder / "out", catalog, prediction


def copied(found, folder, change=None, prediction=True):
    """The stored catalogue elsewhere, altered, with or without its prediction beside it."""
    import shutil

    folder.mkdir()
    for name in ("protohalos.0.h5", *(["prediction.h5"] if prediction else [])):
        shutil.copy(found[0] / name, folder / name)
    if change is not None:
        with h5py.File(folder / "protohalos.0.h5", "a") as file:
            change(file)
    return folder


def forget_sites(file):
    del file["particles/member_sites"]


def test_files_give_the_same_points_as_the_prediction(found, tmp_path):
    folder, catalog, prediction = found
    expected = zoom_region(prediction, 1)
    older = copied(found, tmp_path / "older", forget_sites)
    sources = [folder, str(folder), folder / "prediction.h5", folder / "protohalos.0.h5", catalog, older]
    for source in sources:
        np.testing.assert_allclose(zoom_region(source, 1).points, expected.points, atol=1e-12)
        with pytest.raises(CatalogError, match=f"run from 0 to {prediction.n_protohalos - 1}"):
            zoom_region(source, prediction.n_protohalos)


def test_files_that_do_not_tell_the_sites_say_how_to_make_some_that_do(found, tmp_path):
    alone = copied(found, tmp_path / "alone", forget_sites, prediction=False)
    with pytest.raises(CatalogError, match="run `protohalos find` again"):
        zoom_region(alone, 0)

    def other(file):
        forget_sites(file)
        file["particle_number"][0] += 1

    with pytest.raises(CatalogError, match="not the prediction of the catalogue"):
        zoom_region(copied(found, tmp_path / "other", other), 0)

    def foreign(file):
        del file.attrs["sites_per_side"]

    with pytest.raises(CatalogError, match="without lattice sites"):
        zoom_region(copied(found, tmp_path / "foreign", foreign), 0)
    two = copied(found, tmp_path / "two")
    (two / "more.0.h5").write_bytes(b"")
    with pytest.raises(CatalogError, match="holds 2 catalogues"):
        zoom_region(two, 0)
    with pytest.raises(StoreError, match="does not exist"):
        zoom_region(tmp_path / "nowhere", 0)
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(StoreError, match="cannot be read"):
        zoom_region(tmp_path / "junk.h5", 0)
    with pytest.raises(StoreError, match="cannot be written"):
        zoom_region(found[2], 0).write(tmp_path / "nowhere" / "points.txt")


def test_new_columns_are_those_of_the_catalogue(found):
    import yt_protohalos as ph

    _, stored, prediction = found
    expected = protohalo_catalog(prediction, ph.generate_initial_conditions(prediction.lattice.n, 4.6875, seed=11))
    halos = stored.all_data()
    for name, values in (
        ("n_pieces", expected.n_pieces),
        ("axis_ratio_c_a", expected.semi_axes[:, 2] / expected.semi_axes[:, 0]),
        ("major_axis_x", expected.axes[:, 0, 0]),
        ("tidal_eigenvalue_1", expected.tidal_eigenvalues[:, 0]),
        ("tidal_xy", expected.tide[:, 0, 1]),
    ):
        np.testing.assert_allclose(halos["halos", name].v, values, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(halos["halos", "semi_axis_a"].to_value("Mpccm/h"), expected.semi_axes[:, 0], rtol=1e-5)
    spin = halos["halos", "spin_magnitude"].to_value("km/s*Mpccm/h")
    direction = np.stack([halos["halos", f"spin_direction_{axis}"].v for axis in "xyz"], axis=1)
    np.testing.assert_allclose(spin[:, None] * direction, expected.spin, rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(
        stored.halo("halos", 0)["member_sites"].v, np.flatnonzero(prediction.labels.ravel() == 1)
    )


def test_the_command_writes_points_and_lines(found, tmp_path, capsys):
    points = tmp_path / "new" / "points.txt"
    assert cli.main(["zoom", str(found[0]), "--halo", "0", "-o", str(points), "--padding", "0"]) == 0
    text = capsys.readouterr().out
    size = int(found[2].sizes[1])
    assert len(np.loadtxt(points)) == 1 + len(zoom_region(found[2], 0, 0).hull.vertices)
    assert f"protohalo 0: {size} sites" in text and f"region_point_file = {points}" in text
    assert "region            = convex_hull" in text and (tmp_path / "new" / "points.txt.conf").read_text() in text
    assert cli.main(["zoom", str(found[0]), "--halo", "0", "-o", str(points), "--padding", "0.4Mpc/h"]) == 0
    assert len(np.loadtxt(points)) == 1 + len(zoom_region(found[2], 0, "0.4 Mpc/h").hull.vertices)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--halo": "9999"}, "identifiers run from 0 to"),
        ({"CATALOG": "nowhere"}, "does not exist"),
        ({"-o": "{file}/points.txt"}, "not a folder"),
        ({"-o": "{folder}"}, "is a folder"),
        ({"--padding": "99"}, "use less padding"),
        ({"--padding": "wide"}, "padding = 'wide' does not start with a number"),
        ({"--padding": "3 miles"}, "'miles' has no known unit"),
        ({"--levels": "-1"}, "levels -1"),
    ],
)
def test_the_command_refuses_in_one_line_and_writes_nothing(found, tmp_path, capsys, changes, said):
    (tmp_path / "file").write_text("")
    options = {"--halo": "0", "-o": str(tmp_path / "points.txt"), "CATALOG": str(found[0])} | changes
    catalog = options.pop("CATALOG")
    options["-o"] = options["-o"].format(file=tmp_path / "file", folder=tmp_path)
    assert cli.main(["zoom", catalog, *(word for pair in options.items() for word in pair)]) == cli.USER_ERROR
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not (tmp_path / "points.txt").exists()
