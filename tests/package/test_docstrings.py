"""Public names are documented: every parameter, what is returned, and an example that runs as a user types it."""

from __future__ import annotations

import doctest
import inspect
import shutil
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yt
from public_names import LISTED, own_methods, sections
from small_model import write_small_bundle
from yt_fakes import FakePredictor

import yt_protohalos as ph
from yt_protohalos.exceptions import ProtohaloError

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


EXPLAINED = {name: value for name, value in LISTED.items() if inspect.isfunction(value) or inspect.isclass(value)}
# errors and warnings are raised, not called: the root shows how they are caught
WITH_EXAMPLE = {
    name: value
    for name, value in EXPLAINED.items()
    if not (inspect.isclass(value) and issubclass(value, Exception)) or value is ProtohaloError
}


def entries(text: str) -> set[str]:
    """Names that a section of parameters or attributes explains."""
    heads = (line.partition(" : ")[0] for line in text.splitlines() if line and not line[0].isspace())
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "cls"}


def test_every_public_name_is_on_the_page():
    assert {f"yt_protohalos.{name}" for name in ph.__all__} <= set(LISTED) | {
        # pages name these by their modules
        f"yt_protohalos.{name.rpartition('.')[2]}" for name in LISTED
    }  # fmt: skip


@pytest.mark.parametrize("name", EXPLAINED)
def test_parameters_and_results_are_explained(name):
    value = EXPLAINED[name]
    assert value.__doc__, f"{name} has no docstring"
    parts = sections(value.__doc__)
    if inspect.isclass(value) and issubclass(value, Exception):
        return
    told = entries(parts.get("Parameters", "")) | entries(parts.get("Attributes", ""))
    wanted = parameters(value)
    if inspect.isclass(value) and is_dataclass(value):
        # what a parent explains
        for parent in value.__mro__[1:-1]:
            told |= entries(sections(parent.__doc__ or "").get("Attributes", ""))
    assert wanted <= told, f"{name} does not explain {sorted(wanted - told)}"
    if inspect.isfunction(value) and value.__annotations__.get("return") not in (None, "None"):
        assert parts.get("Returns"), f"{name} does not say what it returns"
    if inspect.isclass(value):
        silent = [method for method, member in own_methods(value) if callable(member) and not member.__doc__]
        assert not silent, f"{name} has methods without a docstring: {silent}"


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_there_is_an_example(name):
    text = sections(WITH_EXAMPLE[name].__doc__ or "").get("Examples", "")
    assert ">>> " in text, f"{name} has no Examples section"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What docs/api.md says the examples start from, with small models under the names of the bundled ones."""
    from yt_protohalos.models import registry

    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_BUNDLED", write_small_bundle(folder / "models"))
        patch.setenv("YT_PROTOHALOS_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        field = ph.generate_initial_conditions(32, 6.25, seed=7, filename="ics.hdf5")
        ds = ph.load("ics.hdf5")
        # objects of a plain shape, where a network of random weights finds ragged ones
        predictor = FakePredictor()
        ph.find_protohalos(ds, output_dir="protohalos", predictor=predictor, cache=False, progress=False)
        prediction = predictor.predict(field)
        prediction.save("protohalos/prediction.h5")
        yield {"ph": ph, "np": np, "yt": yt, "field": field, "prediction": prediction}


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_example_runs(name, names, monkeypatch, tmp_path):
    if "import ytree" in (WITH_EXAMPLE[name].__doc__ or ""):
        pytest.importorskip("ytree")
    # each in a folder of its own, for some write the files that others read
    (tmp_path / "ics.hdf5").symlink_to(Path("ics.hdf5").resolve())
    shutil.copytree("protohalos", tmp_path / "protohalos")
    monkeypatch.chdir(tmp_path)
    names = {**names, "ds": ph.load("ics.hdf5")}
    parser = doctest.DocTestParser()
    test = parser.get_doctest(inspect.cleandoc(WITH_EXAMPLE[name].__doc__ or ""), names, name, None, 0)
    assert test.examples
    report: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append)
    assert not failed, "".join(report)
