"""Laws of the report: the page holds the numbers of the prediction, whatever texts come with them, and nothing more."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yt
from browser import chromium, complaints, open_page, protruding, set_width
from yt_fakes import BOX, FakePredictor, N, grid_dataset

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.analysis.mass_function import fof_mass_function
from yt_protohalos.analysis.report.packing import PackedCube, pack_labels, pack_probability
from yt_protohalos.analysis.report.page import report_page, write_report
from yt_protohalos.exceptions import CatalogError, StoreError
from yt_protohalos.models.fof_card import FriendsOfFriendsCard

yt.set_log_level("error")
# short enough for the name of a model
HOSTILE = '</script><script>window.hacked = 1</script><img src="http://x" onerror="hacked = 2">&lt;$data'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as `protohalos find` leaves it, and its prediction."""
    path = tmp_path_factory.mktemp("find") / "out"
    ds = grid_dataset(ph.generate_initial_conditions(N, BOX, seed=11))
    ph.find_protohalos(ds, path, predictor=FakePredictor(), cache=False, progress=False)
    prediction = ph.predict(ds)
    prediction.save(path / "prediction.h5")
    return path, prediction


@pytest.fixture(scope="module")
def empty():
    field = ph.generate_initial_conditions(N, BOX, seed=11)
    return FakePredictor(level=20.0).predict(field, progress=False)


