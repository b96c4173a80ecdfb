"""Run MUSIC on the files that `zoom_region` writes, and check that the finest cells hold every member.

MUSIC (https://github.com/cosmo-sims/MUSIC) is built outside this repository; its Gadget-2 output holds the finest
particles as type 1. MUSIC makes the box, the protohaloes are those of friends of friends, and the zooms have an
amplitude near zero, which leaves the particles in the middle of their cells.

Run: python music_zoom.py MUSIC_EXECUTABLE [-o DIR]
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import yt_protohalos as ph

N, BOX = 64, 25.0
ROUGH = 2
"""Cells of the finest level between the surface of a shape and what must be refined, along each axis."""
CONF = f"""[setup]
boxlength    = {BOX:g}
zstart       = 49
levelmin     = {N.bit_length() - 1}
levelmax     = {N.bit_length() - 1}
padding      = 2
overlap      = 2
baryons      = no
use_2LPT     = no
align_top    = no
ref_center   = 0.5, 0.5, 0.5
ref_extent   = 0.2, 0.2, 0.2
[cosmology]
Omega_m      = 0.307112
Omega_L      = 0.692888
Omega_b      = 0.048252
H0           = 67.77
sigma_8      = 0.8288
nspec        = 0.9611
transfer     = eisenstein
[random]
seed[{N.bit_length() - 1}]      = SEED
[output]
format       = gadget2
filename     = box.dat  # not that of the zoom
"""


def finest_particles(path: Path) -> tuple[np.ndarray, float]:
    """Positions of the particles of type 1, (P, 3), in units of the box, and the side of their cells."""
    with path.open("rb") as file:
        np.fromfile(file, np.int32, 1)
        counts = np.fromfile(file, np.int32, 6)
        masses = np.fromfile(file, np.float64, 6)
        file.seek(256 + 2 * 4)
        np.fromfile(file, np.int32, 1)
        x = np.fromfile(file, np.float32, 3 * int(counts.sum())).reshape(-1, 3)
    total = 2.775e11 * 0.307112 * BOX**3 / 1e10  # 1e10 Msun/h
    return x[counts[0] : counts[0] + counts[1]] / BOX, float((masses[1] / total) ** (1 / 3))


def run(music: Path, folder: Path, conf: str) -> None:
    with (folder / "log.txt").open("w") as log:
        subprocess.run([music.absolute(), conf], cwd=folder, stdout=log, stderr=log, check=True)


def shift_of(log: Path) -> np.ndarray:
    """Shift of the box that MUSIC says to have made, (3,), in units of the box."""
    line = next(line for line in log.read_text().splitlines() if "shifted by" in line)
    return np.array(line.partition("(")[2].partition(")")[0].split(","), dtype=float) / N


def check(
    music: Path, folder: Path, region: ph.ZoomRegion, members: np.ndarray, shape: str, levels: int, file: bool
) -> str:
    """Run MUSIC on one region, with the point file or with the equation of the ellipsoid; return what was found."""
    points = folder / "points.txt"
    region.write(points)
    text = region.music_configuration(folder / "box.conf", points.name, shape, levels)
    text = text.replace("sigma_8      = 0.8288", "sigma_8      = 1e-6")
    if not file:
        lines = (line for line in text.splitlines() if not line.startswith("region_point_file"))
        text = "\n".join(line.removeprefix("# ") if line.startswith("# region_") else line for line in lines)
    (folder / "zoom.conf").write_text(text)
    run(music, folder, "zoom.conf")
    found, side = finest_particles(folder / "box_zoom.dat")
    fine = N * 2**levels
    assert np.isclose(side * fine, 1, rtol=1e-3), f"cells of {side:g} of the box, not 1 / {fine}"
    found = (found - shift_of(folder / "log.txt")) % 1
    refined = np.zeros((fine,) * 3, dtype=bool)
    refined[tuple(np.floor(found * fine).astype(int).T)] = True
    block = np.stack(np.meshgrid(*[np.arange(2**levels)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    cells = (members[:, None] * 2**levels + block).reshape(-1, 3)
    inside = refined[tuple(cells.T)].mean()
    assert inside == 1, f"{1 - inside:.2%} of the members' cells are not refined"
    # MUSIC decides on blocks of 2^3 cells by the middle of their first: the surface of the shape is rough
    around = region.hull if shape == "convex_hull" else region.ellipsoid
    middle = around.mapped(fine, np.full(3, -0.5)).integer_points()
    missing = middle[~refined[tuple(middle.T % fine)]]
    steps = np.stack(np.meshgrid(*[[-ROUGH, 0, ROUGH]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    deep = np.array([around.contains((missing + 0.5 + step) / fine) for step in steps]).all(axis=0)
    assert not deep.any(), f"{deep.sum()} cells deep inside the {shape} are not refined"
    return (
        f"{shape:12s} from {'points' if file else 'matrix'}, {levels} levels: all {len(cells)} cells of members "
        f"refined, {1 - len(missing) / len(middle):.1%} of the cells in the shape; {len(found)} fine particles in all"
    )


def chosen(prediction: ph.Prediction) -> list[ph.ZoomRegion]:
    """Largest protohalo inside the box and largest that crosses a face, of those that MUSIC can refine."""
    found: dict[bool, ph.ZoomRegion] = {}
    for halo_id in range(prediction.n_protohalos):
        region = ph.zoom_region(prediction, halo_id)
        # MUSIC refines no grid that is wider than half of the box
        if np.ptp(region.points, axis=0).max() < 0.3:
            found.setdefault(bool(np.ptp(region.sites, axis=0).max() == N - 1), region)
        if len(found) == 2:
            break
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, help="executable of MUSIC")
    parser.add_argument("-o", "--output-dir", type=Path, help="keep the files there")
    args = parser.parse_args()
    folder = args.output_dir or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    for seed in (1, 2):
        (folder / "box.conf").write_text(CONF.replace("SEED", str(seed)))
        run(args.music, folder, "box.conf")
        prediction = ph.predict(ph.load(folder / "box.dat"), method="fof", cache=False, progress=False)
        for region in chosen(prediction):
            crosses = "crosses a face" if np.ptp(region.sites, axis=0).max() == N - 1 else "inside the box"
            members = np.argwhere(prediction.labels == region.halo_id + 1)
            print(f"seed {seed}, protohalo {region.halo_id}: {region.n_members} sites, {crosses}")
            for shape, file, levels in (("convex_hull", True, 2), ("ellipsoid", True, 1), ("ellipsoid", False, 1)):
                print(" ", check(args.music, folder, region, members, shape, levels, file), flush=True)


if __name__ == "__main__":
    main()
