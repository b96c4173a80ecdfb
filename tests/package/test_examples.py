"""Every example, every Python block of the documentation and every README command runs, or is what CI runs."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_model import write_small_bundle
from warm_process import run_script
from yt_fakes import BOX, FakePredictor, N

import yt_protohalos as ph
from yt_protohalos.exceptions import InitialConditionsError

ROOT = Path(__file__).parents[2]
# a helper of an example is imported, not run
EXAMPLES = [
    path
    for folder in ("examples", "examples/tasks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "\nRun: python " in path.read_text()
]
TASKS = sorted((ROOT / "examples" / "tasks").glob("plot_*.py"))
GALLERY = sorted((ROOT / "examples" / "gallery").glob("plot_*.py"))
PAGE_WIDTH, SMALLEST_TEXT = 7.3, 8
"""Inch and points: what a printed page can show and a reader can read."""
# the notebook holds the code of the quickstart, and the first page that of the README
RUN_ELSEWHERE = {"index", "quickstart"}
PAGES = [
    page
    for page in sorted((ROOT / "docs").glob("*.md"))
    if "```python" in page.read_text() and page.stem not in RUN_ELSEWHERE
]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
TEST_COMMAND = re.compile(r"^python3 -m venv \.venv-test .*$", re.MULTILINE)

# the documented code names bundled models; small stand-ins of their names make it run in seconds
USE_SMALL_MODEL = """
from pathlib import Path
from yt_protohalos.models import registry
registry._BUNDLED = Path({folder!r})
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Iterator[Path]:
    """Folder with small models under the names that the documentation uses, and a cache that all runs share."""
    with pytest.MonkeyPatch.context() as patch:
        # the processes of the scripts take them from here, before they import any library
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
        yield write_small_bundle(tmp_path_factory.mktemp("bundle"))


def run(script: Path, arguments: list[str], cwd: Path, bundle: Path) -> str:
    """Run a script in a process of its own; its output."""
    environment = {"XDG_CACHE_HOME": str(bundle / "cache")}
    status, output, errors = run_script(script, arguments, cwd, environment)
    assert status == 0, f"{script.name} failed:\n{output[-2000:]}\n{errors[-4000:]}"
    return output


def test_a_script_that_fails_is_noticed(bundle, tmp_path):
    script = tmp_path / "script.py"
    for line, said in (
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit('stopped')", "stopped"),
        ("import standins", "No module"),
    ):
        script.write_text(f"print('begun')\n{line}\n")
        with pytest.raises(AssertionError, match=rf"(?s)script.py failed:\s+begun\s.*{said}"):
            run(script, [], tmp_path, bundle)
    script.write_text("import sys; print(sys.argv[1:], __name__)")
    assert run(script, ["-n", "3"], tmp_path, bundle) == "['-n', '3'] __main__\n"


def methods(script: Path) -> tuple[str, ...]:
    """Methods that an example runs with: the default, and for pictures and catalogues that of the paper too."""
    if script.stem == "experiments":
        return ("pseudo-space",)  # uniform perturbations are not periodic, and cannot be evolved
    return ("positions", "pseudo-space") if script.stem in ("halo_catalogue", "plot_slices") else ("positions",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "method"),
    [(script, method) for script in EXAMPLES for method in methods(script)],
    ids=lambda value: getattr(value, "stem", value),
)
def test_example_runs(script, method, bundle, tmp_path):
    from yt_protohalos.models.registry import DEFAULT_MODELS

    arguments = ["--model", str(bundle / DEFAULT_MODELS[method])]
    if script.stem == "experiments":
        arguments += ["-n", "32"]
    if script.stem == "zoom_check":
        arguments += ["--largest", "2"]
    output = run(script, arguments, tmp_path, bundle)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert output.strip() or written, f"{script.name} neither printed nor wrote anything"
    assert all(path.stat().st_size for path in written)


