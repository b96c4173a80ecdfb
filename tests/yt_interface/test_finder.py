"""Laws of the catalogue, of the lattice grid, and of yt's plots and saved datasets of the fields."""

from __future__ import annotations

import h5py
import matplotlib
import numpy as np
import pytest
import yt
from yt_fakes import BOX, REDSHIFT, FakePredictor, N, grid_dataset

import yt_protohalos as ph
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.exceptions import CatalogError, FrameWarning
from yt_protohalos.yt_interface.fields import CELL_FIELDS

matplotlib.use("Agg")
yt.set_log_level("error")
AXES = "xyz"


@pytest.fixture(scope="module")
def ics(tmp_path_factory):
    """Field and particle file of the same realisation."""
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    field = ph.generate_initial_conditions(N, BOX, seed=11, redshift=REDSHIFT, filename=path)
    return field, path


@pytest.fixture(scope="module")
def ds(ics):
    dataset = ph.load(ics[1])
    ph.add_protohalo_fields(dataset, predictor=FakePredictor(), cache=False)
    return dataset


@pytest.fixture(scope="module")
def grid(ds):
    return ph.lattice_dataset(ds, progress=False)


@pytest.fixture(scope="module")
def catalog(ds, tmp_path_factory):
    return ph.find_protohalos(ds, tmp_path_factory.mktemp("catalog"), progress=False)


def vectors(data, name, units):
    return np.stack([data["halos", f"{name}_{axis}"].to_value(units) for axis in AXES], axis=1)


def test_the_catalogue_agrees_with_the_fields(ds, catalog):
    prediction = ph.predict(ds)
    halos = yt.load(catalog.filename).all_data()
    assert np.array_equal(halos["halos", "particle_identifier"].v, np.arange(prediction.n_protohalos))
    np.testing.assert_allclose(halos["halos", "particle_mass"].to_value("Msun"), prediction.label_mass[1:], rtol=1e-12)
    assert np.array_equal(halos["halos", "n_sites"].v, prediction.sizes[1:])
    assert np.all((halos["halos", "confidence"].v > prediction.card.threshold) & (halos["halos", "confidence"].v <= 1))


def test_members_are_the_particles_that_carry_the_id(ds, catalog):
    ad = ds.all_data()
    ids, identifier = ad["all", "particle_index"].v, ad["all", "particle_protohalo_id"].v
    for halo in (0, 1, ph.predict(ds).n_protohalos - 1):
        members = catalog.halo("halos", halo)["member_ids"].v
        assert members.size > 0
        assert np.array_equal(np.sort(members), np.sort(ids[identifier == halo]))


def test_the_catalogue_describes_redshift_zero(ds, catalog):
    assert catalog.current_redshift == 0
    assert catalog.scale_factor == 1
    assert all(catalog.periodicity)
    np.testing.assert_allclose(catalog.domain_width.to_value("Mpccm/h"), BOX, rtol=1e-6)
    np.testing.assert_allclose(catalog.hubble_constant, ds.hubble_constant)
    np.testing.assert_allclose(catalog.current_time.to_value("Gyr"), 13.8, atol=0.2)
    assert "R_200m" in catalog.parameters["virial_radius_definition"]
    assert "z = 0" in catalog.parameters["position_definition"]


def test_radius_encloses_200_times_the_mean_density(ds, catalog):
    halos, cosmology = catalog.all_data(), ph.linear_field(ds).cosmology
    mass = halos["halos", "particle_mass"].to_value("Msun/h")
    radius = halos["halos", "virial_radius"].to_value("Mpccm/h")
    density = mass / (4 / 3 * np.pi * radius**3)
    np.testing.assert_allclose(density, 200 * cosmology.mean_density, rtol=1e-6)


def test_centres_are_the_periodic_means_of_the_member_sites(ds, catalog):
    prediction = ph.predict(ds)
    centers = vectors(catalog.all_data(), "lagrangian_center", "Mpccm/h")
    sites = np.argwhere(prediction.labels == 1)
    separation = prediction.lattice.minimum_image((sites + prediction.site_offset) * BOX / N - centers[0])
    np.testing.assert_allclose(separation.mean(axis=0), 0, atol=1e-5)
    positions = vectors(catalog.all_data(), "particle_position", "Mpccm/h")
    assert np.all((positions >= 0) & (positions < BOX))
    expected = protohalo_catalog(prediction, ph.linear_field(ds))
    np.testing.assert_allclose(positions, expected.position, rtol=1e-5)
    velocities = vectors(catalog.all_data(), "particle_velocity", "km/s")
    np.testing.assert_allclose(velocities, expected.velocity, rtol=1e-5)
    # to first order a protohalo moves as far as its velocity says: x - q = v / (f H)
    moved = prediction.lattice.minimum_image(positions - centers).ravel()
    assert np.corrcoef(moved, velocities.ravel())[0, 1] > 0.9


