"""The files of a zoom say the same region in the words of each code, and the measured padding is what it says."""

from __future__ import annotations

import configparser

import h5py
import numpy as np
import pytest
from labelled_boxes import box_labels, predicted

from yt_protohalos import cli
from yt_protohalos.catalog.zoom import zoom_region
from yt_protohalos.catalog.zoom_padding import padding_table
from yt_protohalos.exceptions import FormatError, RegionError, StoreError
from yt_protohalos.models.registry import DEFAULT_MODEL

N = 32
CONF = """# of the box
[setup]
boxlength    = {box}   # Mpc/h
levelmin     = 5
levelmax     = 5
zstart       = 49
ref_center   = 0.5, 0.5, 0.5
region_point_shift = 1, 2, 3
[random]
seed[5]      = 12345
[output]
filename     = ics/box.dat # Gadget
format       = gadget2
"""


@pytest.fixture
def region():
    """A brick across a face of the box, with one site of padding."""
    return zoom_region(predicted(box_labels(N, (4, 5, 6), (30, 2, 3)), site_offset=0.5), 0, padding=1)


@pytest.fixture
def conf(region, tmp_path):
    path = tmp_path / "box.conf"
    path.write_text(CONF.format(box=region.lattice.box_size))
    return path


@pytest.mark.parametrize("shape", ["region", "convex_hull", "ellipsoid"])
def test_cells_and_mask_are_the_sites_of_the_shape(region, shape, tmp_path):
    region.write(tmp_path / "cells.txt", "genetic", shape)
    region.write(tmp_path / "mask.h5", "mask", shape)
    cells = np.loadtxt(tmp_path / "cells.txt", dtype=int)
    # genetIC numbers the cells of its base grid (x n + y) n + z, from 0
    x, y, z = region.sites_in(shape).T
    assert np.array_equal(cells, np.sort((x * N + y) * N + z)) and len(cells) == region.enclosed[shape]
    with h5py.File(tmp_path / "mask.h5") as file:
        assert np.array_equal(np.flatnonzero(file["mask"][()].ravel()), cells)
        assert file.attrs["box_size"] == region.lattice.box_size and file.attrs["shape"] == shape
    inside = {"convex_hull": region.hull, "ellipsoid": region.ellipsoid}.get(shape)
    if inside is not None:
        every = (np.indices((N,) * 3).reshape(3, -1).T + 0.5) / N
        near = region.points[0] + (every - region.points[0] + 0.5) % 1 - 0.5
        assert np.array_equal(np.flatnonzero(inside.contains(near)), cells)


def test_the_brick_itself_is_what_the_default_writes(tmp_path):
    labels = box_labels(N, (4, 5, 6), (30, 2, 3))
    zoom_region(predicted(labels), 0, padding=0).write(tmp_path / "cells.txt", "genetic")
    assert np.array_equal(np.loadtxt(tmp_path / "cells.txt", dtype=int), np.flatnonzero(labels.ravel()))


def test_the_configuration_of_a_zoom_is_that_of_the_box_with_the_region(region, conf, tmp_path):
    text = region.music_configuration(conf, "points.txt", "ellipsoid", levels=2)
    made = configparser.ConfigParser(inline_comment_prefixes="#")
    made.read_string(text)
    assert dict(made["setup"]) == {
        "boxlength": f"{region.lattice.box_size}", "levelmin": "5", "levelmax": "7", "zstart": "49", "padding": "8",
        "region": "ellipsoid", "region_point_file": "points.txt",
    }  # fmt: skip
    assert made["random"]["seed[5]"] == "12345" and made["output"]["filename"] == "ics/box_zoom.dat"
    assert text.startswith("# of the box\n") and text.count("[setup]") == 1
    lines = region.music_lines("points.txt", levels=2).splitlines()
    assert lines[0] == "[setup]" and [line.split()[-1] for line in lines[1:3]] == ["5", "7"]


def test_a_configuration_of_another_box_is_refused(region, conf, tmp_path):
    conf.write_text(CONF.format(box=99))
    with pytest.raises(RegionError, match=r"box.conf has boxlength = 99.0, the region .*; give the .conf that made"):
        region.music_configuration(conf, "points.txt")
    conf.write_text(CONF.format(box=region.lattice.box_size).replace("levelmin     = 5", "levelmin     = 6"))
    with pytest.raises(RegionError, match=r"levelmin = 6.0, the region 5"):
        region.music_configuration(conf, "points.txt")
    conf.write_text("nothing")
    with pytest.raises(FormatError, match="not a MUSIC parameter file"):
        region.music_configuration(conf, "points.txt")


def test_the_grid_of_genetic_holds_the_region(region):
    id_file, zoom = region.genetic_lines("cells.txt", levels=2).splitlines()
    assert id_file == "id_file cells.txt"
    factor, cells = (int(word) for word in zoom.split()[1:])
    # the padded brick is 8 cells wide, and genetIC wants 3 on each side: half of 32 is the first grid that has them
    assert (factor, cells) == (2, 16 * 2**2)


