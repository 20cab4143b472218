"""The run directory of a fine-tuning: best weights, history, and where a killed run goes on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from mmx.cache.files import replacing, write_text
from mmx.errors import StoreError
from mmx.extract.finetune.trainable import Trainable, merged_state


@dataclass
class State:
    """Everything the next epoch depends on besides model and optimiser."""

    epoch: int = 0
    best_epoch: int = 0
    best: float = math.inf  # validation loss
    history: list[dict[str, float]] = field(default_factory=list)

    def judge(self) -> None:
        """Whether the last epoch is the best so far."""
        if self.history[-1]["valid_loss"] < self.best:
            self.best, self.best_epoch = self.history[-1]["valid_loss"], self.epoch


class Keeper:
    """Writes the run directory: best weights, history, and what a killed run needs."""

    def __init__(
        self,
        out: Path,
        config: dict[str, Any],
        trainable: Trainable,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
    ) -> None:
        self.out, self.config, self.trainable = out, config, trainable
        self.parts: dict[str, Any] = {"optimiser": optimiser, "schedule": schedule}
        self.generator = generator

    def load(self, state: State) -> None:
        """Go on from the checkpoint, if there is one of this very job."""
        path = self.out / "config.json"
        if not path.exists():
            write_text(path, json.dumps(self.config, indent=2))
            return
        if json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(self.config)):
            raise StoreError(f"{self.out} is of another run; set --out elsewhere, or --overwrite")
        saved_path = self.out / "checkpoint.pt"
        if not saved_path.exists():
            return
        saved = torch.load(saved_path, weights_only=True)
        self.trainable.model.load_state_dict(saved["model"])
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["torch"])
        for name in ("epoch", "best_epoch", "best", "history"):
            setattr(state, name, saved[name])

    def save(self, state: State) -> None:
        """After an epoch: the weights when they are the best so far, then the checkpoint."""
        if state.best_epoch == state.epoch:
            with replacing(self.out / "model.safetensors") as temporary:
                save_file(merged_state(self.trainable.model), temporary)
        saved = {name: part.state_dict() for name, part in self.parts.items()}
        saved |= {"model": self.trainable.model.state_dict(), "torch": torch.get_rng_state()}
        saved |= {"generator": self.generator.get_state(), **vars(state)}
        with replacing(self.out / "checkpoint.pt") as temporary:
            torch.save(saved, temporary)

    def finish(self, state: State) -> None:
        """Write history and metrics; the checkpoint is not needed any more."""
        with replacing(self.out / "history.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist(state.history), temporary)
        best = state.history[state.best_epoch - 1]
        metrics = {name.removeprefix("valid_"): v for name, v in best.items() if "valid_" in name}
        write_text(
            self.out / "metrics.json",
            json.dumps({"valid": metrics, "best_epoch": state.best_epoch}, indent=2),
        )
        (self.out / "checkpoint.pt").unlink(missing_ok=True)
