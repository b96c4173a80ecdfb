"""Checks shared by all readers: sizes, ranges of numbers, and errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import CosmologyError, FormatError, InitialConditionsError, OutOfMemoryError, ProtohaloError
from ..fields.cosmology import Cosmology, expansion_squared
from ..fields.fourier import mean_and_rms

LARGEST_REDSHIFT = 1000.0
"""Growth without radiation is not valid beyond."""
SMALLEST_BOX, LARGEST_BOX = 1e-6, 1e12
"""A parsec in Mpc, and a thousand times the observable universe in kpc."""
LARGEST_PEAK = 20.0
"""Largest deviation of one site, in rms: a Gaussian field of 4096^3 sites stays below 8."""
LONGEST_ZEROS = 32
"""Number of consecutive cells of exactly zero that no complete file has."""
_TIME_TOLERANCE = 0.01
_PASSED_ON: tuple[type[BaseException], ...] = (ProtohaloError, FileNotFoundError, PermissionError, MemoryError, Warning)


@contextmanager
def library_errors(
    name: str, kind: type[ProtohaloError] = FormatError, let_pass: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Raise `kind` from any error that a library raises on a damaged file, with its message.

    Errors of this package, warnings, missing files, lack of memory and the types in `let_pass` pass unchanged.
    """
    try:
        yield
    except _PASSED_ON + let_pass:
        raise
    except SystemError as error:
        # an extension module that fails without an exception has mostly failed to allocate
        raise OutOfMemoryError(
            f"{name} cannot be read ({error}): a library failed without a reason, as it does when memory is short; "
            "free memory, or copy the file again"
        ) from error
    except Exception as error:
        said = " ".join(str(error).split()) or "no message"
        raise kind(
            f"{name} cannot be read ({type(error).__name__}: {said[:200]}); a whole file in a known format is needed: "
            "it is truncated or damaged, copy or write it again"
        ) from error


def check_box(what: str, box_size: float, redshift: float, cosmology: Cosmology) -> None:
    """Raise `CosmologyError` for an impossible box size, redshift or cosmology.

    The unit of the box size may be any length; `what` is named in the message.
    """
    if not SMALLEST_BOX <= box_size <= LARGEST_BOX:
        raise CosmologyError(
            f"{what} gives a box size of {box_size:g}; it must lie in {SMALLEST_BOX:g}..{LARGEST_BOX:g}, whatever its "
            "unit: correct it, or write the file again"
        )
    if not 0 <= redshift <= LARGEST_REDSHIFT:
        raise CosmologyError(
            f"{what} gives redshift {redshift:g}; it must lie in 0..{LARGEST_REDSHIFT:g}: correct it, or write the "
            "file again"
        )
    if not 0.1 <= cosmology.h <= 2:
        raise CosmologyError(
            f"{what} gives h = {cosmology.h:g}; it must lie in 0.1..2, the Hubble constant in 100 km/s/Mpc: correct it"
        )
    if not 1e-3 <= cosmology.omega_m <= 3 or abs(cosmology.omega_lambda) > 3:
        raise CosmologyError(
            f"{what} gives Omega_m {cosmology.omega_m:g} and Omega_Lambda {cosmology.omega_lambda:g}; the first must "
            "lie in 0.001..3 and the second within 3, the densities today over the critical one: correct them"
        )
    if np.any(expansion_squared(cosmology, np.linspace(0.0, redshift, 200)) <= 0):
        raise CosmologyError(
            f"{what} gives Omega_m {cosmology.omega_m:g} and Omega_Lambda {cosmology.omega_lambda:g}, under which no "
            f"universe expands from redshift {redshift:g} to 0; correct them"
        )


def check_time(what: str, redshift: float, time: float) -> None:
    """Raise `CosmologyError` where a header's scale factor and redshift contradict each other.

    A time of 0 or beyond 1 is no scale factor and is ignored: some writers leave it undefined.
    """
    if 0 < time <= 1 and abs(time * (1 + redshift) - 1) > _TIME_TOLERANCE:
        raise CosmologyError(
            f"{what} gives redshift {redshift:g} and scale factor {time:g}, which is redshift {1 / time - 1:g}; both "
            "must agree: correct the header"
        )


def stored_dataset(file_name: str, file: Any, name: str) -> Any:
    """The HDF5 dataset `name` of a file that `open_hdf5` opened; `FormatError` if it is missing or not of numbers."""
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu":
        raise FormatError(f"{file_name} has no array of numbers {name}; it is damaged or incomplete, write it again")
    return found