def test_unknown_codes_and_shapes_are_refused(region, tmp_path):
    with pytest.raises(RegionError, match="code 'ramses' is unknown; use one of music, genetic, mask"):
        region.write(tmp_path / "file", "ramses")
    with pytest.raises(RegionError, match="shape 'region' is unknown for music; use one of convex_hull, ellipsoid"):
        region.write(tmp_path / "file", "music", "region")
    with pytest.raises(RegionError, match="shape 'box' is unknown"):
        region.sites_in("box")
    with pytest.raises(StoreError, match="cannot be written"):
        region.write(tmp_path / "nowhere" / "mask.h5", "mask")
    odd = zoom_region(predicted(box_labels(24, (4, 5, 6), (3, 2, 3))), 0)
    with pytest.raises(RegionError, match="24 sites per side, which is no power of two"):
        odd.music_lines("points.txt", levels=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", [DEFAULT_MODEL, "fof"])
def test_the_measured_padding_is_the_smallest_that_held_so_many(model):
    table = padding_table(model)
    assert table.haloes >= 50 and table.paddings[0] == 0
    for shape, held in table.held.items():
        assert held.shape == (len(table.contain), len(table.paddings))
        assert np.all((held >= 0) & (held <= 1)) and np.all(np.diff(held, axis=0) <= 0) and np.all(np.diff(held) >= 0)
        for contain in (0.9, 0.99):
            row = held[list(table.contain).index(contain)]
            for confidence in (0.5, min(row[2], 0.99)):
                found = list(table.paddings).index(table.padding(shape, contain, confidence))
                assert row[found] >= confidence and not np.any(row[:found] >= confidence)
                # a share between those that were measured takes the next above
                assert table.padding(shape, contain - 0.01, confidence) == table.paddings[found]
    # 99.9 % is more than 0.999 by rounding
    assert 99.9 / 100 > 0.999 and table.padding("ellipsoid", 99.9 / 100, 0.5) == table.padding("ellipsoid", 0.999, 0.5)
    assert table.padding("ellipsoid", 0.99, 0.5) <= table.padding("region", 0.99, 0.5)


def test_a_target_gives_the_padding_of_the_table():
    labels = box_labels(N, (12, 12, 12), (30, 2, 3))
    table = padding_table(DEFAULT_MODEL)
    prediction = predicted(labels, name=DEFAULT_MODEL)
    expected = table.padding("region", 0.9, 0.5)
    assert zoom_region(prediction, 0, contain=0.9, confidence=0.5, shape="region").padding == expected
    with pytest.raises(RegionError, match="exclude each other"):
        zoom_region(prediction, 0, 2, contain=0.9)
    with pytest.raises(RegionError, match=r"contain 1 with confidence 0.9 was not measured; contain goes up to 0.999"):
        zoom_region(prediction, 0, contain=1.0)
    with pytest.raises(RegionError, match=r"sites, held that much of \d+% of \d+ haloes; ask for less"):
        zoom_region(prediction, 0, contain=0.999, confidence=0.9999, shape="region")
    with pytest.raises(RegionError, match=r"no padding was measured for model 'other', only for .*planck-v5"):
        zoom_region(predicted(labels, name="other"), 0, contain=0.9)
    small = predicted(box_labels(N, (4, 5, 6), (30, 2, 3)), name=DEFAULT_MODEL)
    with pytest.raises(RegionError, match=rf"has 120 sites, and .* was measured for {table.smallest} or more"):
        zoom_region(small, 0, contain=0.9)


def test_the_command_writes_the_file_of_each_code(conf, tmp_path, capsys):
    prediction = predicted(box_labels(N, (12, 12, 12), (30, 2, 3)), name=DEFAULT_MODEL)
    prediction.save(tmp_path / "prediction.h5")

    def zoom(*options):
        status = cli.main(["zoom", str(tmp_path / "prediction.h5"), "--halo", "0", *map(str, options)])
        return status, capsys.readouterr()

    points = tmp_path / "points.txt"
    target = ("--contain", "90%", "--confidence", "50%")
    status, said = zoom("-o", points, *target, "--conf", conf, "--shape", "ellipsoid", "--levels", 2)
    assert status == 0 and f"wrote {points}.conf" in said.out
    region = zoom_region(prediction, 0, contain=0.9, confidence=0.5, shape="ellipsoid")
    assert len(np.loadtxt(points)) == 1 + len(region.hull.vertices)
    assert (tmp_path / "points.txt.conf").read_text() == region.music_configuration(conf, points, "ellipsoid", 2)
    status, said = zoom("-o", tmp_path / "cells.txt", "--code", "genetic", "--padding", "0")
    assert status == 0 and "zoom_grid 1 64" in said.out and len(np.loadtxt(tmp_path / "cells.txt")) == 12**3
    assert zoom("-o", tmp_path / "mask.h5", "--code", "mask")[0] == 0 and (tmp_path / "mask.h5").is_file()
    for share in ("1.5", "0", "abc"):
        with pytest.raises(SystemExit):
            zoom("-o", points, "--contain", share)
        assert f"argument --contain: '{share}' is no share; give one such as 0.99 or 99%\n" in capsys.readouterr().err
    for options, error in (
        (("--conf", conf, "--code", "mask"), "is for MUSIC, not for mask"),
        (("--padding", 1, *target), "exclude each other"),
        (("--shape", "region"), "unknown for music"),
        (("--conf", tmp_path / "other.conf"), "would replace"),
    ):
        status, said = zoom("-o", tmp_path / "other", *options)
        assert status == cli.USER_ERROR and error in said.err and not (tmp_path / "other").exists()
