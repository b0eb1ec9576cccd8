"""Videos through an enhancer: steady, in order, whole or not at all; what is no video is refused."""

from __future__ import annotations

import itertools
import os
import stat
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from photic.apps.lowlight.steadiness import luminance_variation
from photic.apps.lowlight.video import FrameEnhancer, VideoReader, enhance_video, is_video, mean_luma, output_suffix
from photic.core.errors import ConfigError, DataError

from .conftest import dark_scene

FPS = 20.0


def static_clip(number: int = 40, height: int = 48, width: int = 64, noise: float = 3.0, seed: int = 0) -> list[np.ndarray]:
    """Return frames of a static dark scene with a sensor's noise, uint8."""
    generator = np.random.default_rng(seed)
    scene = 255 * dark_scene(height, width, seed=seed)
    return [np.clip(np.rint(scene + generator.normal(0, noise, scene.shape)), 0, 255).astype(np.uint8) for _ in range(number)]


def panned_clip(number: int = 60) -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    wide = 255 * dark_scene(48, 64 + number)
    frames = [wide[:, step : step + 64] for step in range(number)]
    return [np.clip(np.rint(frame + generator.normal(0, 3, frame.shape)), 0, 255).astype(np.uint8) for frame in frames]


def write_clip(path: Path, frames: list[np.ndarray], fps: float = FPS) -> Path:
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (frames[0].shape[1], frames[0].shape[0]))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def read_clip(path: Path) -> list[np.ndarray]:
    return list(VideoReader(path).frames())


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch, tmp_path):
    """Whether a machine has ffmpeg makes no difference to tests that do not ask for it."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mkv"])
def test_a_clip_keeps_size_rate_and_order(enhancer, tmp_path, suffix):
    frames = [frame // (1 + number % 2) for number, frame in enumerate(static_clip(12, noise=0))]  # every second one is darker
    source = write_clip(tmp_path / f"a{suffix}", frames)
    done: list[int] = []
    found = enhance_video(enhancer, source, tmp_path / f"b{suffix}", advance=done.append)
    made = read_clip(tmp_path / f"b{suffix}")
    assert (found.num_frames, found.fps, found.size, sum(done)) == (12, FPS, (48, 64), 12)
    assert len(made) == 12
    assert made[0].shape == (48, 64, 3)
    assert VideoReader(tmp_path / f"b{suffix}").fps == pytest.approx(FPS)
    levels = [mean_luma(frame) for frame in made]
    assert all(levels[number] > levels[number + 1] for number in range(0, 12, 2))
    assert min(levels) > 1.5 * max(mean_luma(frame) for frame in frames)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}", "bin"]


@pytest.mark.parametrize("clip", [static_clip, panned_clip])
def test_brightness_varies_no_more_than_the_input_s(enhancer, clip):
    """The mark: on a static scene, at most 1.1 times the input's."""
    frames = clip()
    enhance = FrameEnhancer(enhancer, FPS)
    made = [enhance(frame) for frame in frames]
    before, after = (luminance_variation([mean_luma(frame) for frame in some]) for some in (frames, made))
    assert enhance.variation() == pytest.approx((before, after))
    assert enhance.num_scenes == 1
    assert after <= 1.1 * before


def test_the_mark_holds_in_the_file_that_is_written(enhancer, tmp_path):
    source = write_clip(tmp_path / "a.avi", static_clip())
    enhance_video(enhancer, source, tmp_path / "b.avi")
    before, after = (luminance_variation([mean_luma(frame) for frame in read_clip(tmp_path / name)]) for name in ("a.avi", "b.avi"))
    assert after <= 1.1 * before


def test_a_network_that_flickers_is_held(enhancer, monkeypatch):
    """Frames that come out ten percent brighter and darker by turns, whatever the decision."""
    graph_type = type(enhancer.task.graph)
    steady, count = graph_type.forward, itertools.count()
    monkeypatch.setattr(graph_type, "forward", lambda *args, **named: steady(*args, **named) * (0.9 + 0.1 * (next(count) % 2)))
    frames = static_clip(60)
    enhance = FrameEnhancer(enhancer, FPS)
    found = [mean_luma(enhance(frame)) for frame in frames]
    assert luminance_variation(found[20:]) <= 1.1 * luminance_variation([mean_luma(frame) for frame in frames[20:]])