def header_numbers(file_name: str, attributes: dict[str, Any], name: str, count: int | None = None) -> NDArray[Any]:
    """Header entry as a flat float64 array; `FormatError` unless it holds `count` numbers (at least one)."""
    values = np.ravel(np.asarray(attributes[name]))
    if values.dtype.kind not in "fiu" or values.size < 1 or (count is not None and values.size != count):
        raise FormatError(
            f"{name} of {file_name} holds {values.size} values of type {values.dtype}; "
            f"{'one number' if count in (None, 1) else f'{count} numbers'} must be there: write the file again"
        )
    return values.astype(np.float64)


def quiet_casts() -> np.errstate:
    """Context that casts the NaNs of a damaged file without a warning; checks after it report them."""
    return np.errstate(invalid="ignore", over="ignore")


class Reach:
    """Largest absolute value, and number of values that are not finite, of an array that comes in parts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.largest = 0.0
        self.bad = 0

    def add(self, values: NDArray[Any]) -> None:
        """Add more values; no temporary array of their size is made while all are finite."""
        if values.size == 0:
            return
        with quiet_casts():
            largest = float(max(values.max(), -values.min()))
        if np.isfinite(largest):
            self.largest = max(self.largest, largest)
        else:
            self.bad += int(values.size - np.count_nonzero(np.isfinite(values)))

    def within(self, limit: float) -> bool:
        """Test if all values so far are finite and within +-`limit`."""
        return self.bad == 0 and self.largest <= limit

    def check_finite(self) -> None:
        """Raise `InitialConditionsError` where a value was NaN or infinite."""
        if self.bad:
            raise InitialConditionsError(
                f"{self.name} hold {self.bad} NaN or infinite values; all must be finite: remake the file"
            )

    def check(self, limit: float, unit: str, why: str) -> None:
        """Raise `InitialConditionsError` unless all values were finite and within +-`limit`."""
        self.check_finite()
        if self.largest > limit:
            raise InitialConditionsError(
                f"{self.name} reach {self.largest:.4g}{unit}; at most {limit:.4g}{unit} can be, {why}: the file is "
                "damaged, or read in the wrong precision or byte order; copy it again, or open it with "
                "yt_protohalos.load"
            )


def check_reach(name: str, values: NDArray[Any], limit: float, unit: str, why: str) -> None:
    """Raise `InitialConditionsError` unless all of `values` are finite and within +-`limit`."""
    reach = Reach(name)
    reach.add(values)
    reach.check(limit, unit, why)


def check_peak(name: str, values: NDArray[Any]) -> None:
    """Raise `InitialConditionsError` if one value is too far from the others for a Gaussian field."""
    _, rms = mean_and_rms(values)
    peak = max(float(values.max()), -float(values.min()))
    if peak > LARGEST_PEAK * rms:
        raise InitialConditionsError(
            f"{name} reach {peak:.4g}, {peak / rms:.0f} times their rms; linear initial conditions stay below "
            f"{LARGEST_PEAK:g}: single values are damaged, copy or write the file again"
        )


def check_written(name: str, values: NDArray[Any]) -> None:
    """Raise `InitialConditionsError` if consecutive cells of a cube (n, n, n) are exactly zero.

    A Gaussian field hardly has one such cell. Parts of a file that were never written have many.
    """
    # files have x or z as their fastest axis
    for plane in chain(values, values.T):
        zero = np.flatnonzero(plane.ravel() == 0)
        if len(zero) >= LONGEST_ZEROS and np.any(
            zero[LONGEST_ZEROS - 1 :] - zero[: 1 - LONGEST_ZEROS] == LONGEST_ZEROS - 1
        ):
            raise InitialConditionsError(
                f"{name} are exactly zero in {LONGEST_ZEROS} cells in a row; those of a whole file never are: the disk "
                "was full or the copy stopped, copy or write the file again"
            )


def whole_ids(ids: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Convert particle IDs (N,) of the file `name` to int64; yt reads them as float64, which is exact below 2^53.

    Raises `InitialConditionsError` unless the IDs are whole numbers below 2^53, one per particle.
    """
    values = np.asarray(ids)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise InitialConditionsError(
            f"the particle IDs of {name} are {values.dtype} of shape {values.shape}; give one whole number per particle"
        )
    if values.dtype.kind == "f" and not np.all((np.abs(values) < 2.0**53) & (values == np.rint(values))):
        raise InitialConditionsError(
            f"the particle IDs of {name} are not whole numbers below 2^53, where yt is exact; renumber them from 0 or "
            "1, or, if they were read with the wrong width, open the file with yt_protohalos.load"
        )
    return values.astype(np.int64)
