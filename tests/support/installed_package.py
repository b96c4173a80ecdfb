"""Script: check the archives of a checkout, and the package installed from them, from a folder outside the checkout.

python installed_package.py CHECKOUT DIST
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata, resources
from pathlib import Path

SUFFIXES = {".pyc", ".nbi", ".nbc"}


def require(found: object, message: str) -> None:
    """End with a message unless something is so."""
    if not found:
        raise SystemExit(f"installed_package: {message}")


def only(folder: Path, pattern: str) -> Path:
    """The one file of a pattern."""
    found = sorted(folder.glob(pattern))
    require(len(found) == 1, f"{folder} holds {len(found)} files {pattern}; build into an empty folder")
    return found[0]


def check_archives(checkout: Path, dist: Path) -> None:
    """Both archives hold every file of the package, the wheel nothing else, the source archive the tests and docs."""
    package = {
        path.relative_to(checkout).as_posix()
        for path in (checkout / "yt_protohalos").rglob("*")
        if path.is_file() and path.suffix not in SUFFIXES
    }
    require(any(name.endswith(".weights.h5") for name in package), "the checkout has no weights")
    with zipfile.ZipFile(only(dist, "*.whl")) as archive:
        wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    require(wheel == package, f"wheel and checkout differ in {sorted(wheel ^ package)[:10]}")
    with tarfile.open(only(dist, "*.tar.gz")) as archive:
        source = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    wanted = package | {
        "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "setup.cfg", "pyproject.toml", ".ci/run", ".ci/package",
        ".ci/oldest.txt", "tests/support/installed_package.py", "docs/index.md",
    }  # fmt: skip
    require(source >= wanted, f"the source archive lacks {sorted(wanted - source)[:10]}")


def check_models_and_data() -> None:
    """Every bundled model has the weights that its card names, and the initial conditions are there."""
    from yt_protohalos.models import registry

    for method, name in registry.DEFAULT_MODELS.items():
        require(name in registry.available(), f"{name}, the default model of method {method}, is missing")
    require(registry.DEFAULT_MODEL in registry.DEFAULT_MODELS.values(), "the default model belongs to no method")
    for name in registry.available():
        registry.verify(*registry.load_card(name))
    require((resources.files("yt_protohalos") / "data" / "music64_gadget2.dat").is_file(), "no initial conditions")
    require((resources.files("yt_protohalos") / "py.typed").is_file(), "no py.typed")


def check_entry_points(folder: Path) -> None:
    """The command is on the path of the environment, and yt finds the frontends by itself."""
    import numpy as np
    import yt

    yt.set_log_level("error")
    own = metadata.distribution("yt_protohalos").entry_points
    require({entry.group for entry in own} == {"console_scripts", "yt.frontends"}, f"entry points are {list(own)}")
    for entry in own:
        entry.load()
    command = shutil.which("protohalos", path=sysconfig.get_path("scripts"))
    require(command, "the command protohalos is missing")
    done = subprocess.run([str(command), "models"], capture_output=True, text=True, timeout=120)
    require(done.returncode == 0 and "planck" in done.stdout, f"protohalos models fails: {done.stderr[-1000:]}")
    # grafic2, for its header holds all that a dataset needs
    header = struct.pack("<3i8f", 16, 16, 16, 0.29, 0, 0, 0, 0.02, 0.307112, 0.692888, 67.77)
    planes = np.random.default_rng(1).normal(0, 0.1, (16, 16, 16)).astype("<f4")
    (folder / "grafic").mkdir()
    with open(folder / "grafic" / "ic_deltab", "wb") as file:
        for record in (header, *(plane.tobytes() for plane in planes)):
            mark = struct.pack("<i", len(record))
            file.write(mark + record + mark)
    ds = yt.load(str(folder / "grafic"))
    require(type(ds).__module__.startswith("yt_protohalos."), f"yt.load opens a grafic2 folder as {type(ds)}")


def main() -> None:
    """Run all checks."""
    checkout, dist = (Path(name).resolve() for name in sys.argv[1:3])
    import yt_protohalos

    home = Path(yt_protohalos.__file__).resolve()
    require(checkout not in home.parents, f"{home} is in the checkout; install the wheel, and run this elsewhere")
    check_archives(checkout, dist)
    check_models_and_data()
    check_entry_points(Path.cwd())
    sys.stdout.write(f"yt_protohalos {yt_protohalos.__version__} of {home.parent}: archives, models, entry points\n")


if __name__ == "__main__":
    main()
