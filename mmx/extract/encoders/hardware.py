"""Where and how the passes of torch encoders run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmx.devices import usable_device
from mmx.errors import one_of

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
MOST_LANES = 4  # of a CPU: each holds the activations of a batch
_streams = threading.local()  # a CUDA stream for each lane


@dataclass(frozen=True)
class Hardware:
    """Device and number format of the passes, and how a job divides the device."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, device: str, precision: str) -> Hardware:
        """Raises OptionError for a device that is not there or an unknown precision."""
        one_of("--precision", precision, PRECISIONS)
        return cls(usable_device(device), PRECISIONS[precision])

    def place(self, model: Any) -> Any:
        """The model for inference: weights cast and moved, no gradients, no dropout.

        float32 is float32 from then on: by default torch lets a GPU convolve in TF32, and a program
        may let it multiply so; its numbers have 10 bits after the point, and other precisions are
        measured against it.
        """
        model = model.to(self.device, self.dtype).eval().requires_grad_(False)
        if self._cuda:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
            model = model.to(memory_format=torch.channels_last)  # of convolutions
            self.wait()
        return model

    def wait(self) -> None:
        """Until all that was begun is done: lanes read it on streams of their own."""
        if self._cuda:
            torch.cuda.synchronize(self.device)

    def mark(self) -> torch.cuda.Event | None:
        """What is reached when all that was begun here is done; None where that is now.

        Other devices than CPUs and CUDA GPUs are waited for.
        """
        if self._cuda:
            event = torch.cuda.Event(blocking=True)  # the core is another process's meanwhile
            event.record(torch.cuda.current_stream(self.device))
            return event
        if self.device.type != "cpu":
            torch.get_device_module(self.device).synchronize()
        return None

    @property
    def _cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def fast_precision(self) -> str:
        """The lower precision that the device has products for, else float32.

        GPUs have those of bfloat16 from Ampere on, and before, from Volta on, of float16.
        """
        if self._cuda:
            generation = torch.cuda.get_device_capability(self.device)[0]
            return "bfloat16" if generation >= 8 else "float16" if generation == 7 else "float32"
        if self.device.type != "cpu":
            return "float32"
        native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return "bfloat16" if native else "float32"

    @property
    def lanes(self) -> int:
        """Passes that run at once: two on a GPU, on a CPU one for each of up to four threads."""
        return 2 if self._cuda else max(1, min(MOST_LANES, torch.get_num_threads()))

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Batch sizes worth a trial, the usual one first."""
        return (128, 256, 512, 64) if self._cuda else (32, 64, 16)

    @contextmanager
    def session(self) -> Iterator[int]:
        """Around a job: torch's threads are divided among the lanes, and given back.

        Yields the number of lanes, which torch's threads no longer show inside.
        """
        before, lanes = torch.get_num_threads(), self.lanes
        if self.device.type == "cpu":
            torch.set_num_threads(max(1, before // lanes))
        try:
            yield lanes
        finally:
            torch.set_num_threads(before)

    def lane(self) -> AbstractContextManager[Any]:
        """Around a pass: on a GPU its thread's own stream, so that copies and passes overlap."""
        if not self._cuda or threading.current_thread() is threading.main_thread():
            return nullcontext()
        if not hasattr(_streams, "stream"):
            _streams.stream = torch.cuda.Stream(self.device)
        return torch.cuda.stream(_streams.stream)

    def pixel_buffer(self, shape: tuple[int, ...]) -> np.ndarray:
        """uint8 memory for pixels; page-locked where a GPU reads it."""
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self._cuda).numpy()

    @contextmanager
    def page_locked(self, pixels: np.ndarray) -> Iterator[None]:
        """Around the use of memory that other processes decode into: locked for a GPU's copies.

        Where the driver refuses, copies go through other memory.
        """
        locked = self._cuda and _register(pixels)
        try:
            yield
        finally:
            if locked:
                torch.cuda.cudart().cudaHostUnregister(pixels.ctypes.data)


def _register(pixels: np.ndarray) -> bool:
    """Whether the driver has locked the memory."""
    try:
        return int(torch.cuda.cudart().cudaHostRegister(pixels.ctypes.data, pixels.nbytes, 0)) == 0
    except (RuntimeError, AssertionError, AttributeError):  # no driver that torch can use
        return False
