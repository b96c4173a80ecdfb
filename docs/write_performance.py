"""Write the tables and pictures of docs/performance.md from benchmarks/results: `python docs/write_performance.py`."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent / "benchmarks"
PAGE = HERE / "performance.md"
IMAGES = HERE / "images"
GIB = 2**30
TABLE = re.compile(r"<!-- table: (\w+) -->\n.*?<!-- end of table -->", re.DOTALL)
Run = dict[str, Any]


def stages() -> tuple[str, ...]:
    """Stages of a prediction in their order."""
    specification = importlib.util.spec_from_file_location("stages", BENCHMARKS / "stages.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return tuple(module.STAGES)


STAGES = stages()


def read(name: str) -> list[Run]:
    """Runs of a benchmark, of several rounds the fastest; none if it was not measured."""
    path = BENCHMARKS / "results" / f"{name}.json"
    runs: list[Run] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    fastest: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda run: run["seconds"], reverse=True):
        fastest[run["side"], run["model"], run.get("plain", False)] = run
    # newest model first, the plain pipeline last
    keys = sorted(fastest, key=lambda key: key[1], reverse=True)
    return [fastest[key] for key in sorted(keys, key=lambda key: (key[0], key[2]))]


def title(run: Run) -> str:
    return f"{run['model']}{', plain' if run.get('plain') else ''}, {run['side']}³"


def used(runs: Iterable[Run]) -> list[str]:
    """Stages that some run has."""
    return [stage for stage in STAGES if any(stage in run["stages"] for run in runs)]


def table(runs: Sequence[Run], heads: Iterable[str], rows: dict[str, Callable[[Run], str]]) -> str:
    """Markdown table with a column for each run; rows without any value are left out."""
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(runs)]
    for name, cell in rows.items():
        cells = [cell(run) for run in runs]
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machines(runs: Iterable[Run]) -> str:
    """What the runs were measured on, a line for each machine."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        facts = run["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        text = f"{facts['cores']} cores of {facts['processor']} with {', '.join(facts['instructions'])}"
        found.setdefault(text + (f"; {versions}" if versions else ""), []).append(run)
    lines = []
    for text, those in found.items():
        names = "; ".join(sorted({f"{run['model']} in {run['precision']}" for run in those}))
        line = f"Measured on {text}. Precision: {names}."
        busy = [run["others_cores"] for run in those if "others_cores" in run]
        if busy:
            line += f" Other programs kept at most {max(busy):.1f} cores busy meanwhile."
        lines.append(fill(line, 120, break_on_hyphens=False))
    return "\n\n".join(lines)


def gib(size: float | None) -> str:
    return "" if size is None else f"{size / GIB:.2f}"


def pipeline_table(name: str, reference: Callable[[Run], bool]) -> str:
    """Stages of the runs on one box; ratios are to the run of the same box that `reference` picks."""
    runs = read(name)
    if not runs:
        return "Not measured yet."
    base = {run["side"]: run for run in runs if reference(run)}

    def of_stage(stage: str) -> Callable[[Run], str]:
        return lambda run: (
            f"{run['stages'][stage]:.1f} ({run['cpu_stages'][stage]:.1f})" if stage in run["stages"] else ""
        )

    rows = {f"{stage}, s": of_stage(stage) for stage in used(runs)}
    rows |= {
        "whole, s": lambda run: f"{run['seconds']:.1f} ({run['cpu_seconds']:.1f})",
        "ratio of wall times": lambda run: (
            f"{run['seconds'] / base[run['side']]['seconds']:.2f}" if run["side"] in base else ""
        ),
        "ratio of processor times": lambda run: (
            f"{run['cpu_seconds'] / base[run['side']]['cpu_seconds']:.2f}" if run["side"] in base else ""
        ),
        "peak of anonymous memory, GiB": lambda run: gib(max(run.get("anonymous", {"": None}).values())),
        "peak of resident memory, GiB": lambda run: gib(run["peak_resident"]),
        "protohaloes": lambda run: str(run["protohaloes"]),
    }
    picture = f"![Wall time by stage](images/{name}.png)"
    return f"{table(runs, map(title, runs), rows)}\n\n{machines(runs)}\n\n{picture}"


def scaling_tables() -> str:
    """A table for each model, by side."""
    runs = read("scaling")
    models = sorted({run["model"] for run in runs}, reverse=True)
    parts = [scaling_table(model, [run for run in runs if run["model"] == model]) for model in models]
    return "\n\n".join(parts) or "Not measured yet."


def scaling_table(model: str, runs: Sequence[Run]) -> str:
    def seconds(stage: str) -> Callable[[Run], str]:
        def cell(run: Run) -> str:
            guessed = run.get("extrapolated_stages", {})
            if stage in guessed:
                return f"({guessed[stage]:.0f})"
            return f"{run['stages'][stage]:.1f}" if stage in run["stages"] else ""

        return cell

    def whole(run: Run) -> str:
        return f"({run['extrapolated_seconds']:.0f})" if "extrapolated_seconds" in run else f"{run['seconds']:.0f}"

    def memory(stage: str) -> Callable[[Run], str]:
        return lambda run: gib(run["anonymous"].get(stage))

    rows = {f"{stage}, s": seconds(stage) for stage in used(runs)}
    rows |= {"whole, s": whole, "anonymous memory, GiB": lambda run: gib(max(run["anonymous"].values()))}
    rows |= {f"in {stage}": memory(stage) for stage in used(runs)}
    rows |= {
        "resident memory, GiB": lambda run: gib(max(run["resident"].values())),
        "disk, GiB": lambda run: gib(run.get("disk")),
        "protohaloes": lambda run: str(run["protohaloes"]),
    }
    heads = [f"{run['side']}³" for run in runs]
    text = f"### {model}, by the side of the box\n\n{table(runs, heads, rows)}"
    if len(runs) > 1:
        start, slope = growth(runs)
        text += f"\n\nMemory is {start:.1f} GiB plus {slope:.0f} bytes per site (least squares)."
    return f"{text}\n\n{machines(runs)}"


