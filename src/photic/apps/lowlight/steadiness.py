"""Keeping a video steady: decisions smoothed over time, cuts found, brightness that wavers no more than the input's.

**What is measured.** The luma of each frame is averaged over the frame; :func:`luminance_variation` is the standard deviation of the
differences of successive frames, divided by the mean of all frames, since a picture five times as bright may differ by five times as
many levels and flickers no more. On a static scene what is left is the sensor's noise, and nothing but flicker could add to it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.core.errors import ConfigError, DataError

_GLANCE = 4
"""Pixels of an overview averaged along each side before frames are compared, so that noise does not look like a cut."""
_CUT = 0.25
"""Change between two frames, relative to their level, from which it can be a cut."""
_SUDDEN = 4.0
"""How many times the usual change of the frames before it must be."""
_REMEMBERED = 12
_MOST_GAIN = math.log(1.15)
_LEAST_REACH = 0.01


def luminance_variation(means: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the frame-to-frame variation of brightness: standard deviation of successive differences over the mean level.

    Args:
        means: mean luma of each frame, in any unit.

    Raises:
        DataError: fewer than three frames, or none that is not black.

    >>> luminance_variation([10.0, 10.0, 10.0])
    0.0
    >>> round(luminance_variation([1.0, 1.1, 1.0, 1.1]), 4), round(luminance_variation([5.0, 5.5, 5.0, 5.5]), 4)
    (0.0898, 0.0898)
    """
    values = np.asarray(means, dtype=np.float64)
    if values.ndim != 1 or len(values) < 3 or not values.mean() > 0:
        raise DataError(f"luminance variation: expected at least three frames that are not all black, got {len(values)}")
    return float(np.std(np.diff(values)) / values.mean())


class SmoothedDecision:
    """Decisions ``(1, K)`` averaged over time, exponentially; over all frames so far while there are few.

    Args:
        time_constant_s: seconds after which a lasting change has arrived by 63 percent; 0 smooths nothing.
        fps: frames per second.
    """

    def __init__(self, time_constant_s: float, fps: float) -> None:
        if not 0 <= time_constant_s <= 3600 or not 0 < fps < float("inf"):
            raise ConfigError(f"smooth: expected 0 to 3600 seconds and a frame rate above 0, got {time_constant_s} s and {fps} per second")
        self._share = 1.0 if time_constant_s == 0 else -math.expm1(-1 / (fps * time_constant_s))
        self.reset()

    def reset(self) -> None:
        """Forget what was before: a new scene begins."""
        self._state: Tensor | None = None
        self._count = 0

    def next(self, decision: Tensor) -> Tensor:
        """Return the smoothed decision for the next frame."""
        self._count += 1
        share = max(self._share, 1 / self._count)
        self._state = decision if self._state is None else self._state + share * (decision - self._state)
        return self._state


class CutDetector:
    """Finds the frames at which a new scene begins, from overviews ``(1, 3, s, s)``."""

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._usual: deque[float] = deque(maxlen=_REMEMBERED)

    def is_cut(self, small: Tensor) -> bool:
        """Say whether a new scene begins with this frame; the first frame is none."""
        glance = torch.nn.functional.avg_pool2d(small.float(), min(_GLANCE, small.shape[-1]))
        before, self._last = self._last, glance
        if before is None:
            return False
        change = float((glance - before).abs().mean() / ((glance + before).mean() / 2).clamp_min(1 / 255))
        usual = float(np.median(self._usual)) if self._usual else 0.0
        if change > _CUT and change > _SUDDEN * usual:
            self._usual.clear()
            return True
        self._usual.append(change)
        return False


class SteadyBrightness:
    """Gains that keep the brightness of a network's frames from wavering more than that of the frames they were made of.

    How far a frame's mean luma (its logarithm) lies from its running mean is compared before and after the network. Where the network's
    frame lies further away, or to the other side, a gain brings it back to where the input lies, or to the mean. Real changes of the
    light show in the input, too, so they pass; no gain is stronger than 15 percent.

    Args:
        time_constant_s: of the running means.
        fps: frames per second.
    """

    def __init__(self, time_constant_s: float, fps: float) -> None:
        self._before, self._after = SmoothedDecision(time_constant_s, fps), SmoothedDecision(time_constant_s, fps)
        self.reset()

    def reset(self) -> None:
        """Forget what was before."""
        self._before.reset()
        self._after.reset()
        self._usual: float | None = None

    def gain(self, before: float, after: float) -> float:
        """Return the factor for the network's frame.

        Args:
            before: mean luma of the input frame.
            after: mean luma of what the network made of it.
        """
        if before <= 0 or after <= 0:
            return 1.0
        own, level = math.log(before), math.log(after)
        allowed = own - _next(self._before, own)
        # A single frame far off does not move the mean by much, or flicker would come in through it.
        reach = max(2 * abs(allowed), _LEAST_REACH)
        usual = level if self._usual is None else self._usual
        self._usual = _next(self._after, min(max(level, usual - reach), usual + reach))
        away = level - self._usual
        wanted = min(max(away, min(allowed, 0.0)), max(allowed, 0.0))
        return math.exp(min(max(wanted - away, -_MOST_GAIN), _MOST_GAIN))


def _next(smooth: SmoothedDecision, value: float) -> float:
    return float(smooth.next(torch.tensor([[value]], dtype=torch.float64)))
