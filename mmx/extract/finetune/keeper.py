"""What a fine-tuning keeps: a checkpoint to resume from, and in the end the run directory.

.NAME.HASH.unfinished/  beside the run, named after the job, so that no other resumes from it
  best.safetensors      weights of the best epoch so far
  checkpoint.pt         what the next epoch depends on
NAME/                   config.json, metrics.json, history.parquet, model.safetensors
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mmx.atomic import Claim, Kind, file_sha256, forget_unfinished, replacing, sweep, unfinished
from mmx.errors import RunError
from mmx.extract.finetune.trainable import Trainable, merged_state
from mmx.torch_files import load_checked, save_checked, save_tensors

FILES = {"config.json", "metrics.json", "history.parquet", "model.safetensors"}


def _is_tuned(path: Path) -> bool:
    """Whether a folder holds a fine-tuned encoder only, even a damaged one."""
    if not path.is_dir():
        return False
    there = {inner.name for inner in path.iterdir()}
    return {"metrics.json", "history.parquet"} <= there <= FILES


TUNED = Kind("a run of `mmx finetune`", _is_tuned)


@dataclass
class State:
    """Everything the next epoch depends on besides model and optimiser."""

    epoch: int = 0
    best_epoch: int = 0
    best: float = math.inf  # validation loss
    history: list[dict[str, float]] = field(default_factory=list)
    best_sha256: str = ""  # of best.safetensors

    def judge(self) -> None:
        """Record the last epoch if it is the best so far."""
        if self.history[-1]["valid_loss"] < self.best:
            self.best, self.best_epoch = self.history[-1]["valid_loss"], self.epoch


class Keeper:
    """Keeps the state of one job after each epoch, and writes its run at the end."""

    def __init__(
        self,
        out: Path,
        config: dict[str, Any],
        trainable: Trainable,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
    ) -> None:
        self.config, self.trainable = config, trainable
        self.parts: dict[str, Any] = {"optimiser": optimiser, "schedule": schedule}
        self.generator = generator
        job = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        self.folder = unfinished(out, job, "unfinished")

    def load(self, state: State) -> None:
        """Resume from the checkpoint of this very job, if there is one.

        Raises RunError when it is damaged.
        """
        path = self.folder / "checkpoint.pt"
        for name in ("checkpoint.pt", "best.safetensors"):
            sweep(self.folder / name)
        if not path.exists():
            return
        try:
            self._restore(load_checked(path), state)
        except Exception as error:  # torch raises nearly anything on a damaged file
            raise self._damaged(path) from error

    def _restore(self, saved: dict[str, Any], state: State) -> None:
        self.trainable.model.load_state_dict(saved["model"])
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["torch"])
        if saved.get("cuda") is not None and self._device.type == "cuda":
            torch.cuda.set_rng_state(saved["cuda"], self._device)
        for name in ("epoch", "best_epoch", "best", "history", "best_sha256"):
            setattr(state, name, saved[name])

    @property
    def _device(self) -> torch.device:
        return self.trainable.hardware.device

    def _damaged(self, path: Path) -> RunError:
        return RunError(f"{path} is damaged; delete the folder {self.folder} to start over")

    def save(self, state: State) -> None:
        """After an epoch: the weights when they are the best so far, then the checkpoint."""
        if state.best_epoch == state.epoch:
            with replacing(self.folder / "best.safetensors") as temporary:
                save_tensors(merged_state(self.trainable.model), temporary)
                state.best_sha256 = file_sha256(temporary)
        saved = {name: part.state_dict() for name, part in self.parts.items()}
        saved |= {"model": self.trainable.model.state_dict(), "torch": torch.get_rng_state()}
        saved |= {"generator": self.generator.get_state(), **vars(state)}
        if self._device.type == "cuda":  # dropout draws there
            saved["cuda"] = torch.cuda.get_rng_state(self._device)
        with replacing(self.folder / "checkpoint.pt") as temporary:
            save_checked(saved, temporary)

    def finish(self, target: Claim, state: State) -> None:
        """Write the run; what was kept until then, of this job or another, is deleted."""
        best = state.history[state.best_epoch - 1]
        metrics = {name.removeprefix("valid_"): v for name, v in best.items() if "valid_" in name}
        weights = self.folder / "best.safetensors"
        if not weights.is_file() or file_sha256(weights) != state.best_sha256:
            raise self._damaged(weights)
        with target.filled(folder=True) as run:
            _write_json(run / "config.json", self.config)
            _write_json(run / "metrics.json", {"valid": metrics, "best_epoch": state.best_epoch})
            pq.write_table(pa.Table.from_pylist(state.history), run / "history.parquet")
            shutil.copyfile(weights, run / "model.safetensors")
        forget_unfinished(target.path, "unfinished")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