def growth(runs: Sequence[Run]) -> tuple[float, float]:
    """Anonymous memory of an empty box in GiB, and bytes for each site, by least squares."""
    import numpy as np

    sites = np.array([run["side"] ** 3 for run in runs], dtype=float)
    slope, start = np.polyfit(sites, [max(run["anonymous"].values()) for run in runs], 1)
    return float(start) / GIB, float(slope)


def text(page: str) -> str:
    """The page with its tables made anew."""
    tables = {
        "models": lambda: pipeline_table("pipeline", lambda run: run["model"] == "planck-v4"),
        "plain": lambda: pipeline_table("plain", lambda run: run.get("plain", False)),
        "scaling": scaling_tables,
    }

    def marked(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n\n{tables[found[1]]()}\n\n<!-- end of table -->"

    return TABLE.sub(marked, page)


def color_of(stage: str) -> Any:
    """Same colour in every picture."""
    from matplotlib import colormaps

    return colormaps["tab20"](STAGES.index(stage))


def plot_pipelines(name: str, path: Path) -> None:
    """Stacked bars of wall time by stage, and marks at the whole, which is less where stages run beside each other."""
    from matplotlib import pyplot

    runs = read(name)
    if not runs:
        return
    figure, axes = pyplot.subplots(figsize=(8, 1.4 + 0.6 * len(runs)), layout="constrained")
    names, left = [title(run) for run in runs], [0.0] * len(runs)
    for stage in used(runs):
        width = [run["stages"].get(stage, 0.0) for run in runs]
        axes.barh(names, width, left=left, label=stage, color=color_of(stage))
        left = [start + one for start, one in zip(left, width, strict=True)]
    axes.plot([run["seconds"] for run in runs], names, "k|", ms=25, mew=2, label="whole")
    axes.set_xlim(left=0)
    axes.set_xlabel("wall time [s]; stages that run beside each other add up to more than the whole")
    axes.invert_yaxis()
    figure.legend(fontsize="small", ncols=5, markerscale=0.4, loc="outside lower center")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def plot_scaling(path: Path) -> None:
    """Time of each model by stage, and memory of all, against the side of the box."""
    from matplotlib import pyplot

    runs = read("scaling")
    models = sorted({run["model"] for run in runs}, reverse=True)
    sides = sorted({run["side"] for run in runs})
    figure, panels = pyplot.subplots(
        1, len(models) + 1, figsize=(4.5 * (len(models) + 1), 4.5), layout="constrained", squeeze=False
    )
    memory = panels[0, -1]
    for number, (times, model) in enumerate(zip(panels[0], models, strict=False)):
        those = [run for run in runs if run["model"] == model]
        plot_times(times, model, those)
        for kind, style in (("anonymous", "o-"), ("resident", "s--")):
            values = [max(run[kind].values()) / GIB for run in those]
            memory.plot([run["side"] for run in those], values, style, color=f"C{number}", label=f"{model}, {kind}")
    memory.set_ylabel("peak memory [GiB]")
    memory.legend(fontsize="small", loc="upper left")
    for axes in panels[0]:
        axes.set(xscale="log", yscale="log", xlabel="sites per side")
        axes.set_xticks(sides, [f"{side}" for side in sides])
        axes.grid(alpha=0.3)
        axes.minorticks_off()
    memory.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def plot_times(axes: Any, model: str, runs: Sequence[Run]) -> None:
    """Lines of each stage; hollow marks are extrapolated."""
    lines = {stage: [run["stages"].get(stage, float("nan")) for run in runs] for stage in used(runs)}
    for stage, taken in lines.items():
        color = color_of(stage)
        guessed = [run.get("extrapolated_stages", {}).get(stage) for run in runs]
        values = [one if guess is None else guess for one, guess in zip(taken, guessed, strict=True)]
        axes.plot([run["side"] for run in runs], values, "-", color=color, lw=1, label=stage)
        for run, value, guess in zip(runs, values, guessed, strict=True):
            axes.plot(run["side"], value, "o", ms=4, color=color, mfc=color if guess is None else "white")
    whole = [run.get("extrapolated_seconds", run["seconds"]) for run in runs]
    axes.plot([run["side"] for run in runs], whole, "k-", label="whole")
    for run, value in zip(runs, whole, strict=True):
        axes.plot(run["side"], value, "ks", mfc="white" if "extrapolated_seconds" in run else "k")
    axes.set(title=model, ylabel="wall time [s]")
    axes.legend(fontsize="x-small", loc="upper left")


def main() -> None:
    """Write page and pictures."""
    import matplotlib

    matplotlib.use("Agg")
    PAGE.write_text(text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name in ("pipeline", "plain"):
        plot_pipelines(name, IMAGES / f"{name}.png")
    plot_scaling(IMAGES / "scaling.png")


if __name__ == "__main__":
    main()