@pytest.mark.parametrize("script", GALLERY, ids=lambda path: path.stem[5:])
def test_gallery_script_draws_what_can_be_read_in_print(script, monkeypatch, tmp_path):
    """In this process, for the scripts run no network and share their data."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(script.parent))
    monkeypatch.setattr(sys, "argv", [str(script)])
    left = runpy.run_path(str(script))
    figures = [value for value in left.values() if isinstance(value, Figure)]
    assert len(figures) == 1
    figures[0].savefig(tmp_path / "figure.png", dpi=50)
    assert figures[0].get_figwidth() <= PAGE_WIDTH
    words = [text for text in figures[0].findobj(Text) if text.get_visible() and text.get_text().strip()]
    assert words
    assert min(text.get_fontsize() for text in words) >= SMALLEST_TEXT
    for ax in figures[0].axes:
        if ax.get_xlabel():
            assert "[" in ax.get_xlabel() or "threshold" in ax.get_xlabel(), "an axis without units"


@pytest.fixture(scope="module")
def task_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("script", TASKS, ids=lambda path: path.stem[5:])
def test_task_runs_without_a_network_and_draws(script, monkeypatch, tmp_path, task_cache):
    """In this process, and with one cache for all: two scripts predict the same box."""
    from matplotlib.figure import Figure

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YT_PROTOHALOS_CACHE", str(task_cache))
    monkeypatch.setattr(sys, "argv", [str(script)])
    left = runpy.run_path(str(script))
    figures = [value for value in left.values() if isinstance(value, Figure)]
    assert figures and all(any(ax.has_data() for ax in figure.axes) for figure in figures)


def test_gallery_data_belong_to_the_bundled_model(monkeypatch):
    """What is stored scores as the card says: a new model needs new data."""
    from yt_protohalos.analysis import metrics
    from yt_protohalos.models.registry import DEFAULT_MODELS, load_card

    monkeypatch.syspath_prepend(str(ROOT / "examples" / "gallery"))
    import gallery_data

    run, (model, pair) = gallery_data.read("treepm"), gallery_data.block_counts()
    name = run.attributes["model"]
    assert name in DEFAULT_MODELS.values()
    stated = load_card(name)[0].scores["TreePM reference"]
    found = metrics.site_scores(model.total())
    for name in ("ACC", "F1", "TPR", "PPV"):
        assert found[name][0] == pytest.approx(stated[name], abs=2e-3)
    assert run["true"].max() == 262  # haloes of the TreePM run
    # the pair, both ways: whoever is the truth, as many are missed as are wrong
    limit = metrics.site_scores(pair.total())
    assert limit["TPR"] == pytest.approx(limit["PPV"])
    assert limit["ACC"][0] > found["ACC"][0]
    assert gallery_data.FILE.stat().st_size < 3e6


def test_a_part_of_the_gallery_data_is_made_anew_and_the_rest_stays(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "gallery"))
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import gallery_data
    import make_gallery_data

    data = tmp_path / "gallery.h5"
    data.write_bytes(gallery_data.FILE.read_bytes())
    monkeypatch.setattr(make_gallery_data, "add_reference", lambda group, model, *_: group.attrs.update(model=model))
    make_gallery_data.main(["--parts", "treepm", "--model", "mine", "--reference", "r", "--work", "w", "-o", str(data)])
    with h5py.File(data) as new, h5py.File(gallery_data.FILE) as old:
        assert dict(new["treepm"].attrs) == {"model": "mine"} and not len(new["treepm"])
        assert new.keys() == old.keys()
        for name in ("pair/first", "lattices/stitched", "experiments/reference", "bias/predicted 50/value"):
            np.testing.assert_array_equal(new[name], old[name])
        assert dict(new["bias/predicted 50"].attrs) == dict(old["bias/predicted 50"].attrs)


@pytest.mark.slow
def test_gallery_takes_stored_boxes_and_scores(monkeypatch, tmp_path):
    """`--boxes` and `--scores` redraw figures 9, 11 and 13 from larger runs."""
    folder = ROOT / "examples" / "gallery"
    monkeypatch.syspath_prepend(str(folder))
    field = ph.generate_initial_conditions(N, BOX, seed=11)
    FakePredictor().predict(field, progress=False).save(tmp_path / "box.h5")
    counts = {"bins": [[11.0, 11.2], [11.2, 11.4]], "value": [10, None]}
    scores = {
        "tables": {"model": {"simulated_haloes": counts, "predicted_haloes": counts}},
        "cosmology": asdict(ph.PAPER_COSMOLOGY), "volume": 1e4,
    }  # fmt: skip
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    boxes = ["--boxes", str(tmp_path / "box.h5")]
    for stem, arguments in (
        ("figure09_mass_function", boxes),
        ("figure11_bias", [*boxes, "--seeds", "11"]),
        ("figure13_amplitude", ["--scores", str(tmp_path / "scores.json")]),
    ):
        image = tmp_path / f"{stem}.png"
        monkeypatch.setattr(sys, "argv", [stem, *arguments, "-o", str(image)])
        left = runpy.run_path(str(folder / f"plot_{stem}.py"))
        assert image.stat().st_size
        words = [text.get_text() for text in left["figure"].axes[0].get_legend().get_texts()]
        wanted = "0.83" if "13" in stem else f"{BOX:g}"
        assert any(wanted in word for word in words)


def test_gallery_data_take_a_stored_prediction_and_its_initial_conditions(monkeypatch, tmp_path, capsys):
    """One command, and the pages of figures 9 and 11 show the box, without any network."""
    folder = ROOT / "examples" / "gallery"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import gallery_data
    import make_gallery_data

    data = tmp_path / "gallery.h5"
    data.write_bytes(gallery_data.FILE.read_bytes())
    before = set(gallery_data.biases())
    monkeypatch.setattr(gallery_data, "FILE", data)
    ics, stored = tmp_path / "ics.hdf5", tmp_path / "prediction.h5"
    ph.generate_initial_conditions(N, BOX, seed=11, filename=ics)
    field = ph.linear_field(ph.load(ics))
    FakePredictor().predict(field, progress=False).save(stored)
    for _ in range(2):
        make_gallery_data.main(["--boxes", str(stored), "--ics", str(ics), "-o", str(data)])
    found = ph.Prediction.load(stored)
    name = gallery_data.box_name("predicted", BOX, found.card.name)
    # a second time replaces the first
    assert name in gallery_data.box_counts() and set(gallery_data.biases()) == before | {name}
    counts = gallery_data.box_counts()[name]
    assert counts.number.sum() == np.count_nonzero(found.sizes[1:] * field.site_mass_msun_h > 10 ** counts.edges[0]) > 0
    assert counts.volume == pytest.approx(BOX**3)
    capsys.readouterr()
    for stem in ("figure09_mass_function", "figure11_bias"):
        monkeypatch.setattr(sys, "argv", [stem])
        left = runpy.run_path(str(folder / f"plot_{stem}.py"))
        words = [text.get_text() for text in left["figure"].axes[0].get_legend().get_texts()]
        assert name in words and name in capsys.readouterr().out
    other = tmp_path / "other.hdf5"
    ph.generate_initial_conditions(N, BOX, seed=12, filename=other)
    with pytest.raises(InitialConditionsError, match="those of the prediction"):
        make_gallery_data.main(["--boxes", str(stored), "--ics", str(other), "-o", str(data)])
    with pytest.raises(SystemExit):
        make_gallery_data.main(["--boxes", str(stored), "-o", str(data)])


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def notebook_cells() -> list[dict]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_the_quickstart_with_its_outputs():
    """Else: python docs/write_outputs.py."""
    cells, page = notebook_cells(), ROOT / "docs" / "quickstart.md"
    assert ["".join(cell["source"]) + "\n" for cell in cells] == python_blocks(page)
    printed = ["".join(out["text"]) for cell in cells for out in cell["outputs"] if out["output_type"] == "stream"]
    assert re.findall(r"^```text\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL) == printed
    pictures = [out for cell in cells for out in cell["outputs"] if "image/png" in out.get("data", {})]
    assert len(pictures) == len(re.findall(r"\(images/quickstart_\w+\.png\)", page.read_text())) == 3


def test_the_first_page_shows_the_code_and_the_output_of_the_readme():
    first, readme = ((ROOT / name).read_text() for name in ("docs/index.md", "README.md"))
    for language in ("python", "text"):
        block = re.search(rf"^```{language}\n.*?^```$", readme, re.MULTILINE | re.DOTALL)[0]
        assert block in first


@pytest.mark.slow
@pytest.mark.parametrize("page", [*PAGES, NOTEBOOK], ids=lambda path: path.name.removesuffix(".md"))
def test_documented_code_runs(page, bundle, tmp_path):
    """The Python blocks of a page or notebook, in order, in one process."""
    blocks = ["".join(cell["source"]) for cell in notebook_cells()] if page == NOTEBOOK else python_blocks(page)
    assert blocks
    if page.stem == "finder":
        pytest.importorskip("yt_astro_analysis", reason="the page shows the extra astro")
    if page.stem == "redshifts":
        pytest.importorskip("ytree", reason="the page shows how ytree loads a tree")
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n".join([USE_SMALL_MODEL.format(folder=str(bundle)), *blocks]))
    run(script, [], tmp_path, bundle)
    assert script.is_file()


@pytest.mark.slow
def test_readme_python_runs(bundle, tmp_path):
    from importlib.resources import files

    (tmp_path / "ics_gadget.dat").symlink_to(str(files("yt_protohalos") / "data" / "music64_gadget2.dat"))
    script = tmp_path / "readme.py"
    script.write_text("\n".join([USE_SMALL_MODEL.format(folder=str(bundle)), *python_blocks(ROOT / "README.md")]))
    run(script, [], tmp_path, bundle)
    assert list((tmp_path / "protohalos").iterdir())


def test_continuous_integration_runs_the_test_command_of_the_readme():
    """.ci/run greps the command out of the README: it must be there once, and the same in the installation page."""
    found = TEST_COMMAND.findall((ROOT / "README.md").read_text())
    assert len(found) == 1
    assert found[0].endswith("python -m pytest -n 2 --dist loadfile")
    assert TEST_COMMAND.findall((ROOT / "docs" / "install.md").read_text()) == found
    assert r"'^python3 -m venv \.venv-test ' README.md" in (ROOT / ".ci" / "run").read_text()


def test_demo_command_is_the_same_everywhere():
    command = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/protohalos demo"
    for page in ("README.md", "docs/install.md"):
        assert f"\n{command}\n" in (ROOT / page).read_text()


def test_documented_commands_exist(capsys):
    """The README and the docs name every command, and each has a --help that shows an example."""
    from yt_protohalos.cli import COMMANDS, main

    text = "".join(page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    commands = set(re.findall(r"^(?:\| `)?protohalos ([a-z]+)", text, re.MULTILINE))
    assert commands == set(COMMANDS)
    for command in sorted(commands):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        _, _, examples = capsys.readouterr().out.partition("example")
        assert f"protohalos {command}" in examples