class Elements(HTMLParser):
    """Names of the elements of a page, their attributes, and the text of its data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.data = ""
        self.inside_data = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        self.inside_data = ("id", "data") in attrs

    def handle_endtag(self, tag):
        self.inside_data = False

    def handle_data(self, data):
        if self.inside_data:
            self.data += data


def data_of(page):
    return json.loads(Elements(page).data)


def unpacked(cube: PackedCube) -> np.ndarray:
    """The sites that a packed cube keeps, as a browser reads them."""
    raw = zlib.decompress(base64.b64decode(cube.text))
    return np.frombuffer(raw, dtype=np.dtype(cube.type).newbyteorder("<")).reshape((cube.side,) * 3)


@pytest.mark.parametrize("side", [1, 2, 7, 12])
def test_packed_cubes_are_the_cubes(side):
    rng = np.random.default_rng(side)
    probability = rng.random((side,) * 3).astype(np.float32)
    for largest, name in ((9, "uint16"), (70_000, "uint32")):
        labels = rng.integers(0, largest, (side,) * 3, dtype=np.int32)
        labels[0, 0, 0] = largest
        packed = pack_labels(labels)
        assert (packed.type, packed.stride, packed.side) == (name, 1, side)
        assert np.array_equal(unpacked(packed), labels)
    np.testing.assert_allclose(unpacked(pack_probability(probability)) / 100, probability, atol=0.005 + 1e-6)


def test_large_cubes_are_thinned_until_they_fit():
    noise = np.random.default_rng(0).random((40, 40, 40)).astype(np.float32)
    before = 10**9
    for limit in (80_000, 20_000, 3_000, 100):
        packed = pack_probability(noise, limit)
        assert len(packed.text) <= limit < before
        assert packed.side == -(-40 // packed.stride)
        kept = noise[:: packed.stride, :: packed.stride, :: packed.stride]
        np.testing.assert_allclose(unpacked(packed) / 100, kept, atol=0.005 + 1e-6)
        before = len(packed.text)
    # the side is bounded too, however well the cube is deflated
    assert pack_labels(np.zeros((257, 257, 257), dtype=np.int32)).side == 129


def test_the_page_holds_the_numbers_of_prediction_and_catalogue(folder):
    path, prediction = folder
    data = data_of(report_page(prediction, path / "protohalos.0.h5"))
    assert np.array_equal(unpacked(PackedCube(**data["labels"])), prediction.labels)
    assert data["sizes"] == prediction.sizes[1:].tolist() == data["rows"]["sites"]
    np.testing.assert_allclose(data["rows"]["mass"], prediction.label_mass[1:], rtol=1e-4)
    assert {column["name"] for column in data["columns"]} == set(data["rows"])
    halos = yt.load(str(path / "protohalos.0.h5")).all_data()
    for name, stored, units in (
        ("position_x", "particle_position_x", "Mpccm/h"), ("center_z", "lagrangian_center_z", "Mpccm/h"),
        ("radius", "virial_radius", "Mpccm/h"), ("spin", "spin_magnitude", "Mpccm/h*km/s"),
        ("tide_1", "tidal_eigenvalue_1", ""), ("b_a", "axis_ratio_b_a", ""),
    ):  # fmt: skip
        np.testing.assert_allclose(data["rows"][name], halos["halos", stored].to_value(units), rtol=1e-4)
    function, volume = data["massFunction"], BOX**3 / 5
    np.testing.assert_allclose(np.sum(function["density"]) * volume, prediction.n_protohalos, rtol=1e-4)
    expected = fof_mass_function(prediction.cosmology, np.log10(np.array(function["fitMass"]) * prediction.cosmology.h))
    np.testing.assert_allclose(function["fit"], expected, rtol=1e-3)


def test_a_page_of_another_redshift_says_so_and_stays_comoving(tmp_path):
    ds = grid_dataset(ph.generate_initial_conditions(N, BOX, seed=11))
    options = {"predictor": FakePredictor(level=0.5), "cache": False, "redshift": 0.5, "on_range": "allow"}
    ph.find_protohalos(ds, tmp_path, progress=False, **options)
    prediction = ph.predict(ds, **options)
    data = data_of(report_page(prediction, tmp_path / "protohalos.0.h5"))
    assert ["Redshift", "0.5, from z = 49"] in data["facts"]
    halos = yt.load(str(tmp_path / "protohalos.0.h5")).all_data()
    position = halos["halos", "particle_position_x"].to_value("Mpccm/h")
    assert position.max() > BOX / 1.5, "proper positions would pass"
    np.testing.assert_allclose(data["rows"]["position_x"], position, rtol=1e-4)
    np.testing.assert_allclose(
        data["rows"]["center_x"], halos["halos", "lagrangian_center_x"].to_value("Mpccm/h"), rtol=1e-4
    )


def test_the_page_says_whether_it_shows_a_probability_or_a_mask(folder):
    prediction = folder[1]
    data = data_of(report_page(prediction))
    assert (data["probabilityTitle"], data["probabilityName"]) == ("Probability", "membership probability")
    data = data_of(report_page(replace(prediction, card=FriendsOfFriendsCard())))
    assert (data["probabilityTitle"], data["probabilityName"]) == ("Mask", "mask of protohaloes")


def test_without_a_catalogue_its_columns_are_left_out_and_the_page_says_so(folder):
    data = data_of(report_page(folder[1]))
    assert {"mass", "center_x"} <= set(data["rows"])
    assert not {"position_x", "speed", "spin"} & {column["name"] for column in data["columns"]}
    assert "No catalogue" in data["notes"][0]


def test_a_catalogue_of_another_prediction_or_of_nothing_is_refused(folder, empty, tmp_path):
    with pytest.raises(CatalogError, match="not the catalogue of this prediction"):
        report_page(empty, folder[0] / "protohalos.0.h5")
    junk = tmp_path / "junk.0.h5"
    junk.write_bytes(b"no catalogue")
    with pytest.raises(StoreError, match="rebuild it"):
        report_page(empty, junk)


def with_hostile_texts(prediction):
    card = replace(prediction.card, name=HOSTILE, description=HOSTILE, scores={HOSTILE: {HOSTILE: 0.5}})
    return replace(prediction, card=card, settings={HOSTILE: HOSTILE})


def test_hostile_texts_stay_texts(folder):
    plain = Elements(report_page(folder[1]))
    page = report_page(with_hostile_texts(folder[1]), title=HOSTILE)
    hostile = Elements(page)
    assert hostile.names == plain.names
    assert {name for name, _ in hostile.attributes} == {name for name, _ in plain.attributes}
    assert not [name for name, _ in plain.attributes if name.startswith("on")]
    assert json.loads(hostile.data)["title"] == HOSTILE
    assert page.count("</script>") == 2


def test_the_page_loads_nothing_and_allows_no_other_script(folder):
    page = report_page(folder[1])
    # the one address is the name of SVG elements, which nothing fetches
    assert set(re.findall(r"\w+://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_a_page_is_written_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_report(folder[1], path)
    first = path.read_text()

    def full(self, *args, **kwargs):
        self.touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StoreError, match=r"report\.html cannot be written"):
        write_report(folder[1], path, title="another")
    assert path.read_text() == first
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_the_command_writes_beside_the_cubes_or_where_told(folder, tmp_path, capsys):
    path, _ = folder
    assert cli.main(["report", str(path)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert cli.main(["report", str(path / "prediction.h5"), "--output", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").read_bytes() == (path / "report.html").read_bytes()
    for arguments, said in (
        ([str(tmp_path)], "protohalos find"),
        ([str(path), "-o", str(tmp_path)], "is a folder"),
        ([str(path), "--catalog", str(path / "prediction.h5")], "cannot be read"),
    ):
        assert cli.main(["report", *arguments]) == cli.USER_ERROR
        assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def picture(browser, name):
    return browser.execute_script(f"return document.getElementById('{name}').toDataURL()")


def text(browser, name):
    return browser.execute_script(f"return document.getElementById('{name}').textContent")


def test_a_reader_can_click_through_the_page(folder, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    path, prediction = folder
    write_report(prediction, path / "clicked.html", path / "protohalos.0.h5")
    open_page(browser, path / "clicked.html")
    find = browser.find_element
    find(By.ID, "turn").click()
    seen = [picture(browser, "slice")]
    for field in ("label", "probability", "mass"):
        find(By.CSS_SELECTOR, f"#field [value={field}]").click()
        seen.append(picture(browser, "slice"))
    assert seen[0] == seen[3] and len(set(seen)) == 3
    find(By.CSS_SELECTOR, "#axis [value=x]").click()
    before = int(find(By.ID, "plane").get_property("value"))
    find(By.ID, "plane").send_keys(Keys.ARROW_LEFT if before else Keys.ARROW_RIGHT)
    assert text(browser, "place").startswith(f"{before - 1 if before else 1}: x = ")
    assert picture(browser, "slice") not in seen

    assert text(browser, "object-title") == "Protohalo 0"
    body = picture(browser, "body")
    for smallest_first in (False, True):
        find(By.CSS_SELECTOR, "[data-column=mass]").click()
        rows = browser.execute_script(
            "return [...document.querySelectorAll('#table tbody tr')].map(r => +r.dataset.id)"
        )
        sizes = np.sort(prediction.sizes[1:])[:: 1 if smallest_first else -1]
        assert np.array_equal(prediction.sizes[1:][rows], sizes[: len(rows)])
    find(By.CSS_SELECTOR, f"#table [data-id='{rows[1]}']").click()
    assert text(browser, "object-title") == f"Protohalo {rows[1]}"
    assert find(By.CSS_SELECTOR, "#table [aria-selected=true]").get_attribute("data-id") == str(rows[1])
    assert picture(browser, "body") != body
    assert complaints(browser) == []


@pytest.mark.parametrize("axis", "xyz")
def test_the_pointer_meets_the_sites_where_the_slice_shows_them(folder, browser, axis):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    path, prediction = folder
    write_report(prediction, path / "pointed.html")
    open_page(browser, path / "pointed.html")
    browser.find_element(By.CSS_SELECTOR, f"#axis [value={axis}]").click()
    number, plane = "xyz".index(axis), int(browser.find_element(By.ID, "plane").get_property("value"))
    canvas = browser.find_element(By.ID, "slice")
    # all of it in view: offsets count from the middle of what is
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    margin = browser.execute_script("return MARGIN")
    side = browser.execute_script("return sliceSide()")
    labels = np.take(prediction.labels, plane, axis=number)
    for label in np.unique(labels)[:4]:
        right, up = np.argwhere(labels == label)[0]
        x = margin["left"] + side * (right + 0.5) / N - canvas.size["width"] / 2
        y = margin["top"] + side * (1 - (up + 0.5) / N) - canvas.size["height"] / 2
        ActionChains(browser, duration=0).move_to_element_with_offset(canvas, round(x), round(y)).click().perform()
        said = text(browser, "readout")
        site = np.insert([right, up], number, plane)
        place = [f"{value:.2f}" for value in (site + prediction.site_offset) * prediction.lattice.spacing]
        assert re.findall(r"\b[xyz] ([\d.]+)", said) == place
        chance = float(re.search(r"probability ([\d.]+)", said)[1])
        np.testing.assert_allclose(chance, prediction.probability[tuple(site)], atol=0.0051)
        if label:
            assert f"protohalo {label - 1}," in said
            assert text(browser, "object-title") == f"Protohalo {label - 1}"
        else:
            assert "outside" in said
    assert complaints(browser) == []


def test_a_body_across_the_faces_is_drawn_in_one_piece(folder, browser):
    path, prediction = folder
    # a brick of 4 x 3 x 2 sites around the corner of the box
    labels = np.zeros_like(prediction.labels)
    labels[:4, :3, :2] = 1
    moved = replace(prediction, labels=np.roll(labels, (-2, -1, -1), (0, 1, 2)))
    write_report(moved, path / "corner.html")
    open_page(browser, path / "corner.html")
    assert browser.execute_script("return view.sides") == [4, 3, 2]
    assert browser.execute_script("return view.points.length") == 24
    assert complaints(browser) == []


def test_the_page_fits_a_phone(folder, browser):
    path, prediction = folder
    write_report(prediction, path / "phone.html", path / "protohalos.0.h5")
    try:
        for width in (360, 1366):
            set_width(browser, width)
            open_page(browser, path / "phone.html")
            assert protruding(browser) == []
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            # what is inside a section that clips nothing must end inside it too
            past = browser.execute_script(
                "return [...document.querySelectorAll('.controls *, #mass-function text')].filter((e) => "
                "e.getBoundingClientRect().right > e.closest('section').getBoundingClientRect().right)"
                ".map((e) => e.textContent)"
            )
            assert past == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_hostile_texts_are_shown_and_do_nothing(folder, browser):
    path, prediction = folder
    write_report(with_hostile_texts(prediction), path / "hostile.html", title=HOSTILE)
    open_page(browser, path / "hostile.html")
    assert browser.execute_script("return typeof hacked + document.images.length") == "undefined0"
    assert HOSTILE in text(browser, "card")
    assert HOSTILE in text(browser, "settings")
    assert browser.title == f"Protohalos: {HOSTILE}"
    assert complaints(browser) == []


def test_pages_of_nothing_and_of_thinned_cubes_open_too(folder, empty, browser):
    path, prediction = folder
    write_report(empty, path / "empty.html")
    open_page(browser, path / "empty.html")
    assert "no protohalo" in text(browser, "mass-function")
    assert "no protohalo" in text(browser, "page")
    assert complaints(browser) == []
    thinned = report_page(prediction, largest_text=1500)
    strides = [data_of(thinned)[name]["stride"] for name in ("labels", "probability")]
    assert max(strides) > 1
    (path / "thinned.html").write_text(thinned)
    open_page(browser, path / "thinned.html")
    assert f"one site in {strides[0]}" in text(browser, "notes")
    assert complaints(browser) == []
