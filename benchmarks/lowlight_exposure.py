"""How much of a true picture's exposure its dark one tells: the bound that exposure alone sets on PSNR without ground-truth mean.

Run: ``python benchmarks/lowlight_exposure.py ROOT`` (pairs, such as ../shared/data/lowlight/lol).

Prints, over the validation pictures of the default split: the PSNR of the *true* pictures themselves, each brought to the median level of
the training ones (what a perfect enhancer reaches that knows everything but exposure). And over all pairs: the share of the variance of
the true mean level that a ridge regression explains, on mean, spread and quantiles of the dark picture's logarithm, ten folds.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from photic.apps.lowlight.datasets import LowLightPairsConfig

QUANTILES = (0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99)


def main(root: str) -> None:
    splits = LowLightPairsConfig(root=root).prepare(0).splits
    whole = {phase: getattr(splits[phase], "samples", splits[phase]) for phase in ("train", "val")}
    pairs = {phase: [samples.sample(row) for row in range(len(samples))] for phase, samples in whole.items()}
    levels = {phase: np.array([float(pair["target"].mean()) for pair in found]) for phase, found in pairs.items()}
    common = float(np.median(levels["train"]))
    reached = []
    for pair, level in zip(pairs["val"], levels["val"], strict=True):
        true = pair["target"].numpy()
        reached.append(-10 * np.log10(max(1e-10, float(np.mean((np.clip(true * common / level, 0, 1) - true) ** 2)))))
    print(f"true pictures at the median training level {common:.3f}: PSNR {np.mean(reached):.2f} dB (median {np.median(reached):.2f})")
    facts = []
    for pair in [*pairs["train"], *pairs["val"]]:
        logs = np.log(pair["overview"].numpy() + 2 / 255)
        facts.append([*logs.mean(axis=(1, 2)), *logs.std(axis=(1, 2)), *np.quantile(logs.mean(axis=0), QUANTILES)])
    wanted = np.concatenate([levels["train"], levels["val"]])
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-1, 4, 20)))
    told = cross_val_predict(model, np.array(facts), wanted, cv=KFold(10, shuffle=True, random_state=0))
    share = 1 - np.sum((told - wanted) ** 2) / np.sum((wanted - wanted.mean()) ** 2)
    print(f"share of the variance of the true level that the dark picture's levels explain: {share:.2f} ({len(wanted)} pairs)")


if __name__ == "__main__":
    main(sys.argv[1])
