"""Laws of the ``protohalos`` command: what it writes, what it refuses, and how."""

from __future__ import annotations

import re
import subprocess
import sys

import h5py
import matplotlib
import pytest
import yt
from yt_fakes import BOX, FakePredictor, N, write_fake_model

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.models import registry
from yt_protohalos.prediction.predictor import ProtohaloPredictor

matplotlib.use("Agg")
PICTURES = {"protohalos.png", "masses.png", "probability.png", "mass_function.png"}


@pytest.fixture(autouse=True)
def fakes(tmp_path, monkeypatch):
    """A model folder whose networks are stand-ins, a cache of its own, and the predictors made."""
    made = []

    def from_pretrained(name=registry.DEFAULT_MODEL, precision="auto"):
        made.append(FakePredictor())
        made[-1].loaded = name
        return made[-1]

    monkeypatch.setattr(ProtohaloPredictor, "from_pretrained", from_pretrained)
    monkeypatch.setenv("YT_PROTOHALOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def without_pictures(monkeypatch):
    """For tests of something else: drawing takes longer than all that they do."""
    monkeypatch.setattr("yt_protohalos.analysis.pictures.write_pictures", lambda *_, **__: [])


@pytest.fixture
def model(tmp_path):
    return str(write_fake_model(tmp_path / "model"))


@pytest.fixture
def ics(tmp_path):
    path = tmp_path / "ics.hdf5"
    ph.generate_initial_conditions(N, BOX, seed=11, filename=path)
    return str(path)


def error_line(capsys):
    """The one line of standard error."""
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    (line,) = captured.strip().splitlines()
    assert line.startswith("protohalos: error: ")
    return line


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_has_help_with_an_example_of_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    example = text.split("example:")[1].replace("\\\n", " ")
    arguments = re.search(rf"protohalos ({command}.*)", example)[1].split()
    # the example itself can be parsed
    assert cli.build_parser().parse_args(arguments).command == command


def test_find_writes_catalogue_cubes_and_pictures(ics, model, tmp_path, capsys, fakes):
    assert cli.main(["find", ics, "-o", "out", "--model", model, "--quiet"]) == 0
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == PICTURES | {"prediction.h5", "protohalos.0.h5"}
    prediction = ph.Prediction.load(out / "prediction.h5")
    with h5py.File(out / "prediction.h5") as file:
        assert file["labels"].shape == file["probability"].shape == (N, N, N)
    catalog = yt.load(str(out / "protohalos.0.h5"))
    assert catalog.all_data()["halos", "particle_mass"].size == prediction.n_protohalos
    text = capsys.readouterr().out
    assert f"{prediction.n_protohalos} protohalos" in text
    assert f"{prediction.label_mass[1]:.3e}" in text
    assert len(fakes) == 1


@pytest.mark.parametrize(
    ("options", "name"),
    [([], registry.DEFAULT_MODEL), *((["--method", method], name) for method, name in registry.DEFAULT_MODELS.items())],
)
@pytest.mark.usefixtures("without_pictures")
def test_without_a_model_the_method_chooses_it(ics, fakes, options, name):
    assert cli.main(["find", ics, "-o", "out", "--quiet", *options]) == 0
    assert [predictor.loaded for predictor in fakes] == [name]


@pytest.mark.usefixtures("without_pictures")
def test_the_table_has_the_ten_largest_in_order(ics, model, capsys):
    cli.main(["find", ics, "-o", "out", "--model", model, "--quiet"])
    rows = re.findall(r"^ +(\d+)   +(\d\.\d+e\+\d+) ", capsys.readouterr().out, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(10))
    masses = [float(mass) for _, mass in rows]
    assert masses == sorted(masses, reverse=True)


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_find_again_reads_the_cache_and_no_cache_does_not(ics, model, tmp_path, fakes):
    for options, runs in (([], 1), ([], 1), (["--no-cache"], 2), (["--threshold", "0.6"], 3)):
        assert cli.main(["find", ics, "-o", "out", "--model", model, "--quiet", *options]) == 0
        assert len(fakes) == runs
    assert cli.main(["find", ics, "-o", "out", "--model", model, "--quiet", "--cache", "elsewhere"]) == 0
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--at-redshift", "0.5", "--on-range", "allow"]])
def test_all_that_find_writes_is_rebuilt_from_the_cubes_without_networks(ics, model, tmp_path, capsys, fakes, options):
    assert cli.main(["find", ics, "-o", "out", "--model", model, "--quiet", *options]) == 0
    out = tmp_path / "out"
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in first.keys() - {"prediction.h5"}:
        (out / name).unlink()
    assert cli.main(["plot", "out", "--ics", ics]) == cli.main(["catalog", "out", "--ics", ics]) == 0
    assert "the 10 largest" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert len(fakes) == 1


@pytest.fixture
def cubes(tmp_path):
    """The cubes alone, of the same realisation as `ics`."""
    path = tmp_path / "cubes" / "prediction.h5"
    path.parent.mkdir()
    prediction = FakePredictor().predict(ph.generate_initial_conditions(N, BOX, seed=11), progress=False)
    prediction.save(path)
    return path, prediction


def test_plot_draws_one_protohalo_and_the_errors_where_asked(cubes, tmp_path):
    path, prediction = cubes
    with h5py.File(tmp_path / "truth.h5", "w") as file:
        file["labels"] = prediction.labels
    arguments = ["--axis", "x", "--index", "3", "--protohalo", "2", "--labels", "truth.h5"]
    assert cli.main(["plot", str(path), "-o", "more", *arguments]) == 0
    assert {each.name for each in (tmp_path / "more").iterdir()} == PICTURES | {"protohalo_2.png", "errors.png"}


def test_initial_conditions_of_another_box_are_refused(cubes, tmp_path, capsys):
    path, _ = cubes
    for i, wrong in enumerate(({"seed": 12}, {"redshift": 60.0}, {"box_size": BOX * 1.01}, {"n": N + 2})):
        given = {"n": N, "box_size": BOX, "seed": 11} | wrong
        # a name of its own, for yt remembers what it has read
        name = f"wrong{i}.hdf5"
        ph.generate_initial_conditions(given.pop("n"), given.pop("box_size"), filename=tmp_path / name, **given)
        assert cli.main([("catalog", "plot")[i % 2], str(path), "--ics", name]) == cli.USER_ERROR
        assert "give the file that it was made from" in error_line(capsys)
    assert [each.name for each in path.parent.iterdir()] == ["prediction.h5"]


def test_a_catalogue_of_nothing_is_refused(ics, tmp_path, capsys):
    empty = FakePredictor(level=20.0).predict(ph.generate_initial_conditions(N, BOX, seed=11), progress=False)
    empty.save(tmp_path / "prediction.h5")
    assert cli.main(["catalog", str(tmp_path), "--ics", ics]) == cli.USER_ERROR
    assert "no protohalo of at least 5 sites" in error_line(capsys)


@pytest.mark.slow
def test_progress_bars_go_to_standard_error_unless_quiet(ics, model, capsys):
    arguments = ["find", ics, "-o", "out", "--model", model, "--no-cache"]
    cli.main(arguments)
    assert "Pretending" in capsys.readouterr().err
    cli.main([*arguments, "--quiet"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothere.dat", "-o", "out"], "nothere.dat"),
        (["{ics}", "-o", "out", "--model", "nonesuch"], "no model named 'nonesuch'"),
        (["{ics}", "-o", "out", "--model", "{model}", "--threshold", "7"], "threshold 7.0"),
        (["{junk}", "-o", "out", "--model", "{model}"], "junk.dat"),
        (["{ics}", "-o", "{junk}/below", "--model", "{model}"], "not a folder"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_2(ics, model, tmp_path, capsys, fakes, arguments, said):
    junk = tmp_path / "junk.dat"
    junk.write_bytes(b"nothing that yt knows" * 10)
    filled = [text.format(ics=ics, model=model, junk=junk) for text in arguments]
    assert cli.main(["find", *filled, "--quiet"]) == cli.USER_ERROR
    assert said in error_line(capsys)
    assert fakes == []
    assert not (tmp_path / "out").exists()


def test_plot_of_nothing_and_models_that_are_not_there(tmp_path, capsys):
    assert cli.main(["plot", str(tmp_path)]) == cli.USER_ERROR
    assert "protohalos find" in error_line(capsys)
    assert cli.main(["models", "nonesuch"]) == cli.USER_ERROR
    assert "nonesuch" in error_line(capsys)


def test_unknown_commands_and_options_have_status_2(capsys):
    for arguments in (["nonesuch"], ["find"], ["find", "x"], ["models", "--nonesuch"], []):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == cli.USER_ERROR
    assert "usage" in capsys.readouterr().err


def test_an_interrupted_run_says_that_it_can_resume(ics, model, tmp_path, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakePredictor, "predict", interrupt)
    assert cli.main(["find", ics, "-o", "out", "--model", model, "--quiet"]) == cli.INTERRUPTED
    assert "resume" in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_without_protohalos_the_cubes_are_written_and_no_catalogue(ics, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ProtohaloPredictor, "from_pretrained", lambda name, precision="auto": FakePredictor(level=20.0))
    assert cli.main(["find", ics, "-o", "out", "--model", model, "--quiet"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == PICTURES | {"prediction.h5"}
    assert "No protohalo of at least 5 sites" in capsys.readouterr().out


def test_warnings_are_one_line_each(ics, model, capsys, monkeypatch):
    import warnings

    def warn(*args, **kwargs):
        warnings.warn("spacings differ", UserWarning, stacklevel=1)

    monkeypatch.setattr("yt_protohalos.yt_interface.predict.checked_side", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        assert cli.main(["find", ics, "-o", "out", "--model", model, "--quiet"]) == 0
    assert capsys.readouterr().err == "protohalos: warning: spacings differ\n"


def test_a_reader_that_has_enough_is_no_error():
    command = [sys.executable, "-m", "yt_protohalos.cli", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_models_describes_a_model_and_refuses_an_altered_one(model, tmp_path, capsys):
    assert cli.main(["models", model]) == 0
    text = capsys.readouterr().out
    assert "fake, version 1" in text
    assert "verified" in text
    (tmp_path / "model" / "semantic.weights.h5").write_bytes(b"altered")
    assert cli.main(["models", model]) == cli.USER_ERROR
    assert "SHA-256" in error_line(capsys)


def test_models_lists_all_that_are_bundled_in_a_line_each(capsys):
    assert cli.main(["models"]) == 0
    head, *lines, note, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["model", "method", "lattice", "[Mpc/h]", "ACC", "F1", ">", "500", "MB"]
    assert lines[0].startswith(f"{registry.DEFAULT_MODEL} *") and sum(" * " in line for line in lines) == 1
    cells = {line.split()[0]: line.replace(" *", "").split()[1:] for line in lines}
    assert sorted(cells) == sorted(registry.available())
    for method, name in registry.DEFAULT_MODELS.items():
        card, folder = registry.load_card(name)
        scores = card.scores["TreePM reference"]
        assert cells[name][0] == method and float(cells[name][1]) == pytest.approx(card.spacing, abs=1e-3)
        assert float(cells[name][2]) == pytest.approx(scores["ACC"], abs=5e-4)
        # a model that takes the semantic network of another one is small
        own = sum(path.stat().st_size for path in folder.glob("*.weights.h5"))
        assert float(cells[name][-1]) == pytest.approx(own / 1e6, abs=0.05)
    assert "TreePM" in note and "protohalos models NAME" in last


@pytest.mark.slow
def test_demo_runs_the_main_job_on_the_bundled_initial_conditions(model, tmp_path, capsys, fakes):
    assert cli.main(["demo", "--model", model, "--quiet"]) == 0
    names = {path.name for path in (tmp_path / "protohalos_demo").iterdir()}
    yt_pictures = {"yt_slice_linear_overdensity.png", "yt_slice_protohalo_mass.png"}
    assert names == PICTURES | yt_pictures | {"prediction.h5", "protohalos.0.h5"}
    text = capsys.readouterr().out
    assert "12.5 Mpccm/h" in text
    assert "particle_protohalo_mass" in text
    assert "the 10 largest" in text
    assert len(fakes) == 1


def test_the_command_loads_no_network_library_to_show_help():
    import subprocess

    code = (
        "import sys; from yt_protohalos.cli import build_parser; build_parser(); "
        "print(*({'keras', 'tensorflow', 'yt', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "", done.stderr
