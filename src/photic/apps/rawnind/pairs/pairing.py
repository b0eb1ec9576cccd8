"""Which raw pictures belong together: scenes, the anchor of each, and why others cannot be paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from photic.apps.rawnind.pairs.index import Rejected
from photic.apps.rawnind.pairs.layouts import Found, FoundPicture
from photic.apps.rawnind.pairs.pictures import PictureFacts
from photic.data.near_duplicates import COLUMNS, ROWS

_MOST_CELLS = 4  # of a signature, 32 x 64 of them, by which pictures of one scene may be shifted
_SAME_SCENE = 0.65
MOST_CLIPPED_ANCHOR = 0.05
"""Share of over-exposed values up to which a picture may be the anchor, if its scene has others."""


@dataclass(frozen=True)
class PlannedPair:
    """A pair that is to be prepared."""

    name: str
    """What it is called: its scene and the noisy picture's name without the ending."""
    scene: str
    anchor: FoundPicture
    other: FoundPicture


@dataclass(frozen=True)
class Plan:
    """Pairs to prepare, and what cannot be paired."""

    pairs: tuple[PlannedPair, ...]
    rejected: tuple[Rejected, ...]


def plan_pairs(found: Found, facts: Mapping[str, PictureFacts]) -> Plan:
    """Form the pairs of a folder.

    Pictures of a scene are paired with its anchor: of its clean pictures, where it is known which these are, or else of all, the one that
    the most photons made (exposure time over squared aperture; the lowest ISO value and then the highest level where that is not known),
    among those that are hardly clipped. In a flat folder, pictures of one scene are found by what they show.

    Args:
        found: the pictures.
        facts: of each of them, by name.
    """
    rejected = [_rejected(picture, None, facts[picture.name]) for picture in found.pictures if facts[picture.name].problem]
    usable = [picture for picture in found.pictures if not facts[picture.name].problem]
    pairs: dict[str, PlannedPair] = {}
    for scene, members in _scenes(usable, facts).items():
        anchor = choose_anchor(members, facts)
        others = [picture for picture in members if picture is not anchor]
        if not others:
            reason = f"the only usable picture of scene '{scene}'; a pair needs another one of the same scene, camera and size"
            rejected.append(Rejected(anchor.name, None, scene, "alone", reason))
        for other in others:
            reason = _different(facts[anchor.name], facts[other.name])
            if reason:
                rejected.append(Rejected(other.name, anchor.name, scene, "different cameras", reason))
            else:
                name = f"{scene}/{PurePosixPath(other.name).stem}"
                while name in pairs:  # files of one name in several folders, or with several endings
                    name += "_"
                pairs[name] = PlannedPair(name, scene, anchor, other)
    rejected.sort(key=lambda one: (one.noisy_path, one.gt_path or ""))
    return Plan(tuple(pair for _, pair in sorted(pairs.items())), tuple(rejected))


def choose_anchor(members: Sequence[FoundPicture], facts: Mapping[str, PictureFacts]) -> FoundPicture:
    """Return the picture of a scene that the others are compared with, see :func:`plan_pairs`."""
    candidates = [picture for picture in members if picture.role == "gt"] or list(members)
    clean = [picture for picture in candidates if facts[picture.name].over_share <= MOST_CLIPPED_ANCHOR]
    if not clean:
        return min(candidates, key=lambda picture: (facts[picture.name].over_share, picture.name))
    known = [facts[picture.name].photons for picture in clean]
    if all(photons is not None for photons in known):
        return min(clean, key=lambda picture: (-(facts[picture.name].photons or 0.0), facts[picture.name].over_share, picture.name))
    return min(clean, key=lambda picture: (facts[picture.name].iso or np.inf, -facts[picture.name].level, picture.name))


def same_scene(signatures: NDArray[np.float32]) -> list[int]:
    """Return the group of each signature ``(N, 2048)``: linked by pairs that correlate as pictures of one scene do.

    Shifts by up to four cells (a sixteenth of the width) are tried in steps of half a cell, since hands shake. Measured: two exposures of
    the bracket correlate to 0.82 at least, however one is shifted, the heavily clipped third one to 0.83; of 95 photographs
    (LOL), two of different scenes to 0.49 at most. 0.65 is what links.
    """
    sides = (ROWS + 2 * _MOST_CELLS, COLUMNS + 2 * _MOST_CELLS)
    spectra = rfft2(signatures.reshape(-1, ROWS, COLUMNS), s=sides)
    near = np.arange(-2 * _MOST_CELLS, 2 * _MOST_CELLS + 1)
    rows, columns = sides[0] // 2, sides[1] // 2
    groups = list(range(len(signatures)))
    for row in range(len(signatures) - 1):
        product = spectra[row] * np.conj(spectra[row + 1 :])
        finer = np.zeros((len(product), 2 * sides[0], sides[1] + 1), dtype=product.dtype)  # interpolates to half cells
        finer[:, :rows, :columns], finer[:, -rows:, :columns] = product[:, :rows, :columns], product[:, rows:, :columns]
        correlation = 4 * irfft2(finer, s=(2 * sides[0], 2 * sides[1]))[:, near[:, None], near[None, :]]
        for other in row + 1 + np.flatnonzero(correlation.max(axis=(1, 2)) >= _SAME_SCENE):
            first, second = sorted((groups[row], groups[int(other)]))
            groups = [first if group == second else group for group in groups] if first != second else groups
    return groups


def _scenes(pictures: Sequence[FoundPicture], facts: Mapping[str, PictureFacts]) -> dict[str, list[FoundPicture]]:
    """Return the pictures of each scene, those without a scene grouped by what they show."""
    scenes: dict[str, list[FoundPicture]] = {}
    unnamed = []
    for picture in pictures:
        if picture.scene is None:
            unnamed.append(picture)
        else:
            scenes.setdefault(picture.scene, []).append(picture)
    if unnamed:
        signatures = np.array([facts[picture.name].signature for picture in unnamed], dtype=np.float32)
        groups: dict[int, list[FoundPicture]] = {}
        for picture, group in zip(unnamed, same_scene(signatures), strict=True):
            groups.setdefault(group, []).append(picture)
        for members in groups.values():
            name = PurePosixPath(choose_anchor(members, facts).name).stem
            while name in scenes:
                name += "_"
            scenes[name] = members
    return scenes


def _different(anchor: PictureFacts, other: PictureFacts) -> str:
    """Return why two pictures cannot be compared value by value; empty if they can."""
    checks = (
        ("camera", anchor.camera or "unknown", other.camera or "unknown"),
        ("colour filter array", anchor.pattern, other.pattern),
        ("size in packed pixels", " x ".join(map(str, anchor.size)), " x ".join(map(str, other.size))),
    )
    wrong = [f"{what} {theirs}, its anchor {PurePosixPath(anchor.name).name} {ours}" for what, ours, theirs in checks if ours != theirs]
    return f"has {'; '.join(wrong)}; a pair needs the same" if wrong else ""


def _rejected(picture: FoundPicture, anchor: FoundPicture | None, facts: PictureFacts) -> Rejected:
    measured = {"over_share": facts.over_share, "black_share": facts.black_share} if facts.problem_kind == "exposure" else {}
    return Rejected(picture.name, None if anchor is None else anchor.name, picture.scene, facts.problem_kind, facts.problem, measured)
