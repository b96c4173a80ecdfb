#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""Sessions for contributors: `nox -s NAME`; `nox` alone runs lint, types and the fast tests."""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
TEST_EXTRAS = ".[test,astro,docs,train]"


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strict in the rooms that do not import yt."""
    session.install("-e", TEST_EXTRAS)
    session.run("mypy")


@nox.session
def fast(session: nox.Session) -> None:
    """Tests that are not marked slow."""
    session.install("-e", TEST_EXTRAS)
    session.run("pytest", "-n", "2", "--dist", "loadfile", "-m", "not slow", *session.posargs)


@nox.session(python=PYTHONS, default=False)
def tests(session: nox.Session) -> None:
    """All tests."""
    session.install("-e", TEST_EXTRAS)
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Documentation in docs/_build/html; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Source archive and wheel in dist/."""
    session.install("build")
    session.run("python", "-m", "build")


if __name__ == "__main__":
    nox.main()
