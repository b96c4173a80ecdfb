"""Haloes at other redshifts: a rescaled field, a catalogue of that time, and refusal where no model knows."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

import h5py
import matplotlib
import numpy as np
import pytest
import yt
from standins import make_card, make_field, make_predictor, same_partition
from yt_fakes import BOX, FakePredictor, N, write_fake_model

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.catalog.members import stored_region
from yt_protohalos.exceptions import CosmologyError, CosmologyWarning, OutOfRangeError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.evolution import evolve_field
from yt_protohalos.models.registry import AMPLITUDE_MODEL, DEFAULT_MODEL, DEFAULT_MODELS, load_card
from yt_protohalos.models.validity import check_cosmology, check_range, covering_models, redshift_range
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.yt_interface.options import PredictionOptions
from yt_protohalos.yt_interface.predict import box_prediction, predict_field

matplotlib.use("Agg")
yt.set_log_level("error")
WIDE = (0.4, 1.1)
GROWTH = float(PAPER_COSMOLOGY.growth_factor(0.5))


def fake() -> FakePredictor:
    return FakePredictor(amplitude_range=WIDE)


@pytest.fixture(scope="module")
def ics(tmp_path_factory):
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    ph.generate_initial_conditions(N, BOX, seed=11, filename=path)
    return str(path)


@pytest.fixture
def ds(ics):
    return ph.load(ics)


# the field


def test_the_field_grows_linearly_and_knows_its_target():
    field = make_field(16)
    then = field.at_redshift(0.5)
    np.testing.assert_array_equal(then.delta, field.delta * np.float32(GROWTH))
    np.testing.assert_array_equal(then.phi, field.phi * np.float32(GROWTH))
    assert (then.target_redshift, then.redshift, then.cosmology) == (0.5, field.redshift, field.cosmology)
    assert then.target_sigma_8 == pytest.approx(field.cosmology.sigma_8 * GROWTH)
    assert field.at_redshift(0) is field and then.at_redshift(0.5) is then
    np.testing.assert_allclose(then.at_redshift(1.5).delta, field.at_redshift(1.5).delta, rtol=1e-6)
    np.testing.assert_allclose(then.at_redshift(0).delta, field.delta, rtol=1e-6)
    assert then.resampled(12).target_redshift == 0.5


def test_a_perturbation_grows_with_the_field_and_the_amplitude_does_not_care_when_it_is_changed():
    field = ph.add_tide(make_field(16), 0.4)
    then = field.at_redshift(0.5)
    assert then.deformation == pytest.approx((0.0, -0.4 * GROWTH, 0.4 * GROWTH))
    first, last = ph.scale_amplitude(then, 0.7), ph.scale_amplitude(field, 0.7).at_redshift(0.5)
    np.testing.assert_allclose(first.delta, last.delta, rtol=1e-6)
    assert first.deformation == pytest.approx(last.deformation)
    assert first.target_sigma_8 == last.target_sigma_8 == pytest.approx(0.7 * GROWTH)


@pytest.mark.parametrize("redshift", [-0.1, np.nan, np.inf, "0.5", True])
def test_what_is_no_redshift_is_refused(redshift):
    with pytest.raises(CosmologyError, match="redshift"):
        make_field(8).at_redshift(redshift)
    with pytest.raises(CosmologyError, match="redshift"):
        PredictionOptions(redshift=redshift)


# the prediction


def test_a_prediction_at_z_is_that_of_a_universe_of_lower_amplitude():
    """Delta(z) = D(z) delta(0), which nothing but the catalogue can tell from a lower sigma_8 at z = 0."""
    field = make_field(24)
    predictor = make_predictor(amplitude_range=WIDE)
    then = predictor.predict(field.at_redshift(0.5), progress=False)
    lower = predictor.predict(ph.scale_amplitude(field, PAPER_COSMOLOGY.sigma_8 * GROWTH), progress=False)
    np.testing.assert_allclose(then.probability, lower.probability, atol=1e-6)
    assert then.n_protohalos > 3 and same_partition(then.labels, lower.labels)
    assert (then.target_redshift, lower.target_redshift) == (0.5, 0)
    assert then.settings["target_redshift"] == 0.5 and "target_redshift" not in lower.settings
    today = predictor.predict(field, progress=False)
    assert np.count_nonzero(then.labels) < np.count_nonzero(today.labels)


def test_a_region_has_the_redshift_of_its_field():
    field = make_field(24).at_redshift(0.5)
    predictor = make_predictor(amplitude_range=WIDE)
    middle = ph.Region(center=(2.0, 2.0, 2.0), side=2.0)
    part = predictor.predict_region(field, middle, progress=False)
    whole = predictor.predict(field, progress=False)
    assert part.target_redshift == 0.5
    sites = part.lattice.crop(whole.probability, part.start, (part.n,) * 3)
    np.testing.assert_allclose(part.probability, sites, atol=1e-6)


def test_redshift_zero_is_no_redshift_bit_for_bit(ds, ics, tmp_path):
    chosen = {"predictor": fake(), "cache": False, "progress": False}
    plain = ph.find_protohalos(ds, tmp_path / "plain", **chosen)
    zero = ph.find_protohalos(ds, tmp_path / "zero", redshift=0, **chosen)
    assert chosen["predictor"].runs == 1, "the same prediction"
    with h5py.File(plain.filename) as first, h5py.File(zero.filename) as second:
        assert {name: np.array(value).tolist() for name, value in first.attrs.items()} == {
            name: np.array(value).tolist() for name, value in second.attrs.items()
        }
        names = [name for name in first if name != "particles"] + ["particles/ids", "particles/member_sites"]
        assert all(first[name][()].tobytes() == second[name][()].tobytes() for name in names)


def test_redshifts_share_neither_memory_nor_cache_nor_stored_predictions(ds, ics, tmp_path):
    predictor, folder = fake(), tmp_path / "cache"
    found = {}
    for z in (0.0, 0.5, 0.3):
        found[z] = ph.predict(ds, predictor=predictor, cache=folder, redshift=z, progress=False)
        assert found[z].target_redshift == z
    assert predictor.runs == 3 == len({one.labels.tobytes() for one in found.values()})
    assert len(list(folder.glob("*.h5"))) == 3
    again = ph.load(ics)
    for z in (0.3, 0.0, 0.5):
        read = ph.predict(again, predictor=fake(), cache=folder, redshift=z, progress=False)
        assert read.target_redshift == z and np.array_equal(read.labels, found[z].labels)
    assert ph.predict(again, progress=False).target_redshift == 0.5, "without options, the one chosen last"
    assert ph.predict(again, predictor=fake(), cache=folder, progress=False).target_redshift == 0
    keys = {box_prediction(again, PredictionOptions(predictor=predictor, redshift=z)).key for z in (0, 0.3, 0.5)}
    assert len(keys) == 3


def test_a_prediction_of_an_unsaid_redshift_is_one_of_today(tmp_path):
    then = fake().predict(make_field(12).at_redshift(0.5), progress=False)
    then.save(tmp_path / "then.h5")
    assert ph.Prediction.load(tmp_path / "then.h5").target_redshift == 0.5
    with h5py.File(tmp_path / "then.h5", "r+") as file:
        del file.attrs["target_redshift"]  # as files were before there were other redshifts
    assert ph.Prediction.load(tmp_path / "then.h5").target_redshift == 0


def test_fields_say_at_which_redshift_they_are(ds):
    ph.add_protohalo_fields(ds, predictor=fake(), cache=False)
    today = ds.all_data()["all", "particle_protohalo_mass"]
    assert ds.field_info["all", "particle_protohalo_mass"].display_name == "Protohalo Mass"
    ph.add_protohalo_fields(ds, predictor=fake(), cache=False, redshift=0.5)
    assert ds.field_info["all", "particle_protohalo_mass"].display_name == "Protohalo Mass (z = 0.5)"
    then = ds.all_data()["all", "particle_protohalo_mass"]
    assert (then > 0).sum() < (today > 0).sum()
    grid = ph.lattice_dataset(ds, progress=False)
    assert grid.field_info["gas", "linear_overdensity"].display_name == "Linear Overdensity (z = 0.5)"
    delta = grid.all_data()["gas", "linear_overdensity"].v
    np.testing.assert_allclose(delta.std(), GROWTH * ph.linear_field(ds).delta.std(), rtol=1e-5)


# the catalogue


@pytest.mark.parametrize(("order", "evolved", "tolerance"), [(1, False, 1e-3), (2, False, 2e-3), (2, True, 0.07)])
def test_velocities_are_the_rate_of_change_of_positions(order, evolved, tolerance):
    """v = a dx/dt = a^2 H dx/da, where x and v are those of catalogues just before and just after.

    Second-order theory takes growth laws that are fits, and the mesh of the evolved field feels its own grid.
    """
    n = 32
    x = np.cos(2 * np.pi * np.arange(n) / n)
    wave = -0.25 * (x[:, None, None] + x[None, :, None] + 0 * x)
    field = ph.LinearField.from_density(wave, n * 0.5, PAPER_COSMOLOGY, 49.0)
    labels = np.zeros((n, n, n), dtype=np.int32)
    labels[5:11, 2:6, :3] = 1
    prediction = replace(fake().predict(field, progress=False), labels=labels)

    def at(z):
        motion = {"evolved": evolve_field(field.at_redshift(z))} if evolved else {"lpt_order": order}
        return protohalo_catalog(replace(prediction, target_redshift=z), field, **motion)

    z, step = 0.5, 0.02
    before, now, after = at(z + step), at(z), at(z - step)
    change_of_a = 1 / (1 + z - step) - 1 / (1 + z + step)
    expected = PAPER_COSMOLOGY.hubble(z) / (1 + z) ** 2 * (after.position - before.position) / change_of_a
    assert np.linalg.norm(expected) > 30
    np.testing.assert_allclose(now.velocity, expected, atol=tolerance * np.linalg.norm(expected))
    assert now.redshift == 0.5


def test_velocities_at_z_follow_a_plane_wave():
    """Psi = D(z) A sin(k x), and v = a H f psi: nothing but the definition, with numbers of its own."""
    n, spacing, amplitude = 32, 0.5, 0.8
    k = 2 * np.pi / (n * spacing)
    x = np.arange(n) * spacing
    wave = np.broadcast_to((-amplitude * k * np.cos(k * x))[:, None, None], (n, n, n))
    field = ph.LinearField.from_density(wave, n * spacing, PAPER_COSMOLOGY, 49.0).at_redshift(1.0)
    labels = np.zeros((n, n, n), dtype=np.int32)
    labels[4:9, 10:14, 10:14] = 1
    prediction = replace(fake().predict(field, progress=False), labels=labels)
    catalog = protohalo_catalog(prediction, field, lpt_order=1)
    a, omega = 0.5, PAPER_COSMOLOGY.omega_m
    expansion = np.sqrt(omega / a**3 + 1 - omega)
    growth = float(PAPER_COSMOLOGY.growth_factor(1.0))
    psi = growth * amplitude * np.sin(k * x[4:9]).mean()
    np.testing.assert_allclose(catalog.position[0] - catalog.lagrangian_center[0], [psi, 0, 0], atol=1e-5)
    rate = (omega / a**3 / expansion**2) ** 0.55
    np.testing.assert_allclose(catalog.velocity[0], [a * 100 * expansion * rate * psi, 0, 0], rtol=5e-3, atol=1e-3)


def test_a_catalogue_of_another_time_is_that_of_its_field_at_any_redshift():
    field = make_field(24)
    prediction = fake().predict(field.at_redshift(0.5), progress=False)
    one, other, today = (protohalo_catalog(prediction, field.at_redshift(z)) for z in (0.5, 0, 0.2))
    for name in ("position", "velocity", "tide", "spin"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(getattr(one, name), getattr(today, name), rtol=1e-4, atol=1e-4)
    now = protohalo_catalog(replace(prediction, target_redshift=0.0), field)
    np.testing.assert_allclose(one.tide, GROWTH * now.tide, atol=1e-5)
    # what does not move is the same: mass, comoving radius, shape
    for name in ("mass", "radius_200m", "lagrangian_center", "inertia", "n_pieces", "confidence"):
        np.testing.assert_array_equal(getattr(one, name), getattr(now, name))
    # a^2 dD/dt from differences
    da = 1e-4
    a = 1 / 1.5
    rise = PAPER_COSMOLOGY.growth_factor([1 / (a + da) - 1, 1 / (a - da) - 1])
    torque = a**3 * PAPER_COSMOLOGY.hubble(0.5) * (rise[0] - rise[1]) / (2 * da)
    unit = PAPER_COSMOLOGY.hubble(0.0) * PAPER_COSMOLOGY.growth_rate(0.0)
    np.testing.assert_allclose(one.spin, torque / unit * now.spin, rtol=1e-3)


def test_a_stored_catalogue_is_of_its_redshift_and_proper(ds, tmp_path):
    stored = ph.find_protohalos(ds, tmp_path, predictor=fake(), cache=False, redshift=0.5, progress=False)
    loaded = yt.load(stored.filename)
    assert loaded.current_redshift == 0.5 and loaded.scale_factor == pytest.approx(1 / 1.5)
    np.testing.assert_allclose(loaded.current_time.to_value("Gyr"), 8.6, atol=0.1)
    np.testing.assert_allclose(loaded.domain_width.to_value("Mpccm/h"), BOX, rtol=1e-6)
    np.testing.assert_allclose(loaded.domain_width.to_value("Mpc/h"), BOX / 1.5, rtol=1e-6)
    for name in ("position_definition", "velocity_definition", "spin_definition", "tide_definition"):
        assert "z = 0.5" in loaded.parameters[name] and "z = 0 " not in loaded.parameters[name]
    prediction, field = ph.predict(ds), ph.linear_field(ds)
    expected = protohalo_catalog(prediction, field)
    halos = loaded.all_data()
    assert prediction.target_redshift == 0.5 and len(expected) == halos["halos", "particle_mass"].size
    columns = {"particle_position_y": expected.position[:, 1], "lagrangian_center_y": expected.lagrangian_center[:, 1],
               "extent_y": expected.extent[:, 1], "virial_radius": expected.radius_200m,
               "semi_axis_a": expected.semi_axes[:, 0]}  # fmt: skip
    for name, comoving in columns.items():
        np.testing.assert_allclose(halos["halos", name].to_value("Mpccm/h"), comoving, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(halos["halos", "inertia_xx"].to_value("Mpccm**2/h**2"), expected.inertia[:, 0, 0], 1e-5)
    np.testing.assert_allclose(halos["halos", "particle_velocity_y"].to_value("km/s"), expected.velocity[:, 1], 1e-5)
    spin = np.linalg.norm(expected.spin, axis=1)
    np.testing.assert_allclose(halos["halos", "spin_magnitude"].to_value("km/s*Mpc/h"), spin, rtol=1e-5)
    # 200 times the mean matter density of that time
    volume = 4 / 3 * np.pi * halos["halos", "virial_radius"].to_value("Mpc") ** 3
    density = halos["halos", "particle_mass"].to_value("Msun") / volume
    mean = field.cosmology.mean_density * field.cosmology.h**2 * 1.5**3
    np.testing.assert_allclose(density, 200 * mean, rtol=1e-6)
    region = stored_region(tmp_path, 0)
    assert region.lattice.box_size == pytest.approx(BOX)
    assert np.array_equal(region.members, np.flatnonzero(prediction.labels.ravel() == 1))


# how far


@pytest.mark.parametrize("name", [DEFAULT_MODEL, DEFAULT_MODELS["pseudo-space"]])
def test_the_default_models_refuse_and_name_the_one_that_knows(name):
    card = load_card(name)[0]
    low, high = redshift_range(card, PAPER_COSMOLOGY)
    assert low == 0 and PAPER_COSMOLOGY.sigma_8 * PAPER_COSMOLOGY.growth_factor(high) == pytest.approx(0.74592)
    said = rf"sigma_8 D\(z\) = 0.63\d* at z = 0.5 .*{name}.*up to z = (\d\.\d+); use model '{AMPLITUDE_MODEL}'"
    with pytest.raises(OutOfRangeError, match=said) as error:
        check_cosmology(card, PAPER_COSMOLOGY, redshift=0.5)
    reached = float(re.search(said, str(error.value))[1])
    check_cosmology(card, PAPER_COSMOLOGY, redshift=reached)
    with pytest.raises(OutOfRangeError):
        check_cosmology(card, PAPER_COSMOLOGY, redshift=reached + 0.01)
    many = load_card(AMPLITUDE_MODEL)[0]
    check_cosmology(many, PAPER_COSMOLOGY, redshift=0.6)
    reach = redshift_range(many, PAPER_COSMOLOGY)
    assert 0.6 < reach[1] < 0.8
    with pytest.raises(OutOfRangeError, match=rf"up to z = {int(100 * reach[1]) / 100:g}; use another model"):
        check_cosmology(many, PAPER_COSMOLOGY, redshift=1.0)


@pytest.mark.parametrize("name", [DEFAULT_MODEL, DEFAULT_MODELS["pseudo-space"]])
def test_ranges_begin_later_where_today_is_too_lumpy(name):
    lumpy, smooth = replace(PAPER_COSMOLOGY, sigma_8=1.0), replace(PAPER_COSMOLOGY, sigma_8=0.6)
    card = load_card(name)[0]
    first, last = redshift_range(card, lumpy)
    assert 0 < first < last and redshift_range(card, smooth) is None
    check_cosmology(card, lumpy, redshift=(first + last) / 2)
    with pytest.raises(OutOfRangeError, match=r"valid from z = 0\.\d+ up to z = 0\.\d+"):
        check_cosmology(card, lumpy, redshift=1.0)
    with pytest.raises(OutOfRangeError) as error:
        check_cosmology(card, smooth, redshift=0.1)
    assert "valid" not in str(error.value)
    assert covering_models(card, 0.6) == [AMPLITUDE_MODEL] and covering_models(card, 0.3) == []


def test_the_amplitude_of_the_file_counts_and_not_only_what_it_states():
    weak = ph.scale_amplitude(make_field(32), 0.55)
    unaware = replace(weak, cosmology=PAPER_COSMOLOGY)
    card = make_card(amplitude_range=(0.5, 1.1))
    check_range(card, unaware.at_redshift(0.0))
    with pytest.raises(
        OutOfRangeError, match=r"rms of sigma_8 = 0\.3\d* at z = 0\.8.*linear field at z = 0\.8.*valid up"
    ):
        check_range(card, unaware.at_redshift(0.8))


def test_outside_the_range_nothing_runs_unless_asked(ds):
    predictor = FakePredictor()
    for call in (ph.predict, ph.find_protohalos, ph.add_protohalo_fields, ph.ProtohaloFinder, ph.lattice_dataset):
        with pytest.raises(OutOfRangeError, match=r"up to z = 0\.3"):
            call(ds, predictor=predictor, cache=False, redshift=0.5)
    with pytest.raises(OutOfRangeError, match=r"up to z = 0\.3"):
        predict_field(ph.linear_field(ds).at_redshift(0.5), predictor, cache=False)
    assert predictor.runs == 0
    with pytest.warns(CosmologyWarning, match=r"at z = 0\.5"):
        ph.predict(ds, predictor=predictor, cache=False, redshift=0.5, on_range="warn", progress=False)
    asked = ph.predict(ds, predictor=predictor, cache=False, redshift=0.9, on_range="allow", progress=False)
    assert asked.target_redshift == 0.9 and predictor.runs == 2


# the command


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(ProtohaloPredictor, "from_pretrained", lambda name, precision="auto": fake())
    monkeypatch.setenv("YT_PROTOHALOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return str(write_fake_model(tmp_path / "model"))


@pytest.mark.slow
def test_find_at_redshift(ics, model, tmp_path, capsys):
    arguments = ["find", ics, "-o", "then", "--model", model, "--at-redshift", "0.3", "--quiet"]
    assert cli.main(arguments) == 0
    assert "at redshift 0.3" in capsys.readouterr().out
    assert yt.load("then/protohalos.0.h5").current_redshift == 0.3
    prediction = ph.Prediction.load("then/prediction.h5")
    assert prediction.target_redshift == 0.3
    assert asdict(prediction.cosmology) == asdict(PAPER_COSMOLOGY)
    arguments[arguments.index("0.3")] = "2"
    assert cli.main(arguments) == cli.USER_ERROR
    assert "it is valid up to z = 0.3" in capsys.readouterr().err
    arguments[arguments.index("2")] = "-1"
    assert cli.main(arguments) == cli.USER_ERROR
    assert "redshift -1.0 is negative" in capsys.readouterr().err


def test_both_redshifts_of_find_say_how_they_differ(capsys):
    with pytest.raises(SystemExit):
        cli.main(["find", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "redshift of the haloes to predict" in text
    assert "of the initial conditions, not the haloes, if the format does not state it" in text


def test_the_bias_of_a_prediction_is_that_of_its_redshift():
    field = make_field(24)
    prediction = fake().predict(field.at_redshift(0.5), progress=False)
    edges, smoothing = (9.0, 14.0), 0.5
    one, other = (ph.lagrangian_bias(prediction, field.at_redshift(z), edges, smoothing, 2) for z in (0.5, 0.0))
    np.testing.assert_allclose(one.value, other.value, rtol=1e-4)
    unaware = ph.lagrangian_bias(prediction.labels, field, edges, smoothing, 2)
    np.testing.assert_allclose(one.value, unaware.value / GROWTH, rtol=1e-4)
