"""The three-stage schedule through real runs: what stands still, what learns at which rate, and nothing of it forgotten by a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import photic
from photic.engine.module import EngineModule

DRIVER = Path(__file__).with_name("resume_driver.py")
# 12 training pictures in batches of 3: 4 steps an epoch, 12 epochs: stages begin at steps 5, 36 and end at 48.
PER_EPOCH, STEPS, STAGES, UNFREEZES = 4, 48, (0, 5, 36), 5 + 3 * 4
SETTINGS: dict[str, Any] = {
    "data": {
        "name": "lowlight_generated", "num_samples": 16, "size_px": 48, "crop_px": 32, "batch_size": 3,
        "val_fraction": 0.125, "test_fraction": 0.125,
    },
    "task.metrics": ["psnr", "saturation"],
    "model.backbone": "test_efficientnet", "model.pretrained": False, "model.semantic_dim": 8,
    "model.curve_width": 4, "model.mask_width": 4, "model.distraction_width": 2,
    "loss.terms.ssim": {"name": "ssim_loss"},
    "loss.terms.perceptual": {"name": "perceptual", "backbone": "test_efficientnet", "layers": [0, 1], "pretrained": False},
    "optimizer.lr": 1e-4,
    "task.part_lr_factors": {"other": 0.2},
    "schedule": {"name": "three_stages", "ramp_epochs": 4, "mix_epochs": [2, 1], "unfreeze_epochs": 3, "unfrozen_lr": 2e-5},
    "training.num_epochs": 12, "training.log_every_steps": 1, "training.checkpoint_every_steps": 1,
    "training.preview_every_validations": None, "trainer.num_threads": 1, "trainer.accelerator": "cpu",
}  # fmt: skip


def logged(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "train/loss" in line]


def expected_mask_rate(step: int) -> float:
    if step < STAGES[1]:
        return 1e-4
    if step < UNFREEZES:
        return 0.0
    return 2e-5 if step < STAGES[2] else 2e-5 * 0.2


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, torch.Tensor]]]:
    """A whole run, and the mask predictor's weights after each step."""
    seen: list[dict[str, torch.Tensor]] = []
    step = EngineModule.optimizer_step

    def watched(self: EngineModule, *arguments: Any) -> None:
        step(self, *arguments)
        seen.append(
            {name: p.detach().clone() for name, p in self.task.named_parameters() if self.task.network.part_of(inner(name)) == "mask"}
        )

    def inner(name: str) -> str:
        return name.removeprefix("graph.network.")

    EngineModule.optimizer_step = watched
    try:
        settings = {**SETTINGS, "training.checkpoint_every_steps": None, "output_dir": str(tmp_path_factory.mktemp("stages"))}
        config = photic.recipe("remdinet_small", settings)
        run = photic.train(config, quiet=True, page=False).run
    finally:
        EngineModule.optimizer_step = step
    return run, seen


def test_the_mask_learns_at_exactly_2e_5_from_its_one_unfreezing_to_the_third_stage(observed: Any) -> None:
    lines = logged(observed[0])
    assert len(lines) == STEPS
    assert [line["lr/mask"] for line in lines] == pytest.approx([expected_mask_rate(step) for step in range(STEPS)], abs=1e-12)
    between = [line["lr/mask"] for line in lines[UNFREEZES : STAGES[2]]]
    assert set(between) == {2e-5}


def test_other_parts_keep_their_rates_until_the_third_stage(observed: Any) -> None:
    lines = logged(observed[0])
    assert {line["lr/curve"] for line in lines[STAGES[1] : STAGES[2]]} == {1e-4}
    assert {round(line["lr/other"], 12) for line in lines[STAGES[1] : STAGES[2]]} == {2e-5}
    assert lines[-1]["lr/curve"] == pytest.approx(2e-5)


def test_frozen_weights_do_not_move_at_all_and_move_again_afterwards(observed: Any) -> None:
    _, seen = observed
    assert seen[0]
    for step in range(1, STEPS):
        moved = any(not torch.equal(seen[step][name], seen[step - 1][name]) for name in seen[step])
        assert moved == (expected_mask_rate(step) > 0), step


def test_terms_appear_when_their_stage_has_a_weight_for_them(observed: Any) -> None:
    lines = logged(observed[0])
    assert all({"train/reconstruction", "train/ssim"} <= set(line) for line in lines)
    assert not any("train/edge" in line for line in lines[: STAGES[1]])
    assert all("train/edge" in line for line in lines[STAGES[1] + 1 :])
    assert not any("train/perceptual" in line for line in lines[: STAGES[2]])
    assert all(line["train/perceptual"] > 0 for line in lines[STAGES[2] + 1 :])


def test_the_true_pictures_count_in_every_step(observed: Any) -> None:
    for line in logged(observed[0]):
        assert line["train/reconstruction"] > 0
        assert line["train/ssim"] > 0


def test_killed_in_every_stage_and_resumed_the_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    order = {
        "folder": str(tmp_path),
        "recipe": "remdinet_small",
        "overrides": SETTINGS,
        # in the frozen stretch, right at and after the unfreezing, at the third stage's beginning, one after another
        "kills": [["batch:3", "batch:9", f"batch:{UNFREEZES}", f"batch:{UNFREEZES + 1}", "write:3", f"batch:{STAGES[2]}", "batch:44"]],
    }
    done = subprocess.run([sys.executable, DRIVER], input=json.dumps(order), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == []
    (killed,) = tmp_path.glob("killed-0/*/*/metrics.jsonl")
    rates = {line["step"]: line["lr/mask"] for line in logged(killed.parent)}
    assert [rates[step] for step in range(1, STEPS + 1)] == pytest.approx([expected_mask_rate(step) for step in range(STEPS)], abs=1e-12)