def test_decisions_are_smoothed_and_begin_anew_at_a_cut(enhancer):
    first, second = static_clip(15, seed=1), [frame // 3 for frame in static_clip(15, seed=2)]
    enhance = FrameEnhancer(enhancer, FPS, smooth_s=100)
    made = [enhance(frame) for frame in first + second]
    assert enhance.num_scenes == 2
    alone = FrameEnhancer(enhancer, FPS, smooth_s=100)
    np.testing.assert_array_equal(made[15], alone(second[0]))


def test_strength_zero_and_black_frames_are_left_as_they_are(enhancer):
    frames = static_clip(3)
    enhance = FrameEnhancer(enhancer, FPS, strength=0)
    for frame in frames:
        np.testing.assert_array_equal(enhance(frame), frame)
    black = np.zeros((48, 64, 3), np.uint8)
    enhance = FrameEnhancer(enhancer, FPS)
    for _ in range(3):
        np.testing.assert_array_equal(enhance(black), black)
    assert enhance.variation() is None


def test_a_turned_clip_comes_out_upright(enhancer, tmp_path):
    frames = static_clip(6, noise=0)
    source = write_clip(tmp_path / "a.mp4", frames)
    content = bytearray(source.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of times, identity, duration and volume
    content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    source.write_bytes(content)
    found = enhance_video(enhancer, source, tmp_path / "b.mp4")
    assert found.size == (64, 48)
    assert read_clip(tmp_path / "b.mp4")[0].shape == (64, 48, 3)


def test_nothing_that_is_there_is_replaced_unasked(enhancer, tmp_path):
    source = write_clip(tmp_path / "a.mp4", static_clip(3))
    other = tmp_path / "b.mp4"
    other.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        enhance_video(enhancer, source, other)
    assert other.read_text() == "mine"
    with pytest.raises(ConfigError, match="input itself"):
        enhance_video(enhancer, source, source, force=True)
    with pytest.raises(ConfigError, match="cannot write '.webm'"):
        enhance_video(enhancer, source, tmp_path / "b.webm")
    enhance_video(enhancer, source, other, force=True)
    assert len(read_clip(other)) == 3


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_refused(enhancer, tmp_path, content, capfd):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DataError, match="not a video"):
        enhance_video(enhancer, tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()
    with pytest.raises(DataError, match="no such file"):
        enhance_video(enhancer, tmp_path / "absent.mp4", tmp_path / "b.mp4")
    with pytest.raises(DataError, match="folder"):
        enhance_video(enhancer, tmp_path, tmp_path / "b.mp4")


@pytest.mark.parametrize(("suffix", "share"), [(".mp4", 0.5), (".avi", 0.5)])
def test_a_clip_cut_short_is_refused_and_leaves_nothing(enhancer, tmp_path, suffix, share):
    source = write_clip(tmp_path / f"a{suffix}", static_clip(60))
    content = source.read_bytes()
    source.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="cut short"):
        enhance_video(enhancer, source, tmp_path / f"b{suffix}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", "bin"]


def test_without_ffmpeg_the_missing_sound_is_said(enhancer, tmp_path):
    found = enhance_video(enhancer, write_clip(tmp_path / "a.mp4", static_clip(3)), tmp_path / "b.mp4")
    assert len(found.notes) == 1
    assert "without sound" in found.notes[0]
    assert "ffmpeg -i" in found.notes[0]


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for ffmpeg is a shell script")
@pytest.mark.parametrize("works", [True, False])
def test_with_ffmpeg_the_sound_is_copied(enhancer, tmp_path, works):
    """A script stands for ffmpeg: it notes its arguments and copies its first input to its output, or fails."""
    script = tmp_path / "bin" / "ffmpeg"
    last = 'for word; do out=$word; done; /bin/cp "$5" "$out"' if works else "echo no such codec >&2; exit 1"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/bin/arguments\n{last}\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    source = write_clip(tmp_path / "a.mp4", static_clip(3))
    found = enhance_video(enhancer, source, tmp_path / "b.mp4")
    arguments = (tmp_path / "bin" / "arguments").read_text()
    assert f"-i {source}" in arguments
    assert "-map 1:a?" in arguments
    assert len(read_clip(tmp_path / "b.mp4")) == 3
    assert bool(found.notes) != works
    assert works or "no such codec" in found.notes[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "bin"]


def test_names_of_videos():
    assert is_video("a.MP4")
    assert not is_video("a.png")
    assert output_suffix(Path("a.MOV")) == ".MOV"
    assert output_suffix(Path("a.webm")) == ".mp4"
