"""Networks for ptychography as functions from files to files: a scan in, a stitched complex object out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.ptycho.inference import name_of, network_inputs, network_of, predict_scan
from photic.apps.ptycho.opening import open_scans, with_mask
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.readers.links import refuse_links
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.ptycho.refinement import refine
from photic.core.errors import ConfigError, DataError
from photic.core.schema import Range
from photic.functional.patches import covering_canvas
from photic.inference.file_model import Answer, FileModel, FileOptions, of_kind
from photic.inference.predictor import LoadedModel

_CHECKED_PATTERNS = 8


@dataclass(frozen=True, kw_only=True)
class PtychographyOptions(FileOptions):
    """How a scan is reconstructed."""

    refine: Annotated[int, Range(ge=0, le=10_000)] = 0
    """Iterations through the forward model afterwards."""
    refine_probe: bool = False
    """Refine the probe, too."""
    refine_positions: bool = False
    """Refine the positions, too."""
    probe: Literal["auto", "scan", "model"] = "auto"
    """Whose probe is taken; auto is the model's where training refined it, else the scan's."""
    patches: bool = False
    """Also keep the patch of every position; memory and result then grow with the scan."""
    domain: Literal["amplitude", "counts"] | None = None
    """What the patterns are; null is what the format says."""
    batch_size: Annotated[int, Range(ge=1, le=4096)] = 32
    """Patterns at a time."""


class PtychographyFiles(FileModel):
    """A network for ptychography. The result is one file; `photic predict` writes a folder with pictures.

    Args:
        model: a trained network.
        mask: valid detector pixels ``(N, N)``, for every scan.

    Raises:
        ConfigError: the model is none for ptychography.
    """

    options_type = PtychographyOptions
    endings = (".npz", ".cxi", ".h5", ".hdf5")
    writable = (".npz", ".h5")
    what = "scans"
    mark = "_object"

    def __init__(self, model: LoadedModel, *, mask: NDArray[np.bool_] | None = None) -> None:
        super().__init__(model)
        self.network = network_of(model)
        self.mask = mask

    def check(self, options: FileOptions, endings: Collection[str] = ()) -> None:
        """Refuse to refine something in no iterations."""
        super().check(options, endings)
        given = of_kind(options, PtychographyOptions)
        if not given.refine and (given.refine_probe or given.refine_positions):
            which = "refine_probe" if given.refine_probe else "refine_positions"
            raise ConfigError(f"{which}: is refined by iterations, and there are none; ask for some with refine (20 is a usual number)")

    def opened(self, sources: list[Path], options: PtychographyOptions) -> RawNPZData:
        """Open a scan that lies in one file or several.

        Raises:
            DataError: no scan that can be read, or (where this is guarded) one that points to other files.
        """
        if self.is_guarded:
            for source in sources:
                refuse_links(source)
        scan = open_scans(sources, domain=options.domain).as_one()
        return scan if self.mask is None else with_mask(scan, self.mask)

    def predicted(self, scan: RawNPZData, options: PtychographyOptions, advance: Callable[[int], None]) -> Reconstruction:
        """Return the object that the network alone makes of a scan.

        Args:
            scan: what was measured.
            options: how.
            advance: told numbers of patterns.

        Raises:
            DataError: the scan does not fit the network, or its object would be larger than allowed.
        """
        canvas = covering_canvas(torch.from_numpy(scan.positions_px), scan.size_px)
        if canvas.shape[0] * canvas.shape[1] > self.max_pixels:
            raise DataError(
                f"{scan.source}: its positions span an object of {canvas.shape[0]} x {canvas.shape[1]} pixels, more than the "
                f"{self.max_pixels / 1e6:g} megapixels that are allowed; are the positions in pixels of the object?"
            )
        made = predict_scan(
            self.network,
            scan,
            probe=options.probe,
            batch_size=options.batch_size,
            device=self.model.device,
            patches=options.patches,
            method=name_of(self.model),
            advance=advance,
        )
        # What goes back to strangers does not say where files lie on this machine.
        model, source = (Path(name).name if self.is_guarded else name for name in (str(self.model.source), made.source))
        return dataclasses.replace(made, source=source, metadata={**made.metadata, "model": model})

    def refined(
        self, made: Reconstruction, scan: RawNPZData, options: PtychographyOptions, advance: Callable[[int], None]
    ) -> Reconstruction:
        """Go on from there with the iterations that were asked for, if any; ``advance`` is told numbers of them."""
        if not options.refine:
            return made
        fine = refine(
            made,
            scan,
            options.refine,
            refine_probe=options.refine_probe,
            refine_positions=options.refine_positions,
            device=self.model.device,
            advance=advance,
        )
        return dataclasses.replace(fine, source=made.source)

    def reconstructed(self, sources: list[Path], options: PtychographyOptions, advance: Callable[[float], None]) -> Reconstruction:
        """Return the object of a scan that lies in one file or several; predicting all patterns counts as much as one iteration."""
        scan, rounds = self.opened(sources, options), 1 + options.refine
        made = self.predicted(scan, options, lambda count: advance(count / scan.num_patterns / rounds))
        return self.refined(made, scan, options, lambda count: advance(count / rounds))

    def tensors(self, source: Path, options: FileOptions) -> Iterator[tuple[Tensor, ...]]:
        """Yield the first patterns of the scan."""
        yield (network_inputs(self.network, self.opened([source], self._options(options, PtychographyOptions)), _CHECKED_PATTERNS),)

    def apply(
        self,
        source: Path,
        output: Path | None,
        options: FileOptions,
        *,
        force: bool = False,
        advance: Callable[[float], None] = lambda share: None,
    ) -> Answer:
        """Reconstruct a scan and write the object; see :meth:`FileModel.apply`."""
        place, given = self._check_output(source, output), self._options(options, PtychographyOptions)
        made = self.reconstructed([source], given, advance)
        made.save(place, force=force)
        return Answer((place,), facts_of(made))


def facts_of(made: Reconstruction) -> dict[str, Any]:
    """Return what a user wants to know of a reconstruction, as JSON values."""
    height, width = made.stitched().shape
    return {
        "method": made.method,
        "patterns": made.num_positions,
        "height": height,
        "width": width,
        "r_amp": made.r_amp,
        "pixel_size_m": made.pixel_size_m,
        "seconds": made.metadata.get("seconds"),
    }
