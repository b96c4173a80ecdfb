"""What a position network learns, and its loss."""

from __future__ import annotations

from dataclasses import asdict, replace

import h5py
import numpy as np
import pytest
from position_runs import make_position_run

from yt_protohalos.exceptions import FormatError, InitialConditionsError, ModelError
from yt_protohalos.models.channels import DISPLACEMENT_UNIT
from yt_protohalos.models.symmetry import Symmetry
from yt_protohalos.training.dataset import LabelledField, make_sample
from yt_protohalos.training.position_targets import position_loss
from yt_protohalos.training.settings import TrainingSettings
from yt_protohalos.training.trainer import Trainer

N = 32
SETTINGS = TrainingSettings(
    "positions", stages=((16, 4),), margin=4, filters=(2, 4), evolution="fast", dtype_policy="float32", validate_every=4
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> LabelledField:
    return make_position_run(tmp_path_factory.mktemp("runs"), SETTINGS, N)


def test_the_sites_of_a_group_are_to_end_at_one_point_and_others_where_they_end(run) -> None:
    targets = run.targets.astype(float)
    evolved = np.indices((N, N, N)) + run.evolved.displacement
    wanted = evolved + targets[2:5]
    assert np.array_equal(targets[0] > 0, run.labels > 0)
    assert (targets[1] >= targets[0]).all() and targets[1].sum() > targets[0].sum()
    largest = run.labels == 1
    apart = wanted[:, largest] - wanted[:, largest][:, :1]
    assert np.abs(apart - N * np.round(apart / N)).max() < 0.05
    radius = targets[5][largest]
    assert np.ptp(radius) == 0 and 4 / 3 * np.pi * radius[0] ** 3 >= largest.sum() * 0.98
    outside = targets[1] == 0
    assert np.abs(targets[2:5][:, outside]).max() < 0.5, "other sites end where the simulation has them"
    assert not targets[5][outside].any()


def test_loss_falls_to_the_rounding_for_a_perfect_output_and_grows_with_the_distance(run) -> None:
    truth = np.moveaxis(run.targets.astype(np.float32), 0, -1)[None]
    perfect = np.concatenate([40 * truth[..., :2] - 20, truth[..., 2:5] / DISPLACEMENT_UNIT], axis=-1)
    loss = position_loss()
    assert float(loss(truth, perfect)) == pytest.approx(0.5 * 0.01, abs=1e-4)
    losses = []
    for distance in (1.0, 2.0, 4.0):
        moved = perfect.copy()
        moved[..., 2] += distance / DISPLACEMENT_UNIT
        losses.append(float(loss(truth, moved)))
    assert losses[1] / losses[0] == pytest.approx(2, rel=0.02) and losses[2] / losses[1] == pytest.approx(2, rel=0.02)
    wrong = perfect.copy()
    wrong[..., 0] *= -1
    assert float(loss(truth, wrong)) > 15


def test_targets_turn_with_the_crop(run) -> None:
    plain = make_sample(run, (3, 5, 7), 16, SETTINGS, {"delta": 1.0})[1]
    for symmetry in (Symmetry((1, 2, 0), (True, False, True)), Symmetry((0, 2, 1), (False, True, False))):
        turned = make_sample(run, (3, 5, 7), 16, SETTINGS, {"delta": 1.0}, symmetry)[1]
        moved = symmetry.apply(plain)
        assert np.array_equal(turned[..., [0, 1, 5]], moved[..., [0, 1, 5]])
        for axis in range(3):
            sign = -1 if symmetry.flips[axis] else 1
            assert np.array_equal(turned[..., 2 + axis], sign * moved[..., 2 + symmetry.axes[axis]])


def test_a_position_network_trains_and_resumes(run, tmp_path) -> None:
    Trainer(SETTINGS, [run], [run], tmp_path / "whole").run(progress=False)
    first = Trainer(SETTINGS, [run], [run], tmp_path / "parts")
    first.run(progress=False, seconds=0.0)
    assert 0 < first.step < 4
    second = Trainer(SETTINGS, [run], [run], tmp_path / "parts")
    second.run(progress=False)
    rows = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("whole", "parts")]
    losses = [[row.split(",")[4:] for row in lines[1:]] for lines in rows]
    assert losses[0] == losses[1] and np.isfinite(second.held_out_loss())


def test_runs_without_final_positions_and_other_evolutions_are_refused(run, tmp_path) -> None:
    plain = LabelledField.from_labels(run.field, run.labels)
    with pytest.raises(InitialConditionsError, match="give a file of: protohalos simulate --keep-positions"):
        plain.with_targets(SETTINGS)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["labels"] = run.labels
    with pytest.raises(
        FormatError, match="holds no positions; make the run with: protohalos simulate --keep-positions"
    ):
        replace(plain, source=tmp_path / "run.h5").with_targets(SETTINGS)
    for head, evolution in (("positions", "coarse"), ("semantic", "fast"), ("positions", "other")):
        with pytest.raises(ModelError, match=f"evolution '{evolution}' is not for a {head} network"):
            TrainingSettings(head, evolution=evolution)
    assert asdict(SETTINGS)["evolution"] == "fast"