def test_finder_and_function_write_the_same(ds, catalog, tmp_path):
    again = ph.ProtohaloFinder(ds, tmp_path, name="again", progress=False).run()
    with h5py.File(catalog.filename) as first, h5py.File(again.filename) as second:
        assert set(first) == set(second)
        for name in first:
            if name != "particles":
                assert np.array_equal(first[name][()], second[name][()])
        assert np.array_equal(first["particles/ids"][()], second["particles/ids"][()])


def test_a_new_catalogue_in_the_same_place_replaces_the_old(ds, tmp_path):
    first = ph.find_protohalos(ds, tmp_path, predictor=FakePredictor(), cache=False, progress=False)
    count = first.all_data()["halos", "particle_mass"].size
    second = ph.find_protohalos(ds, tmp_path, predictor=FakePredictor(), threshold=0.65, cache=False, progress=False)
    assert second.all_data()["halos", "particle_mass"].size != count
    assert [path.name for path in tmp_path.iterdir()] == ["protohalos.0.h5"]


@pytest.mark.parametrize(("name", "found"), [("bang!", "!"), ("a[1]", r"\[ and \]"), ("q?", r"\?"), ("st*r", r"\*")])
def test_a_folder_that_yt_takes_for_a_pattern_is_refused_before_the_networks_run(ics, tmp_path, name, found):
    ds, predictor = ph.load(ics[1]), FakePredictor()
    with pytest.raises(CatalogError, match=rf"out\S* contains {found}, which yt takes for a pattern.*; give a folder"):
        ph.find_protohalos(ds, tmp_path / name / "out", predictor=predictor, cache=False)
    assert predictor.runs == 0 and not (tmp_path / name).exists()


