"""Complex fields and diffraction patterns as small colour pictures, for a look while training goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GAP_PX = 2
WHOLE_CIRCLE_RAD = 2.5
"""Phases that reach so far are shown in cyclic colours."""


def complex_panels(fields: np.ndarray, patterns: Sequence[np.ndarray]) -> np.ndarray:
    """Return a picture with a column for each field: amplitude, phase, and below them its patterns.

    Args:
        fields: complex ``(K, N, N)``. Amplitudes share one scale, from 0 to their largest. Phases share one, too, symmetric around 0,
            which nearly all of them lie in; where they come near pi it is the whole circle, in colours that close.
        patterns: real ``(K, N, N)`` each, for example modelled and measured amplitudes; all share one scale, as square roots.

    Returns:
        ``(rows, columns, 3)`` uint8.

    Example:
        >>> import numpy as np
        >>> complex_panels(np.ones((2, 8, 8), complex), [np.ones((2, 8, 8))]).shape
        (28, 18, 3)
    """
    from matplotlib import colormaps

    amplitude = np.abs(fields)
    brightest = max([float(part.max()) for part in patterns] + [np.finfo(np.float32).tiny])
    phase = np.angle(fields)
    reach = float(np.quantile(np.abs(phase), 0.99))
    circle = reach > WHOLE_CIRCLE_RAD
    reach = np.pi if circle else max(reach, 1e-6)
    rows = [
        colormaps["gray"](amplitude / max(float(amplitude.max()), np.finfo(np.float32).tiny)),
        colormaps["twilight" if circle else "viridis"](np.clip(phase / (2 * reach) + 0.5, 0, 1)),
        *(colormaps["inferno"](np.sqrt(np.clip(part, 0, None) / brightest)) for part in patterns),
    ]
    lines = [_joined([(panel[..., :3] * 255).round().astype(np.uint8) for panel in row], axis=1) for row in rows]
    return _joined(lines, axis=0)


def _joined(panels: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Put pictures beside or below each other with white gaps."""
    height, width = panels[0].shape[:2]
    gap = np.full((height, GAP_PX, 3) if axis == 1 else (GAP_PX, width, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)][1:]
    return np.concatenate(parts, axis=axis)
