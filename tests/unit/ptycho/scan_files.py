"""A simulated far-field scan, and scan files in the layouts that other programs write."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np

N = 16
WAVELENGTH_M = 1.5e-10
DISTANCE_M = 2.0
DETECTOR_PIXEL_M = 75e-6
PIXEL_M = WAVELENGTH_M * DISTANCE_M / (N * DETECTOR_PIXEL_M)
JOULE = 6.62607015e-34 * 299792458.0 / WAVELENGTH_M
ENERGY_EV = JOULE / 1.602176634e-19


@dataclass
class Scan:
    truth: np.ndarray
    probe: np.ndarray
    positions: np.ndarray
    """(M, 2) as [x, y], whole pixels of the truth."""
    counts: np.ndarray


def make_scan(count=20, seed=0):
    """Return a scan with whole-pixel positions, simulated in plain NumPy."""
    generator = np.random.default_rng(seed)
    truth = (0.7 + 0.3 * generator.random((48, 56))) * np.exp(1j * generator.random((48, 56)))
    grid = np.arange(N) - N // 2
    probe = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / 20) * np.exp(0.02j * (grid[:, None] ** 2 - grid[None]))
    probe = (probe * np.sqrt(2e4 / np.sum(np.abs(probe) ** 2))).astype(np.complex64)
    positions = np.stack([generator.integers(N // 2, 56 - N // 2, count), generator.integers(N // 2, 48 - N // 2, count)], axis=1)
    counts = np.empty((count, N, N), np.int32)
    for row, (x, y) in enumerate(positions):
        patch = truth[y - N // 2 : y + N // 2, x - N // 2 : x + N // 2]
        field = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(patch * probe), norm="ortho"))
        counts[row] = generator.poisson(np.abs(field) ** 2)
    return Scan(truth, probe, positions.astype(float), counts)


def write_cxi(
    path, scan, *, translation="entry_1/sample_1/geometry_1/translation", basis=None, wavelength=False, mask=None, probe=None, **changes
):
    """Write a CXI file as cdtools and the format's description have it: the *specimen* moves, minus the beam's place."""
    fast, slow = np.array([-1.0, 0, 0]), np.array([0, -1.0, 0])
    if basis is not None:
        slow, fast = np.array(basis[0], float), np.array(basis[1], float)
    beam = (scan.positions[:, :1] * fast + scan.positions[:, 1:] * slow) * PIXEL_M
    detector = "entry_1/instrument_1/detector_1"
    values = {
        "cxi_version": 160,
        f"{detector}/data": scan.counts,
        f"{detector}/distance": DISTANCE_M,
        f"{detector}/x_pixel_size": DETECTOR_PIXEL_M,
        f"{detector}/y_pixel_size": DETECTOR_PIXEL_M,
        "entry_1/instrument_1/source_1/energy": JOULE,
        translation: -beam,
        **changes,
    }
    if basis is not None:
        values[f"{detector}/basis_vectors"] = np.stack([slow, fast], axis=1) * DETECTOR_PIXEL_M
    if wavelength:
        values["entry_1/instrument_1/source_1/wavelength"] = WAVELENGTH_M
    if mask is not None:
        values[f"{detector}/mask"] = mask
    if probe is not None:
        values["entry_1/instrument_1/source_1/illumination"] = probe
    with h5py.File(path, "w") as file:
        for key, value in values.items():
            if value is not None:
                file[key] = value
        file.require_group("entry_1/data_1")
        if values[f"{detector}/data"] is not None:
            file["entry_1/data_1/data"] = h5py.SoftLink(f"/{detector}/data")
    return path


def write_ptychodus(product, diffraction, scan, *, order=None, attributes=None, **changes):
    """Write a ptychodus product and, if a path is given, its patterns apart."""
    height, width = scan.truth.shape
    center = np.array([3e-6, -2e-6])
    beam = (scan.positions - np.array([width / 2, height / 2])) * PIXEL_M + center
    order = np.arange(len(beam)) if order is None else order
    values = {
        "probe_position_indexes": order,
        "probe_position_x_m": beam[order, 0],
        "probe_position_y_m": beam[order, 1],
        "probe": scan.probe[None, None],
        "object": scan.truth[None],
        "object_layer_spacing_m": np.zeros(0),
        "loss_values": np.ones(3),
        **changes,
    }
    with h5py.File(product, "w") as file:
        file.attrs.update(
            {
                "name": "test",
                "comments": "",
                "detector_object_distance_m": DISTANCE_M,
                "probe_energy_eV": ENERGY_EV,
                "probe_photon_count": 2e4,
                "exposure_time_s": 0.1,
                **(attributes or {}),
            }
        )
        for key, value in values.items():
            if value is not None:
                file[key] = value
        for key in ("probe", "object"):
            if key in file:
                file[key].attrs.update({"pixel_width_m": PIXEL_M, "pixel_height_m": PIXEL_M})
        if "object" in file:
            file["object"].attrs.update({"center_x_m": center[0], "center_y_m": center[1]})
    if diffraction is not None:
        with h5py.File(diffraction, "w") as file:
            file.create_dataset("dp", data=scan.counts, compression="gzip")
    return product


def write_ptylab(path, scan, **changes):
    """Write a PtyLab file: encoder rows first, relative to the middle of the object."""
    values = {
        "ptychogram": scan.counts.astype(np.float32),
        "encoder": ((scan.positions - scan.positions.mean(axis=0)) * PIXEL_M)[:, ::-1],
        "binningFactor": 1,
        "dxd": np.array([DETECTOR_PIXEL_M]),
        "Nd": np.array([N]),
        "No": np.array([64]),
        "zo": np.array([[DISTANCE_M]]),
        "wavelength": np.array([WAVELENGTH_M]),
        "entrancePupilDiameter": np.array([5e-6]),
        "orientation": 0,
        **changes,
    }
    with h5py.File(path, "w") as file:
        for key, value in values.items():
            if value is not None:
                file[key] = value
    return path


def write_raw(path, scan, **changes):
    """Write a raw NPZ file."""
    values = {
        "xcoords": scan.positions[:, 0],
        "ycoords": scan.positions[:, 1],
        "diffraction": np.sqrt(scan.counts).astype(np.float32),
        "probeGuess": scan.probe,
        **changes,
    }
    np.savez(path, **{key: value for key, value in values.items() if value is not None})
    return path


def write_shadows(path, count=40, size=32, shift_px=12.0):
    """Write a CXI file of magnified shadows: patterns move by ``shift_px`` pixels per far-field patch of the specimen."""
    generator = np.random.default_rng(0)
    positions = generator.random((count, 2)) * 4 * size
    from scipy.ndimage import gaussian_filter

    specimen = np.exp(1.2 * gaussian_filter(generator.normal(size=(200, 200)), 1.2) / 0.2)
    grid = np.arange(size) - size // 2
    beam = np.hypot(grid[:, None], grid[None]) < 0.42 * size
    counts = np.empty((count, size, size), np.int32)
    for row, (x, y) in enumerate(np.round(positions / size * shift_px).astype(int)):
        counts[row] = generator.poisson(300 * specimen[60 + y : 60 + y + size, 60 + x : 60 + x + size] * beam)
    pixel = WAVELENGTH_M * DISTANCE_M / (size * DETECTOR_PIXEL_M)
    scan = Scan(np.ones((4, 4)), np.ones((size, size)), positions * pixel / PIXEL_M, counts)
    return write_cxi(path, scan)
