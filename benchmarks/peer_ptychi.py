"""Runs pty-chi's LSQML on one scan, for ``ptycho_iterative.py``; executed by an interpreter that has pty-chi, not Photic.

Run: ``PYTHON benchmarks/peer_ptychi.py IN.npz OUT.npz``. IN holds ``counts`` (M, N, N), ``positions_px`` (M, 2) [x, y] of patch centres
(index N/2), ``probe`` (P, N, N), and ``settings``, JSON: epochs, batch_size, noise_model, seed. OUT holds ``object``, ``origin_px`` and the
CPU and wall seconds of the whole process, start-up included.
"""

import json
import os
import sys
import time

STARTED = time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ptychi import api  # noqa: E402
from ptychi.api.task import PtychographyTask  # noqa: E402

MARGIN_PX = 8


def main(source: str, target: str) -> None:
    with np.load(source, allow_pickle=False) as file:
        counts, positions, probe = file["counts"], file["positions_px"], file["probe"]
        settings = json.loads(str(file["settings"]))
    size = counts.shape[-1]
    origin = np.floor(positions.min(axis=0)).astype(int) - size // 2 - MARGIN_PX
    extent = np.ceil(positions.max(axis=0)).astype(int) + size // 2 + MARGIN_PX - origin

    options = api.LSQMLOptions()
    options.data_options.data = counts
    options.object_options.initial_guess = torch.ones((1, int(extent[1]), int(extent[0])), dtype=torch.complex64)
    options.object_options.optimizable = True
    # Its patches are centred between pixels, (N - 1)/2, ours on pixel N/2.
    options.object_options.determine_position_origin_coords_by = api.enums.ObjectPosOriginCoordsMethods.SPECIFIED
    options.object_options.position_origin_coords = np.zeros(2)
    local = positions - origin - 0.5
    options.probe_position_options.position_x_px = local[:, 0]
    options.probe_position_options.position_y_px = local[:, 1]
    options.probe_position_options.optimizable = False
    options.probe_options.initial_guess = torch.from_numpy(probe)[None]
    options.probe_options.optimizable = False
    options.reconstructor_options.num_epochs = settings["epochs"]
    options.reconstructor_options.batch_size = settings["batch_size"]
    options.reconstructor_options.noise_model = api.enums.NoiseModels(settings["noise_model"])
    # The probe is in the scan's units already, and the object comes out better so.
    options.reconstructor_options.rescale_probe_intensity_in_first_epoch = False
    options.reconstructor_options.default_device = api.Devices.CPU
    options.reconstructor_options.random_seed = settings["seed"]
    with PtychographyTask(options) as task:
        task.run()
        found = task.get_data_to_cpu("object", as_numpy=True)[0]
    times = os.times()
    np.savez(
        target,
        object=found.astype(np.complex64),
        origin_px=origin,
        cpu_seconds=times.user + times.system,
        seconds=time.perf_counter() - STARTED,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
