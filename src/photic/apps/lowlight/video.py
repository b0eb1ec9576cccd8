"""Videos, frame by frame: read, enhanced with decisions that change smoothly, written whole or not at all.

One frame is in memory at a time. Frames have 8 bits, as OpenCV delivers them; a variable frame rate becomes a constant one.
"""

from __future__ import annotations

import math
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.lowlight.enhancing import check_strength, enhance_pixels, graph_of
from photic.apps.lowlight.steadiness import CutDetector, SmoothedDecision, SteadyBrightness, luminance_variation
from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.files import saved
from photic.data.photo.depth import as_kind, overview_of
from photic.inference.predictor import LoadedModel

Frame = NDArray[np.uint8]
"""``(H, W, 3)`` RGB."""

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp")
"""Endings that count as videos."""
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""Endings that can be written, and the codec of each."""
SMOOTH_S = 1.0
_USUAL_FPS = 25.0
_MOST_FPS = 1000.0
_MISSING_SHARE = 0.01
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class VideoResult:
    """What became of a video."""

    output: Path
    num_frames: int
    fps: float
    size: tuple[int, int]
    """Height and width in pixels."""
    num_scenes: int
    """Parts between cuts."""
    variation: tuple[float, float] | None
    """Frame-to-frame variation of brightness before and after, see :mod:`photic.apps.lowlight.steadiness`; None for very short clips."""
    notes: tuple[str, ...]
    """What a user should know: about sound, frame rates."""


def is_video(path: Path | str) -> bool:
    """Say whether a file's name ends as a video's does."""
    return Path(path).suffix.lower() in SUFFIXES


def announced(path: Path) -> tuple[int, tuple[int, int]]:
    """Return how many frames a video has by its own account, and height and width; 0 where it does not say.

    Raises:
        DataError: it is no video that can be read.
    """
    reader = VideoReader(path)
    reader.close()
    return reader.expected, reader.announced_size


def output_suffix(source: Path) -> str:
    """Return the ending that the enhanced video of a file gets by default: its own where it can be written, else .mp4."""
    return source.suffix if source.suffix.lower() in CODECS else ".mp4"


def enhance_video(
    model: LoadedModel,
    source: Path | str,
    output: Path | str,
    *,
    strength: float = 1.0,
    smooth_s: float = SMOOTH_S,
    tile_px: int | None = None,
    force: bool = False,
    advance: Callable[[int], None] | None = None,
) -> VideoResult:
    """Enhance a video and write it with the same size and frame rate.

    Args:
        model: a trained enhancer.
        source: the video.
        output: ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` (MPEG-4) or ``.avi`` (Motion JPEG).
        strength: 0 to 2, as for pictures.
        smooth_s: time constant in seconds with which exposure and colour follow the scene; it begins anew at each cut. 0 decides for
            every frame alone.
        tile_px: side of tiles, as for pictures.
        force: replace what is there.
        advance: called with 1 after each frame.

    Raises:
        ConfigError: an output that cannot be written, exists already, or is the input; an impossible strength, time or tile.
        DataError: the input is no video, has no frames, ends early, or changes its size.
        StorageError: the file cannot be written.
    """
    source, output = Path(source), Path(output)
    check_strength(strength)
    codec = _codec(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"{output}: is the input itself; give another name")
    if output.is_dir() or (output.exists() and not force):
        raise ConfigError(f"{output}: is there already; give another name, or force (--force) to replace it")
    reader = VideoReader(source)
    enhancer = FrameEnhancer(model, reader.fps, strength=strength, smooth_s=smooth_s, tile_px=tile_px)
    with _working_file(output) as working:
        with _Writer(working, codec, reader.fps, output) as writer:
            for frame in reader.frames():
                writer.write(enhancer(frame))
                if advance is not None:
                    advance(1)
        notes = (*reader.notes, *_with_sound(working, source, output))
    return VideoResult(output, reader.num_read, reader.fps, reader.size, enhancer.num_scenes, enhancer.variation(), notes)


class FrameEnhancer:
    """Enhances the frames of a video in order.

    Args:
        model: a trained enhancer.
        fps: frames per second.
        strength: 0 to 2.
        smooth_s: time constant of exposure and colour.
        tile_px: side of tiles.
    """

    def __init__(
        self, model: LoadedModel, fps: float, *, strength: float = 1.0, smooth_s: float = SMOOTH_S, tile_px: int | None = None
    ) -> None:
        self._graph, self._device = graph_of(model), model.device
        self._strength, self._tile_px = check_strength(strength), tile_px
        self._decision, self._brightness = SmoothedDecision(smooth_s, fps), SteadyBrightness(smooth_s, fps)
        self._cuts = CutDetector()
        self._before: list[float] = []
        self._after: list[float] = []
        self.num_scenes = 1

    @torch.inference_mode()
    def __call__(self, frame: Frame) -> Frame:
        """Return the enhanced next frame ``(H, W, 3)``; a black one stays as it is."""
        small = overview_of(frame)[None]
        if self._cuts.is_cut(small):
            self.num_scenes += 1
            self._decision.reset()
            self._brightness.reset()
        made = self._enhanced(frame, small) if self._strength and frame.any() else frame
        self._before.append(mean_luma(frame))
        self._after.append(mean_luma(made))
        return made

    def _enhanced(self, frame: Frame, small: Tensor) -> Frame:
        decision = self._decision.next(self._graph.decide(small.to(self._device)))
        pixels = frame.astype(np.float32) / np.float32(255)  # rounded once, at the end
        made = enhance_pixels(self._graph, pixels, strength=self._strength, tile_px=self._tile_px, decision=decision, device=self._device)
        gain = self._brightness.gain(mean_luma(pixels), mean_luma(made))
        return as_kind(np.minimum(made * np.float32(gain), np.float32(1)), np.uint8)

    def variation(self) -> tuple[float, float] | None:
        """Return the frame-to-frame variation of brightness before and after; None for fewer than three frames or black ones."""
        if len(self._before) < 3 or not sum(self._before) or not sum(self._after):
            return None
        return luminance_variation(self._before), luminance_variation(self._after)


class VideoReader:
    """A video's frames, in order, upright.

    Args:
        path: the file.

    Raises:
        DataError: there is no such file, or it is no video that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: {'is a folder; expected a video' if path.is_dir() else 'no such file'}")
        with _quiet():
            self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise DataError(f"{path}: not a video that can be read ({path.stat().st_size} bytes); it may be cut short, or no video at all")
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.expected = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        """Frames by the file's own account; 0 where it does not say."""
        sides = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        self.announced_size = (max(0, int(self._capture.get(sides[0]))), max(0, int(self._capture.get(sides[1]))))
        """Height and width likewise."""
        self.notes: list[str] = []
        if not (math.isfinite(fps) and 0 < fps <= _MOST_FPS):
            self.notes.append(f"the file does not say how many frames a second has; {_USUAL_FPS:g} are taken")
            fps = _USUAL_FPS
        self.fps = fps
        self.size = (0, 0)
        self.num_read = 0

    def close(self) -> None:
        """Let the file go."""
        self._capture.release()

    def frames(self) -> Iterator[Frame]:
        """Yield the frames, and close the file.

        Raises:
            DataError: there are none, the video ends early, or its size changes.
        """
        drift_s = 0.0
        try:
            while True:
                with _quiet():
                    found, frame = self._capture.read()
                if not found:
                    break
                if self.num_read == 0:
                    self.size = frame.shape[:2]
                elif frame.shape[:2] != self.size:
                    old, new = (f"{width} x {height}" for height, width in (self.size, frame.shape[:2]))
                    raise DataError(f"{self.path}: its size changes from {old} to {new} pixels at frame {self.num_read + 1}; cut it there")
                shown_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                if shown_s > 0:
                    drift_s = max(drift_s, abs(shown_s - self.num_read / self.fps))
                self.num_read += 1
                yield np.ascontiguousarray(frame[..., ::-1])
        finally:
            self.close()
        if self.num_read == 0:
            raise DataError(f"{self.path}: no frame can be read; the file is empty, cut short, or in a format OpenCV does not know")
        missing = self.expected - self.num_read
        if missing > max(2, _MISSING_SHARE * self.expected):
            raise DataError(
                f"{self.path}: ends after {self.num_read} of {self.expected} frames: cut short or damaged. "
                f"`ffmpeg -i {shlex.quote(self.path.name)} -c copy repaired{self.path.suffix}` keeps what is left of it"
            )
        if drift_s > max(0.25, 2 / self.fps):
            self.notes.append(
                f"its frame rate varies (times are up to {drift_s:.2f} s off); written at a constant {self.fps:.3g} frames per second"
            )


class _Writer:
    """Writes frames into a video file."""

    def __init__(self, path: Path, codec: str, fps: float, output: Path) -> None:
        self._path, self._codec, self._fps, self._output = path, codec, fps, output
        self._writer: Any = None
        self._size = (0, 0)

    def write(self, frame: Frame) -> None:
        if self._writer is None:
            self._size = frame.shape[:2]
            with _quiet():
                fourcc = cv2.VideoWriter.fourcc(*self._codec)
                self._writer = cv2.VideoWriter(str(self._path), fourcc, self._fps, (frame.shape[1], frame.shape[0]))
            if not self._writer.isOpened():
                raise StorageError(
                    f"{self._output}: cannot be written ({self._size[1]} x {self._size[0]} pixels, {self._codec}); "
                    "is the folder writable? .avi takes sizes that .mp4 does not"
                )
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.release()


def mean_luma(frame: NDArray[Any]) -> float:
    """Return the mean luma of a frame ``(H, W, 3)``, in its unit."""
    return float(frame.reshape(-1, 3).mean(axis=0, dtype=np.float64) @ _LUMA)


def _codec(output: Path) -> str:
    codec = CODECS.get(output.suffix.lower())
    if codec is None:
        raise ConfigError(f"{output}: cannot write '{output.suffix}' videos; use one of {', '.join(CODECS)}")
    return codec


@contextmanager
def _working_file(output: Path) -> Iterator[Path]:
    """Give a temporary path with the output's ending, by which OpenCV chooses the container; it takes the output's name at the end."""
    with saved(output, force=True) as temporary:
        working = temporary.with_name(temporary.name + output.suffix)
        try:
            yield working
            working.replace(temporary)
        finally:
            working.unlink(missing_ok=True)


def _with_sound(working: Path, source: Path, output: Path) -> tuple[str, ...]:
    """Copy the sound of the source into the new video if there is an ``ffmpeg``; return what to say about it."""
    names = [shlex.quote(str(path)) for path in (output, source, output.with_stem(f"{output.stem}_with_sound"))]
    command = f"ffmpeg -i {names[0]} -i {names[1]} -map 0:v -map 1:a -c copy {names[2]}"
    program = shutil.which("ffmpeg")
    if program is None:
        return (f"without sound, which OpenCV does not carry over; with ffmpeg installed: {command}",)
    with tempfile.TemporaryDirectory(dir=working.parent) as folder:
        joined = Path(folder) / f"joined{output.suffix}"
        arguments = [program, "-v", "error", "-y", "-i", str(working), "-i", str(source)]
        arguments += ["-map", "0:v:0", "-map", "1:a?", "-c", "copy", str(joined)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0 or not joined.is_file():
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            return (f"without sound: ffmpeg could not copy it ({reason}); try another ending, or: {command}",)
        joined.replace(working)
    return ()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from writing about what is said here in words."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
