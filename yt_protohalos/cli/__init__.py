"""The ``protohalos`` command."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from ..exceptions import ProtohaloError
from .common import USER_ERROR as USER_ERROR
from .common import fail

_NAMES = (
    "demo", "find", "plot", "report", "catalog", "models", "simulate", "label", "train", "bundle", "validate", "zoom",
    "tree",
)  # fmt: skip
COMMANDS = {name: f"{__name__}.{name}" for name in _NAMES}
"""Module of each command, with ``HELP`` (one line), ``EXAMPLE`` (text), ``add_arguments(parser)``, which adds its
options, and ``run(args)``, which runs it. It imports nothing heavy before ``run``."""
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 2, with one line of advice, for a user's error."""
    args = build_parser().parse_args(arguments)
    # read by tensorflow when it is first imported, which happens inside the commands
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            args.run(args)
        except BrokenPipeError:
            # the reader has closed the pipe; drop the rest of the output
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        except (ProtohaloError, OSError) as error:
            return fail(str(error))
        except MemoryError as error:
            return fail(f"out of memory ({error}); use a machine with more, or a smaller box")
        except KeyboardInterrupt:
            fail("interrupted; run the same command again to resume")
            return INTERRUPTED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Parser with every command of `COMMANDS`."""
    parser = argparse.ArgumentParser(
        prog="protohalos",
        description="Which part of cosmological initial conditions becomes which dark-matter halo?",
        epilog="example:\n  protohalos demo\n  protohalos find ics_gadget.dat -o protohalos",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module_name in COMMANDS.items():
        module = import_module(module_name)
        subparser = subparsers.add_parser(
            name, help=module.HELP, description=module.HELP, epilog=f"example:\n{module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def _show_warning(
    message: Warning | str, category: type, filename: str, lineno: int, file: object = None, line: object = None
) -> None:
    sys.stderr.write(f"protohalos: warning: {message}\n")
