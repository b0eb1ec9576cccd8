"""Makes the golden .phc files: small pictures, and the untrained model that wrote them, from fixed seeds.

Run: ``python tests/golden/make_phc.py``. They are made once for a version of the format and then kept: files of users stay readable as long
as these are. A change that breaks them needs a new version of the format, and new files beside the old ones.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "unit"))

from rawnind.compressors import TINY, loaded_compressor  # noqa: E402
from rawnind.denoisers import NOISE, noisy  # noqa: E402

from photic.apps.rawnind.compressing.decoding import decoded_latents, decompress_picture  # noqa: E402
from photic.apps.rawnind.compressing.encoding import compress_picture  # noqa: E402
from photic.apps.rawnind.compressing.model_identity import model_id  # noqa: E402
from photic.data.photo import exif  # noqa: E402
from photic.data.photo.exif import Directory, Tag  # noqa: E402
from photic.functional.cfa import BAYER  # noqa: E402
from photic.inference.bundle import write_bundle  # noqa: E402
from photic.inference.description import describe  # noqa: E402

BUNDLE = "phc1_model.photic.xz"
PICTURES = {
    # name: order, size, quality, tile
    "phc1_rggb": ("RGGB", (64, 96), 3.0, 32),
    "phc1_gbrg_tiles": ("GBRG", (101, 75), 1.75, 5),
    "phc1_bggr_small": ("BGGR", (7, 9), 1.0, 1),
}


def main() -> None:
    torch.set_num_threads(1)
    model = loaded_compressor(TINY, seed=7)
    network = model.task.network
    config = {"task": model.task.config.to_dict(), "model": TINY.to_dict(), "data": {"name": "made"}}
    about = {**describe(config, {}, "golden"), "created": "", "photic": "", "card": ""}
    model.description["name"] = "golden"
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder) / "model.photic", model.task, about)
        (FOLDER / BUNDLE).write_bytes(lzma.compress(bundle.read_bytes(), preset=9))
    facts = {"bundle": BUNDLE, "model_id": model_id(network).hex(), "files": {}}
    for name, (order, size, quality, tile) in PICTURES.items():
        block = exif.pack(Directory("<", tags={0x010F: Tag(2, 6, b"Maker\0")}))
        picture = replace(noisy(*size, BAYER[order], seed=3), exif=block, orientation=6, exposure_s=0.005)
        data = compress_picture(model, picture, quality=quality, noise=NOISE, tile=tile)
        (FOLDER / f"{name}.phc").write_bytes(data)
        latents = decoded_latents(model, data)
        facts["files"][name] = {
            "latents": list(latents.shape),
            "sha256": hashlib.sha256(latents.numpy().astype("<f4").tobytes()).hexdigest(),
            "mean": [float(value) for value in decompress_picture(model, data).values.mean(axis=(0, 1), dtype="f8")],
        }
    (FOLDER / "phc1.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
