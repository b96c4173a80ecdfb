"""Training: samples, symmetries, periodic images, exact resume, halo labels."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from unyt import unyt_quantity

from yt_protohalos.exceptions import InitialConditionsError, ModelError, UnitsError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.initial_conditions.generate import generate_initial_conditions, lagrangian_particles
from yt_protohalos.models.channels import EVOLVED_INSTANCE, EVOLVED_POSITION
from yt_protohalos.models.symmetry import Symmetry, spread_symmetries
from yt_protohalos.segmentation.labels import relabel_by_size
from yt_protohalos.training.dataset import (
    LabelledField,
    Sampler,
    attribute_sites,
    label_centres,
    make_sample,
    measure_beta,
    split_images,
)
from yt_protohalos.training.export import export_network
from yt_protohalos.training.friends_of_friends import friends_of_friends
from yt_protohalos.training.run_files import halo_means, halo_spins, read_positions, read_run, write_seed_run
from yt_protohalos.training.settings import TrainingSettings
from yt_protohalos.training.simulation import SimulationSettings, evolve, simulate
from yt_protohalos.training.trainer import Trainer


@pytest.fixture(scope="module")
def labelled() -> LabelledField:
    """A small field whose "haloes" are octants of high density."""
    field = generate_initial_conditions(24, 24 * 50 / 256, seed=7)
    octant = (np.indices(field.lattice.shape) // 12 * np.array([4, 2, 1])[:, None, None, None]).sum(axis=0) + 1
    return LabelledField.from_labels(field, np.where(field.delta > 0.5, octant, 0).astype(np.int32))


def settings(**changes) -> TrainingSettings:
    values = {
        "head": "semantic", "stages": ((16, 12),), "margin": 2, "filters": (2, 4), "warmup": 2,
        "dtype_policy": "float32", "validate_every": 5, "average_decay": 0.9,
    }  # fmt: skip
    return TrainingSettings(**(values | changes))


def test_symmetries_keep_values_and_form_the_cube_group() -> None:
    rng = np.random.default_rng(0)
    cube = np.arange(27).reshape(3, 3, 3)
    images = {Symmetry.random(rng).apply(cube).tobytes() for _ in range(2000)}
    assert len(images) == 48
    assert all(np.array_equal(np.sort(np.frombuffer(i, dtype=cube.dtype)), np.arange(27)) for i in images)


def test_symmetries_are_undone_and_spread_over_all_48() -> None:
    cube = np.random.default_rng(1).normal(size=(4, 4, 4, 2))
    symmetries = spread_symmetries(48)
    assert len(set(symmetries)) == 48
    assert symmetries[0] == Symmetry((0, 1, 2), (False, False, False))
    for symmetry in symmetries:
        assert np.array_equal(symmetry.undo(symmetry.apply(cube)), cube)
    for count in (0, 49):
        with pytest.raises(ModelError, match="symmetries"):
            spread_symmetries(count)


def test_target_and_channels_are_cut_from_the_same_place(labelled: LabelledField) -> None:
    symmetry = Symmetry((2, 0, 1), (True, False, True))
    scales = {"delta": 1.0, "phi": 1.0}
    channels, target = make_sample(labelled, (20, -3, 5), 16, settings(), scales, symmetry)
    centre = channels[2:-2, 2:-2, 2:-2, 0]
    assert np.array_equal(target[..., 0], (centre > 0.5).astype(np.int32))


@pytest.mark.slow
def test_an_instance_network_that_sees_evolved_positions_starts_at_half_of_them(
    labelled: LabelledField, tmp_path: Path
) -> None:
    seen = labelled.with_probability(np.random.default_rng(2).random(labelled.field.lattice.shape))
    with pytest.raises(ModelError, match="mask_threshold"):
        settings(head="instance", channels=EVOLVED_INSTANCE)
    chosen = settings(
        head="instance", channels=EVOLVED_INSTANCE, mask_threshold=0.4, input_skip=True, stages=((16, 1),)
    )
    trainer = Trainer(chosen, [seen], [], tmp_path)
    trainer._build(16)
    channels, _ = trainer.sampler.batch(0)
    embedding = np.asarray(trainer.model(channels))[0]
    where = [EVOLVED_INSTANCE.index(name) for name in EVOLVED_POSITION]
    np.testing.assert_allclose(embedding, channels[0, 2:-2, 2:-2, 2:-2][..., where] * 8.0 / 2.0, atol=1e-4)


def test_each_periodic_image_is_an_instance_of_its_own() -> None:
    lattice = Lattice(16, 16.0)
    labels = np.zeros(lattice.shape, dtype=np.int32)
    labels[14:, 4:8, 4:8] = 1  # a halo across the seam
    labels[:2, 4:8, 4:8] = 1
    labels[7:9, 7:9, 7:9] = 2
    centres = label_centres(labels, lattice)
    whole = split_images(labels, (0, 0, 0), centres, lattice)
    assert whole.max() == 3, "the two faces of the box show two images of halo 1"
    assert whole[0, 5, 5] != whole[15, 5, 5]
    block = lattice.crop(labels, (-10, 0, 0), (32, 16, 16))
    twice = split_images(block, (-10, 0, 0), centres, lattice)
    assert twice.max() == 4, "a crop of two periods shows two images of each halo"
    assert np.array_equal(twice > 0, block > 0)
    sizes = np.bincount(twice.ravel())[1:]
    assert sorted(sizes) == [8, 8, 64, 64]


def test_small_instances_are_left_out() -> None:
    lattice = Lattice(8, 8.0)
    labels = np.zeros(lattice.shape, dtype=np.int32)
    labels[0, 0, :2] = 1
    labels[4:6, 4:6, 4:6] = 2
    kept = split_images(labels, (0, 0, 0), label_centres(labels, lattice), lattice, min_sites=3)
    assert kept[0, 0, 0] == 0
    assert kept.max() == 1 and np.count_nonzero(kept) == 8


def test_sites_near_a_halo_are_attributed_to_the_nearest_one_across_the_seam() -> None:
    lattice = Lattice(12, 12.0)
    labels = np.zeros(lattice.shape, dtype=np.int32)
    labels[0, 6, 6], labels[5, 6, 6] = 1, 2
    near = attribute_sites(labels, lattice, 2.0)
    assert [near[x, 6, 6] for x in range(12)] == [1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 1, 1]
    shifted = attribute_sites(np.roll(labels, (7, 3, -2), (0, 1, 2)), lattice, 2.0)
    assert np.array_equal(shifted, np.roll(near, (7, 3, -2), (0, 1, 2)))
    assert not attribute_sites(np.zeros_like(labels), lattice, 2.0).any()


def test_an_instance_network_can_learn_on_the_predicted_members(labelled: LabelledField) -> None:
    scales, chosen = {"delta": 1.0, "phi": 1.0}, settings(head="instance", mask_threshold=0.4)
    with pytest.raises(InitialConditionsError, match="membership probability"):
        make_sample(labelled, (0, 0, 0), 16, chosen, scales)
    probability = np.random.default_rng(2).random(labelled.field.lattice.shape)
    seen = labelled.with_probability(probability)
    channels, target = make_sample(seen, (20, 3, 5), 16, chosen, scales)
    crop = labelled.field.lattice.crop(probability.astype(np.float32), (20, 3, 5), (16, 16, 16))
    assert channels.shape[-1] == 6 and np.array_equal(channels[..., 5], crop)
    assert not (target[..., 0][crop[2:-2, 2:-2, 2:-2] <= 0.4] > 0).any()
    outside = labelled.field.lattice.crop(labelled.labels, (22, 5, 7), (12, 12, 12)) == 0
    assert (target[..., 0][outside] > 0).any(), "predicted members outside haloes teach too"


def test_batches_depend_on_seed_and_step_alone(labelled: LabelledField) -> None:
    sampler = Sampler([labelled], settings(head="instance", seed=3), {"delta": 5.0, "phi": 1.0})
    first, again, other = sampler.batch(4), sampler.batch(4), sampler.batch(5)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == (1, 16, 16, 16, 5) and first[1].shape == (1, 12, 12, 12, 1)


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(labelled: LabelledField, tmp_path: Path) -> None:
    whole = Trainer(settings(), [labelled], [labelled], tmp_path / "whole", n_held_out_crops=1)
    whole.run(progress=False)
    first = Trainer(settings(), [labelled], [labelled], tmp_path / "parts", n_held_out_crops=1)
    first.run(progress=False, seconds=0.0)  # stops after one step and leaves a checkpoint
    assert 0 < first.step < settings().total_steps
    second = Trainer(settings(), [labelled], [labelled], tmp_path / "parts", n_held_out_crops=1)
    second.run(progress=False)
    assert second.step == whole.step == 12
    assert all(np.array_equal(a, b) for a, b in zip(whole.model.get_weights(), second.model.get_weights(), strict=True))
    logs = [list(csv.reader((tmp_path / name / "log.csv").read_text().splitlines())) for name in ("whole", "parts")]
    assert [(r[0], r[4], r[5]) for r in logs[0]] == [(r[0], r[4], r[5]) for r in logs[1]]


@pytest.mark.slow
def test_training_lowers_the_loss_and_exports_the_averaged_weights(labelled: LabelledField, tmp_path: Path) -> None:
    trainer = Trainer(
        settings(stages=((8, 40), (16, 40)), learning_rate=1e-2), [labelled], [labelled], tmp_path, n_held_out_crops=2
    )
    trainer._build(16)
    untrained = trainer.held_out_loss()
    trainer.model = None
    trainer.run(progress=False)
    assert trainer.held_out_loss() < 0.92 * untrained
    from yt_protohalos.models.vnet import build_vnet

    card = export_network(tmp_path, tmp_path / "network.weights.h5", side=16, half=False)
    loaded = build_vnet(**card.architecture)
    loaded.load_weights(tmp_path / "network.weights.h5")
    assert trainer.average is not None
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), trainer.average, strict=True))


def test_a_folder_keeps_to_its_settings(labelled: LabelledField, tmp_path: Path) -> None:
    Trainer(settings(), [labelled], [], tmp_path)
    with pytest.raises(ModelError, match="learning_rate"):
        Trainer(settings(learning_rate=5e-4), [labelled], [], tmp_path)
    stored = json.loads((tmp_path / "settings.json").read_text())
    del stored["settings"]["instance_loss"], stored["settings"]["residual"]
    (tmp_path / "settings.json").write_text(json.dumps(stored))
    Trainer(settings(), [labelled], [], tmp_path)  # settings that came later had their defaults
    with pytest.raises(ModelError, match="residual"):
        Trainer(settings(residual=True), [labelled], [], tmp_path)


def test_beta_is_the_measured_share(labelled: LabelledField) -> None:
    assert measure_beta([labelled]) == pytest.approx(np.mean(labelled.labels == 0))


def test_groups_are_ranked_by_size_and_small_ones_dropped() -> None:
    groups = np.zeros(27, dtype=np.int64)
    groups[:9] = [6, 6, 3, 0, 3, 10, 8, 8, 8]
    assert relabel_by_size(groups.reshape(3, 3, 3), 2).ravel()[:9].tolist() == [2, 2, 3, 0, 3, 0, 1, 1, 1]


def test_halo_spins_are_those_of_a_rotating_body_that_also_moves() -> None:
    lattice = Lattice(8, 8.0)
    labels = np.zeros(lattice.shape, dtype=np.int32)
    labels[:2] = 1
    rng = np.random.default_rng(5)
    arm = rng.normal(size=(lattice.n_sites, 3))
    # about z, with angular speed 3, across the periodic face
    positions = np.mod(arm + np.array([0.1, 4.0, 7.9]), 8.0)
    velocities = np.cross([0.0, 0.0, 3.0], arm) + np.array([50.0, 0.0, -20.0])
    centres = halo_means(labels, positions, lattice)
    members = labels.ravel() == 1
    inner = arm[members] - arm[members].mean(axis=0)
    expected = np.mean(np.cross(inner, np.cross([0.0, 0.0, 3.0], inner)), axis=0)
    np.testing.assert_allclose(halo_spins(labels, positions, velocities, centres, lattice), [expected], atol=1e-9)


def test_halo_means_are_periodic() -> None:
    lattice = Lattice(2, 10.0)
    labels = np.array([1, 1, 0, 0, 0, 0, 0, 2], dtype=np.int32).reshape(2, 2, 2)
    positions = np.zeros((8, 3))
    positions[0], positions[1], positions[7] = 9.9, 0.1, 5.0
    centres = halo_means(labels, positions, lattice)
    assert np.abs(lattice.minimum_image(centres - [[0.0] * 3, [5.0] * 3])).max() < 1e-9


def test_the_force_mesh_must_be_a_power_of_two() -> None:
    with pytest.raises(InitialConditionsError, match="300"):
        SimulationSettings(mesh=300)


def test_box_side_and_linking_length_may_have_units() -> None:
    h = PAPER_COSMOLOGY.h
    for side in ("37.5", "37500 kpc/h", (37.5 / h, "Mpccm"), unyt_quantity(37.5 / h, "Mpc")):
        assert SimulationSettings(box_size=side).box_size == pytest.approx(37.5)
    with pytest.raises(UnitsError, match="box_size"):
        SimulationSettings(box_size="37.5 Msun")
    lattice = Lattice(8, 16.0)
    positions = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    positions[:20] = 1.0
    found = [friends_of_friends(positions, lattice, length, 20) for length in (0.2, "400 kpc/h", (0.4, "Mpccm/h"))]
    assert found[0].sum() == 20 and all(np.array_equal(labels, found[0]) for labels in found)


@pytest.mark.slow
def test_a_small_run_collapses_into_haloes_at_each_output(tmp_path: Path) -> None:
    pytest.importorskip("pysco")
    small = SimulationSettings(n=32, box_size=6.25, mesh=64)
    path = tmp_path / "new folder" / "run.h5"
    outputs = simulate(3, small, path, (0.0, 0.5), checkpoint_seconds=0.0, keep_positions=True)
    assert outputs == [path, path.with_name("run_z0.5.h5")]
    field, labels, attributes = read_run(path)
    assert field.n == 32 and attributes["seed"] == 3 and field.target_redshift == 0
    sizes = np.bincount(labels.ravel())[1:]
    assert len(sizes) >= 1 and sizes.min() >= 155 and np.all(np.diff(sizes) <= 0)
    assert np.array_equal(friends_of_friends(read_positions(path), field.lattice), labels)
    inside = labels > 0
    assert field.delta[inside].mean() > field.delta[~inside].mean() + 1.0
    then, labels_then, attributes = read_run(outputs[1])
    assert then.target_redshift == attributes["output_redshift"] == 0.5
    assert np.array_equal(then.delta, field.at_redshift(0.5).delta)
    assert 0 < np.count_nonzero(labels_then) < np.count_nonzero(labels)
    assert (labels[labels_then > 0] > 0).mean() > 0.8, "what has collapsed stays"
    assert simulate(3, small, path) == [path], "a finished run is left alone"
    assert simulate(3, small, path, (0.5,)) == outputs[1:]
    with pytest.raises(InitialConditionsError, match="other seed; name another folder"):
        simulate(4, small, path)
    with pytest.raises(InitialConditionsError, match="other redshift"):
        simulate(3, replace(small, redshift=60.0), path)
    with pytest.raises(InitialConditionsError, match="output redshift 49 is not between"):
        simulate(3, small, path, (49,))
    outputs[1].rename(path.with_name("run_z0.25.h5"))
    with pytest.raises(InitialConditionsError, match="other output_redshift"):
        simulate(3, small, path, (0.25,))
    assert sorted(one.name for one in path.parent.iterdir()) == ["run.h5", "run_z0.25.h5"]


@pytest.mark.slow
def test_outputs_of_a_run_move_as_they_say() -> None:
    """Between outputs v = a^2 H dx/da, and a weak wave grows as D; a run resumed from a checkpoint goes on."""
    pytest.importorskip("pysco")
    n = 16
    lattice = Lattice(n, 16.0)
    wave = np.broadcast_to(-0.2 * np.cos(2 * np.pi * np.arange(n) / n)[:, None, None], lattice.shape)
    field = LinearField.from_density(wave, lattice.box_size, PAPER_COSMOLOGY, 49.0)
    small = SimulationSettings(n=n, box_size=lattice.box_size, mesh=64)
    sites = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    moved, velocity, steps = {}, {}, []
    for z, positions, velocities, count in evolve(*lagrangian_particles(field, 49.0), small, (0, 0.48, 0.52, 1)):
        moved[z], velocity[z] = (
            value[:, 0].astype(float) for value in (lattice.minimum_image(positions - sites), velocities)
        )
        steps.append(count)
    assert list(moved) == [1, 0.52, 0.48, 0] and steps == sorted(steps)
    rate = (moved[0.48] - moved[0.52]) / (1 / 1.48 - 1 / 1.52)
    expected = PAPER_COSMOLOGY.hubble(0.5) / 1.5**2 * rate
    found = 0.5 * (velocity[0.48] + velocity[0.52])
    np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())
    growth = np.sum(moved[0] * moved[1]) / np.sum(moved[1] ** 2)
    assert growth == pytest.approx(1 / float(PAPER_COSMOLOGY.growth_factor(1.0)), rel=0.02)


@pytest.mark.slow
def test_a_run_resumes_before_its_first_missing_output(tmp_path: Path) -> None:
    pytest.importorskip("pysco")
    small = SimulationSettings(n=8, box_size=8.0, mesh=64)
    particles = lagrangian_particles(generate_initial_conditions(8, 8.0, seed=2), 49.0)
    path = tmp_path / "checkpoint.npz"

    def steps_to(redshifts: tuple[float, ...]) -> dict[float, int]:
        found = evolve(*particles, small, redshifts, path, checkpoint_seconds=0.0)
        return {z: count for z, _, _, count in found}

    first = steps_to((20.0,))
    assert path.exists()
    # past its output, so that it begins again
    again = steps_to((30.0, 20.0))
    assert first[20.0] <= again[20.0] and again[30.0] < again[20.0]
    seen: list[int] = []
    for _ in evolve(*particles, small, (19.0,), path, report=lambda step, _: seen.append(step)):
        pass
    assert seen[0] == again[20.0] + 1, "the last checkpoint was at the end of the run before"
    other = replace(small, cosmology=replace(small.cosmology, sigma_8=0.58))
    with pytest.raises(InitialConditionsError, match="other settings"):
        next(evolve(*particles, other, (19.0,), path))


@pytest.mark.slow
def test_a_run_of_another_redshift_is_scored_at_it(tmp_path: Path, monkeypatch, capsys) -> None:
    from yt_fakes import FakePredictor

    from yt_protohalos import cli
    from yt_protohalos.prediction.predictor import ProtohaloPredictor

    field = generate_initial_conditions(24, 24 * 50 / 256, seed=5)
    predictor = FakePredictor(amplitude_range=(0.4, 1.1))
    particles = lagrangian_particles(field, 1.0)
    run = SimulationSettings(n=24, box_size=24 * 50 / 256)
    truth = {z: predictor.predict(field.at_redshift(z), progress=False).labels for z in (0.0, 0.5)}
    for z, labels in truth.items():
        write_seed_run(tmp_path / f"{z:g}.h5", labels, *particles, run, {"seed": 5, "output_redshift": z})
    monkeypatch.setattr(ProtohaloPredictor, "from_pretrained", lambda *_, **__: predictor)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["validate", "--runs", "0.5.h5", "-o", "s.json", "--no-cache", "--quiet"]) == 0
    result = json.loads((tmp_path / "s.json").read_text())
    assert result["redshift"] == 0.5 and result["tables"]["model"]["ACC"]["value"] == 1
    capsys.readouterr()
    assert cli.main(["validate", "--runs", "0.5.h5", "0.h5", "--no-cache", "--quiet"]) == cli.USER_ERROR
    assert "at z = 0.5 and 0; score runs of one redshift" in capsys.readouterr().err
    ics = tmp_path / "ics.hdf5"
    generate_initial_conditions(24, 24 * 50 / 256, seed=5, filename=ics)
    own = ["validate", "--ics", "ics.hdf5", "--labels", "0.5.h5", "-o", "s.json", "--no-cache", "--quiet"]
    assert cli.main([*own, "--at-redshift", "0.5"]) == 0
    accuracy = json.loads((tmp_path / "s.json").read_text())["tables"]["model"]["ACC"]["value"]
    assert accuracy > 0.99
    assert cli.main(own) == 0
    assert json.loads((tmp_path / "s.json").read_text())["tables"]["model"]["ACC"]["value"] < accuracy - 0.02


@pytest.mark.slow
def test_training_says_nothing_that_is_not_python(labelled, tmp_path, capfd, monkeypatch) -> None:
    """TensorFlow's remapper calls it an error, on the terminal, that it leaves a part of the first step as it was."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    chosen = settings(stages=((16, 2),), dtype_policy="mixed_bfloat16")
    Trainer(chosen, [labelled], [labelled], tmp_path).run(progress=False)
    assert capfd.readouterr() == ("", "")
