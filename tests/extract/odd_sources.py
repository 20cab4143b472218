"""Sources of pictures that end, stop or fail the process that reads; decoders import them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mmx.extract.sources.source import Source


class OddSource(Source):
    """Reads files of a folder, and does something else for pictures of one name."""

    anywhere = True

    def __init__(self, folder: Path, name: str, often: int = 10**6) -> None:
        """It happens ``often`` times at most, whichever process reads."""
        self.folder, self.name, self.often = folder, name, often

    def __call__(self, image: str, /) -> bytes:
        if Path(image).name == self.name and self._again():
            self.odd()
        return (self.folder / image).read_bytes()

    def _again(self) -> bool:
        times = len(list(self.folder.glob("time-*")))
        (self.folder / f"time-{times}").touch()
        return times < self.often

    def odd(self) -> None:
        """What happens."""


class Deadly(OddSource):
    """Kills the process."""

    def odd(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Stopping(OddSource):
    """Stops it."""

    def odd(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class Broken(OddSource):
    """Raises what is not of a picture."""

    def odd(self) -> None:
        raise RuntimeError(f"the disk of {self.name} is gone")
