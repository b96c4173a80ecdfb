"""Scripts in processes of their own that begin with the libraries imported: that takes longer than most scripts."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
LIBRARIES = [
    "keras", "matplotlib.pyplot", "yt", "yt_protohalos.prediction.predictor", "yt_protohalos.yt_interface.fields",
]  # fmt: skip
SECONDS = 600
"""After which a script is taken to hang."""


def run_script(script: Path, arguments: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Run a script as ``python SCRIPT ARGUMENTS`` does, but with the libraries imported; status, output and errors.

    environment : variables to set; those that a library reads when it is imported must be set before the first script
    """
    # forks of a server that has imported the libraries, and has computed nothing with them
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    with TemporaryDirectory() as folder:
        texts = [Path(folder, name) for name in ("output", "errors")]
        process = context.Process(target=_run, args=(script, arguments, cwd, environment, texts))
        process.start()
        process.join(SECONDS)
        process.kill()
        process.join()
        status = process.exitcode
        assert status is not None
        return status, *(path.read_text() for path in texts)


def _run(script: Path, arguments: list[str], cwd: Path, environment: dict[str, str], texts: list[Path]) -> None:
    for descriptor, path in enumerate(texts, start=1):
        with path.open("w") as file:
            os.dup2(file.fileno(), descriptor)
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = [str(script), *arguments]
    # not what pytest adds for the tests
    added = (ROOT / "tests", ROOT / "examples")
    others = [path for path in sys.path if not any(Path(path).is_relative_to(folder) for folder in added)]
    sys.path[:] = [str(script.parent), str(ROOT), *others]
    runpy.run_path(str(script), run_name="__main__")