def test_without_protohalos_nothing_is_written(ics, tmp_path):
    ds = ph.load(ics[1])
    with pytest.raises(CatalogError, match="no protohalo of at least 5 sites"):
        ph.find_protohalos(ds, tmp_path / "new", predictor=FakePredictor(level=20.0), cache=False, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_catalogue(ds, tmp_path, monkeypatch):
    ph.find_protohalos(ds, tmp_path, predictor=FakePredictor(), cache=False, progress=False)
    before = (tmp_path / "protohalos.0.h5").read_bytes()

    def interrupted(*args, **kwargs):
        with open(args[1], "wb") as stream:
            stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("yt_protohalos.yt_interface.catalog_file.save_as_dataset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ph.find_protohalos(ds, tmp_path, predictor=FakePredictor(), cache=False, progress=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_place_that_cannot_be_written_is_refused_before_the_networks_run(ics, tmp_path):
    (tmp_path / "file").write_text("")
    predictor = FakePredictor()
    with pytest.raises(CatalogError, match="not a folder"):
        ph.find_protohalos(ph.load(ics[1]), tmp_path / "file" / "below", predictor=predictor, cache=False)
    with pytest.raises(CatalogError, match="plain file name"):
        ph.find_protohalos(ph.load(ics[1]), tmp_path, name="a/b", predictor=predictor, cache=False)
    assert predictor.runs == 0


def test_a_grid_dataset_has_site_indices_for_members(ics, tmp_path):
    ds = grid_dataset(ics[0])
    catalog = ph.find_protohalos(ds, tmp_path, predictor=FakePredictor(), cache=False, progress=False)
    members = catalog.halo("halos", 0)["member_ids"].v.astype(int)
    assert np.array_equal(members, np.flatnonzero(ph.predict(ds).labels.ravel() == 1))
    assert catalog.parameters["member_ids"] == "row-major site indices"


def test_halo_catalog_of_yt_astro_analysis(ds, catalog, tmp_path):
    halo_analysis = pytest.importorskip("yt_astro_analysis.halo_analysis", reason="needs the extra astro")
    hc = halo_analysis.HaloCatalog(
        data_ds=ds, finder_method="protohalos", output_dir=str(tmp_path), finder_kwargs={"progress": False}
    )
    hc.create()
    (path,) = tmp_path.rglob("*.h5")
    assert path.name == "ics.0.h5"
    found = yt.load(str(path)).all_data()["halos", "particle_mass"]
    np.testing.assert_allclose(found.to("Msun"), catalog.all_data()["halos", "particle_mass"].to("Msun"))


def test_halo_catalog_reads_the_catalogue_back(ds, catalog, tmp_path):
    halo_analysis = pytest.importorskip("yt_astro_analysis.halo_analysis", reason="needs the extra astro")
    hc = halo_analysis.HaloCatalog(halos_ds=catalog, output_dir=str(tmp_path))
    hc.add_filter("quantity_value", "particle_mass", ">", 1e10, "Msun")
    hc.create()
    (path,) = tmp_path.rglob("*.h5")
    kept = yt.load(str(path)).all_data()["halos", "particle_mass"]
    assert kept.size == np.count_nonzero(catalog.all_data()["halos", "particle_mass"].to("Msun") > 1e10)


def test_the_lattice_grid_has_one_cell_a_site_and_the_cosmology_of_the_data(ds, grid):
    prediction, field = ph.predict(ds), ph.linear_field(ds)
    cube = grid.covering_grid(0, grid.domain_left_edge, grid.domain_dimensions)
    assert np.array_equal(cube["gas", "protohalo_id"].v, prediction.labels - 1)
    assert np.array_equal(cube["gas", "linear_overdensity"].v, field.delta)
    np.testing.assert_allclose(
        cube["index", "x"].to_value("Mpccm/h")[:, 0, 0], (np.arange(N) + 0.0) * BOX / N, atol=1e-6
    )
    assert grid.current_redshift == ds.current_redshift
    assert all(grid.periodicity)
    np.testing.assert_allclose(grid.domain_width.to_value("Mpc"), ds.domain_width.to_value("Mpc"), rtol=1e-6)
    np.testing.assert_allclose(grid.current_time.to_value("Myr"), ds.current_time.to_value("Myr"), rtol=1e-2)
    units = {name: str(cube["gas", name].units) for name in CELL_FIELDS}
    assert units["protohalo_mass"] == "Msun"
    assert units["linear_potential"] == "Mpccm**2"


@pytest.mark.parametrize("name", CELL_FIELDS)
def test_grid_fields_can_be_sliced_and_projected(grid, name):
    image = yt.SlicePlot(grid, "z", ("gas", name)).data_source.to_frb(grid.domain_width[0], 64)["gas", name]
    assert np.isfinite(image).all()
    assert image.max() > image.min()
    projected = yt.ProjectionPlot(grid, "x", ("gas", name), weight_field=("index", "ones"))
    whole = grid.all_data()["gas", name]
    # bare numbers, because unyt's mean recurses without end in units with h**2
    values = projected.data_source["gas", name].to_value(whole.units)
    np.testing.assert_allclose(values.mean(), whole.v.mean(), rtol=1e-6, atol=1e-6 * whole.v.std())


def test_a_projection_integrates_mass_along_the_line_of_sight(grid):
    integrated = grid.proj(("gas", "protohalo_mass"), "x")["gas", "protohalo_mass"]
    expected = grid.all_data()["gas", "protohalo_mass"].mean() * grid.domain_width[0]
    np.testing.assert_allclose(integrated.mean().to_value("Msun*cm"), expected.to_value("Msun*cm"), rtol=1e-6)


def test_pictures_are_saved(ds, grid, tmp_path):
    mass, probability = ("all", "particle_protohalo_mass"), ("all", "particle_protohalo_probability")
    position = [("all", f"particle_position_{axis}") for axis in "xy"]
    plots = [
        yt.SlicePlot(grid, "z", ("gas", "protohalo_mass")),
        yt.ParticlePlot(ds, *position, mass),
        yt.ParticleProjectionPlot(ds, "z", mass),
        yt.ProfilePlot(ds.all_data(), mass, probability, weight_field=("all", "particle_ones")),
    ]
    for i, plot in enumerate(plots):
        (name,) = plot.save(str(tmp_path / f"{i}.png"))
        assert matplotlib.image.imread(name).std() > 0.01


def test_particle_fields_survive_save_as_dataset(ds, tmp_path):
    fields = [("all", name) for name in ("particle_index", "particle_protohalo_id", "particle_protohalo_mass")]
    ad = ds.all_data()
    saved = yt.load(ad.save_as_dataset(str(tmp_path / "saved.h5"), fields=fields)).all_data()
    order = np.argsort(ad[fields[0]].v), np.argsort(saved[fields[0]].v)
    for field in fields:
        assert np.array_equal(ad[field].v[order[0]], saved[field].to(ad[field].units).v[order[1]])


def test_cell_fields_survive_save_as_dataset(grid, tmp_path):
    fields = [("gas", name) for name in CELL_FIELDS]
    ad = grid.all_data()
    saved = yt.load(ad.save_as_dataset(str(tmp_path / "saved.h5"), fields=fields)).all_data()
    for field in fields:
        np.testing.assert_allclose(np.sort(saved[field].to(ad[field].units).v), np.sort(ad[field].v), rtol=1e-12)


@pytest.fixture(scope="module")
def lagrangian(ds, catalog):
    """The catalogue in the Lagrangian frame, in the folder of the other."""
    folder = str(catalog.directory)
    return ph.find_protohalos(ds, folder, frame="lagrangian", progress=False)


def drawn_circles(data, catalog):
    """Centre and radius of the circles that yt draws over a slice of a dataset, in the unit of its axes."""
    pytest.importorskip("yt_astro_analysis", reason="yt draws haloes with the extra astro")
    from matplotlib.patches import Circle

    plot = yt.SlicePlot(data, "z", data.field_list[0], origin="native")
    plot.set_buff_size(32)
    plot.annotate_halos(catalog)
    plot._setup_plots()
    axes = plot.plots[data.field_list[0]].axes
    found = [artist for artist in axes.get_children() if isinstance(artist, Circle)]
    return np.array([[*circle.center, circle.radius] for circle in found]), plot


def test_yt_draws_the_lagrangian_frame_where_the_sites_are(ds, grid, lagrangian):
    prediction = ph.predict(ds)
    circles, plot = drawn_circles(grid, lagrangian)
    assert "Mpc" in plot.plots[grid.field_list[0]].axes.get_xlabel()
    sites = np.argwhere(prediction.labels == 1)[:, :2]
    apart = (sites * BOX / N - circles[0, :2] + BOX / 2) % BOX - BOX / 2
    np.testing.assert_allclose(apart.mean(axis=0), 0, atol=1e-5)
    # the sphere of the mean density has the volume of the sites
    np.testing.assert_allclose(4 / 3 * np.pi * circles[:, 2] ** 3, prediction.sizes[1:] * (BOX / N) ** 3, rtol=1e-5)


def test_the_lagrangian_frame_is_that_of_the_initial_conditions(ds, catalog, lagrangian):
    halos, others = lagrangian.all_data(), catalog.all_data()
    assert lagrangian.current_redshift == REDSHIFT and lagrangian.parameters["halo_redshift"] == 0
    assert "Lagrangian" in lagrangian.parameters["position_definition"]
    for ours, theirs in (
        ("particle_position_x", "lagrangian_center_x"), ("virial_radius", "lagrangian_radius"),
        ("extent_y", "extent_y"), ("semi_axis_a", "semi_axis_a"),
    ):  # fmt: skip
        expected = others["halos", theirs].to_value("Mpccm/h")
        np.testing.assert_allclose(halos["halos", ours].to_value("Mpccm/h"), expected, rtol=1e-12)
    for same in ("particle_mass", "spin_magnitude", "tidal_xy"):
        assert np.array_equal(halos["halos", same].v, others["halos", same].v)
    assert not np.any(halos["halos", "particle_velocity_x"].v)
    # both lie in one folder, and the catalogue of the haloes is the one that other commands take
    assert ph.zoom_region(catalog.directory, 0).n_members == ph.zoom_region(lagrangian, 0).n_members
    with pytest.raises(CatalogError, match="frame 'comoving' is unknown; use one of eulerian, lagrangian"):
        ph.find_protohalos(ds, frame="comoving")


def test_frames_that_are_mixed_in_a_plot_are_named(ds, grid, catalog, lagrangian):
    with pytest.warns(FrameWarning, match=r'plot shows the Lagrangian lattice at z = 49: .*frame="lagrangian"'):
        drawn_circles(grid, catalog)
    from yt_protohalos.yt_interface.frame_check import mixed_frames

    today = grid_dataset(ph.linear_field(ds))
    today.current_redshift = 0.0
    said = "is at z = 49, but the plot at z = 0: sizes of the circles are wrong; draw a catalogue in the Eulerian frame"
    assert said in mixed_frames(today, lagrangian)
    assert "at z = 0, but the plot at z = 49" in mixed_frames(ds, catalog)
    assert mixed_frames(today, catalog) is None and mixed_frames(ds, lagrangian) is None
    # haloes of other programs over other plots are not this package's business
    assert mixed_frames(today, ds) is None


def test_plots_of_grids_have_comoving_axes_unless_asked_otherwise(grid):
    width = grid.domain_width[0]
    assert grid.get_smallest_appropriate_unit(width) == "Mpccm/h"
    bar = grid.get_smallest_appropriate_unit(0.2 * width, return_quantity=True)
    assert bar.v == 100 and str(bar.units) == "kpccm/h"
    assert grid.get_smallest_appropriate_unit(grid.quan(3, "Myr"), quantity="time") == "Myr"
    assert yt.SlicePlot(grid, "z", grid.field_list[0], axes_unit="kpc")._axes_unit_names == ("kpc", "kpc")
