"""Several devices: one process each, started by ``torchrun``, all with the same weights.

Every process draws the same batches from the same seed, takes its share of each, and the
gradients are summed, so the result equals that of one process up to the order of a sum.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch

from mmx.devices import usable_device
from mmx.errors import OptionError
from mmx.mapped import in_blocks

T = TypeVar("T")
LONGEST = timedelta(days=7)  # the others wait while the first writes; NCCL's: 10 min


class Processes:
    """This process among those that train together; alone unless torchrun started several."""

    def __init__(self, device: str) -> None:
        """Joins the others where there are some, on CPU by gloo and on GPUs by NCCL."""
        self.rank, self.size, self.device = 0, 1, usable_device(device)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            _must_have_gpus(self.device)
            state = PartialState(cpu=self.device.type == "cpu", timeout=LONGEST)
            atexit.unregister(_leave)
            atexit.register(_leave)
            self.rank, self.size, self.device = (
                state.process_index,
                state.num_processes,
                state.device,
            )

    @property
    def is_main(self) -> bool:
        """Whether this one writes files and draws progress."""
        return self.rank == 0

    @property
    def part(self) -> slice:
        """Which rows are this process's: every ``size``-th."""
        return slice(self.rank, None, self.size)

    def share(
        self, *batch: torch.Tensor, whole: bool = False
    ) -> tuple[tuple[torch.Tensor, ...], float]:
        """This process's rows of (B,) tensors, and the weight of their loss in the sum.

        ``whole`` gives every process all rows: for losses that contrast them with each other.
        """
        if self.size == 1 or whole:
            return batch, 1.0 / self.size
        mine = tuple(part[self.rank :: self.size] for part in batch)
        return mine, len(mine[0]) / len(batch[0])

    def sum_gradients(self, parameters: Sequence[torch.Tensor]) -> None:
        """Add up the gradients of all processes, in place."""
        if self.size == 1:
            return
        from accelerate.utils import reduce

        for parameter in parameters:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = reduce(gradient, reduction="sum")

    def whole(self, part: torch.Tensor, length: int) -> torch.Tensor:
        """The (n, d) rows of this process's ``share`` → all (length, d) rows of the batch.

        Only this process's rows carry gradient.
        """
        if self.size == 1:
            return part
        from accelerate.utils import gather, pad_across_processes

        parts = gather(pad_across_processes(part.detach()))  # (size * longest, d)
        rows = parts.view(self.size, -1, part.shape[1]).transpose(0, 1)  # place = n * size + rank
        batch = rows.reshape(-1, part.shape[1])[:length].clone()
        batch[self.rank :: self.size] = part
        return batch

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each of some numbers, added up over all processes in float64."""
        if self.size == 1:
            return list(values)
        from accelerate.utils import reduce

        mine = torch.tensor(values, dtype=torch.float64, device=self.device)
        total: list[float] = reduce(mine, reduction="sum").tolist()
        return total

    def gathered(self, mine: np.ndarray, length: int) -> np.ndarray | None:
        """This process's ``part`` of (length,) float64 values → all of them, in their order.

        They come to the first process alone; the others get None.
        """
        if self.size == 1:
            return mine
        padded = np.zeros(-(-length // self.size))
        padded[: len(mine)] = mine
        parts = self.each(padded)
        return np.stack(parts, 1).flatten()[:length] if self.is_main else None

    def each(self, mine: np.ndarray) -> list[np.ndarray]:
        """The arrays of all processes, of one shape and type, in the order of the processes.

        They come to the first process alone; the others get none.
        """
        if self.size == 1:
            return [mine]
        from torch.distributed import gather

        sent = torch.from_numpy(mine).to(self.device)
        parts = [torch.empty_like(sent) for _ in range(self.size)] if self.is_main else None
        gather(sent, parts)
        return [part.cpu().numpy() for part in parts or []]

    def of_first(self, matrix: np.ndarray) -> np.ndarray:
        """Of a (rows, columns) matrix of each process the first one's, in all of them.

        The others' are overwritten, where they can be written.
        """
        if self.size == 1:
            return matrix
        from torch.distributed import broadcast

        if not (self.is_main or matrix.flags.writeable):
            matrix = matrix.copy()
        for rows in in_blocks(matrix):
            block = torch.tensor(np.ascontiguousarray(matrix[rows]), device=self.device)
            broadcast(block, 0)
            if not self.is_main:
                matrix[rows] = block.cpu().numpy()
        return matrix

    def agree(self, value: float) -> float:
        """The first process's value, so that all decide alike."""
        if self.size == 1:
            return value
        from accelerate.utils import broadcast

        return float(broadcast(torch.tensor(value, dtype=torch.float64, device=self.device)).item())

    @contextmanager
    def claim(self, claiming: AbstractContextManager[T]) -> Iterator[T]:
        """What the first process claims (``mmx.atomic.claimed``); the others get the same claim.

        ``claiming`` is entered in the first process alone.
        """
        if self.is_main:
            with claiming as claim:
                self._broadcast(claim)
                yield claim
        else:
            yield self._broadcast(None)

    def _broadcast(self, value: Any) -> Any:
        """The first process's value, of any kind."""
        if self.size == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


def _must_have_gpus(device: torch.device) -> None:
    """Raises OptionError where torchrun started more processes than this machine has GPUs."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.type == "cuda" and torch.cuda.device_count() < here:
        raise OptionError(
            f"--device {device}: {here} processes for {torch.cuda.device_count()} GPUs; start "
            "fewer, or use --device cpu"
        )


def _leave() -> None:
    """Stop the threads of collectives; one that outlives the interpreter aborts the process."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
