"""The encoder's passes: several batches at once if it can, smaller ones if memory is short."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from mmx.devices import give_back_memory
from mmx.errors import EncoderError, out_of_memory
from mmx.extract.encoder import Encoder, TextBatch, checked
from mmx.extract.stages.progress import Progress

T = TypeVar("T")


class Lanes:
    """Threads that run passes, as many as the encoder's ``lanes`` (a context manager).

    Two lanes of one thread each do more on two cores than one pass on both of them: no lane
    waits at the end of each matrix product for a core that decodes. On a GPU the copy of one
    batch runs beside the pass of another.
    """

    def __init__(self, count: int, state: Progress) -> None:
        self.count, self.state = count, state
        state.threads["encoding"] = count
        self._pool = ThreadPoolExecutor(count, "encode")
        self._running: deque[Future[None]] = deque()

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, run: Callable[[], None]) -> Future[None]:
        """Run it in a lane. Waits while one batch waits for each lane; raises a lane's error."""
        while len(self._running) > self.count:
            with self.state.waiting("encoding"):
                self._running.popleft().result()
        future = self._pool.submit(run)
        self._running.append(future)
        return future

    def drain(self) -> None:
        """Wait for all that is under way; raises a lane's error."""
        while self._running:
            with self.state.waiting("encoding"):
                self._running.popleft().result()


class Halving:
    """Runs a pass on as many rows as memory holds: halves the number when it does not."""

    def __init__(self) -> None:
        self.size: int | None = None  # rows at once; None: as many as there are

    def __call__(self, run: Callable[[slice], np.ndarray], rows: int) -> np.ndarray:
        """``run`` of slices of ``rows`` rows, joined. Raises EncoderError at one row."""
        while True:
            size = min(self.size or rows, rows)
            try:
                found = [run(slice(n, min(n + size, rows))) for n in range(0, rows, size)]
                return found[0] if len(found) == 1 else np.concatenate(found)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise EncoderError(
                        "out of memory with a single item; --precision bfloat16 or a smaller "
                        "--model needs less"
                    ) from error
            # Outside of the except clause: the error held the memory of the failed pass.
            self.size = min(self.size or rows, max(1, size // 2))
            give_back_memory()  # cuBLAS and cuDNN want memory that torch keeps


class Passes:
    """One encoder's passes, counted, checked and within memory. Called from its lanes."""

    def __init__(self, encoder: Encoder, state: Progress) -> None:
        self.encoder, self.state = encoder, state
        self.dimensions = encoder.card.dimensions
        self.fit = {modality: Halving() for modality in self.dimensions}

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """(B, s, s, 3) uint8 → (B, d)."""
        return self._run("image", lambda span: self.encoder.encode_image(pixels[span]), len(pixels))

    def text(self, texts: list[str], batch: TextBatch) -> np.ndarray:
        """B texts and what the tokenizer made of all of them → (B, d)."""

        def run(span: slice) -> np.ndarray:
            return self.encoder.encode_text(self._tokens(texts, batch, span))

        return self._run("text", run, len(texts))

    def fused(self, pixels: np.ndarray, texts: list[str], batch: TextBatch) -> np.ndarray:
        """B pictures and texts → (B, d)."""

        def run(span: slice) -> np.ndarray:
            return self.encoder.encode_fused(pixels[span], self._tokens(texts, batch, span))

        return self._run("fused", run, len(texts))

    def _tokens(self, texts: list[str], batch: TextBatch, span: slice) -> TextBatch:
        """Of some of the texts: made again, since only the encoder knows the form of its tokens."""
        whole = span.stop - span.start == len(texts)
        return batch if whole else self.encoder.tokenize(texts[span])

    def _run(self, modality: str, run: Callable[[slice], np.ndarray], rows: int) -> np.ndarray:
        items = rows if modality == next(iter(self.dimensions)) else 0  # an item counts once
        name = f"{self.encoder.card.name} ({modality})"
        with self.state.working("encoding", items):
            found = self.fit[modality](run, rows)
            return checked(found, rows, self.dimensions[modality], name)
