"""PtyLab HDF5 files: ``ptychogram`` (intensities), ``encoder`` (metres, [row, column]), ``wavelength``, ``dxd``, ``zo``.

The reconstruction of PtyLab places the patch of a pattern at ``encoder / pixel``, rows first, with no change of sign: so is it read here.
``orientation`` counts as ptypy counts: 1 turns columns over, 2 rows, 4 transposes first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from photic.apps.ptycho.patterns import Domain
from photic.apps.ptycho.readers.base import OtherFormatError, ScanRecord
from photic.apps.ptycho.readers.hdf5 import columns, contents, number, open_hdf5
from photic.apps.ptycho.stores import Hdf5Store
from photic.core.errors import DataError


def read(path: Path, *, domain: Domain | None = None, diffraction: Path | None = None) -> ScanRecord:
    """Read a PtyLab file of conventional ptychography; the patterns stay in it.

    Raises:
        OtherFormatError: no HDF5, or nothing of PtyLab in it.
        DataError: wrong shapes, or Fourier ptychography.
    """
    if diffraction is not None:
        raise OtherFormatError("PtyLab files hold their patterns themselves")
    with open_hdf5(path) as file:
        if "ptychogram" not in file:
            raise OtherFormatError("it has no 'ptychogram'")
        if "zled" in file and "zo" not in file:
            raise DataError(f"{path}: is Fourier ptychography (it has 'zled'); only conventional ptychography is read")
        positions = None
        if "encoder" in file:
            encoder = np.asarray(file["encoder"][()])
            if encoder.ndim == 2 and encoder.shape[0] == 2 and encoder.shape[1] != 2:
                encoder = encoder.T  # as MATLAB leaves it
            positions = columns(encoder, path, "encoder", (2,))[:, ::-1].copy()
        pixel = number(file, "dxd", path)
        diameter = number(file, "entrancePupilDiameter", path)
        return ScanRecord(
            path=path,
            format="PtyLab HDF5",
            contents=contents(file),
            store=Hdf5Store(path, "ptychogram"),
            key="ptychogram",
            domain="counts",
            orientation=_orientation(file, path),
            positions_m=positions,
            wavelength_m=number(file, "wavelength", path),
            distance_m=number(file, "zo", path),
            detector_pixel_m=None if pixel is None else (pixel, pixel),
            metadata={} if diameter is None else {"physics_parameters": {"probe_diameter_m": diameter}},
        )


def _orientation(file: Any, path: Path) -> tuple[bool, bool, bool]:
    found = number(file, "orientation", path)
    code = 0 if found is None else int(found)
    if found is not None and (code != found or not 0 <= code <= 7):
        raise DataError(f"{path}: key 'orientation' is {found:g}, expected a whole number from 0 to 7")
    return bool(code & 4), bool(code & 2), bool(code & 1)
