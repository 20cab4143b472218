"""What stage 1 needs of a source of pictures."""

from __future__ import annotations

from collections.abc import Callable

from mmx.errors import OptionError
from mmx.kinds import must_be

READERS = 4  # threads, of a local disk
HOOKS = {"readers", "has_hosts", "per_host", "anywhere", "host", "identity", "share"}


class Source:
    """Where encoded pictures come from. A subclass defines ``__call__``, and what else it needs.

    Called from many threads. Where several processes encode, it is pickled.
    """

    readers: int = READERS  # threads that it can keep busy
    has_hosts: bool = False  # whether ``host`` may name one: pictures are read further ahead then
    per_host: int | None = None  # pictures of one host read at once; None: as many as readers
    anywhere: bool = False  # whether decoding processes may read as well, each with a copy of it

    def __call__(self, image: str, /) -> bytes:
        """The encoded picture for what the column ``image`` says.

        Raises ImageError with the reason that goes into the store; any other error ends the job.
        """
        raise NotImplementedError

    def host(self, image: str) -> str | None:
        """The host that a picture is fetched from; by default None, there is none."""
        return None

    def identity(self, image: str) -> bytes | None:
        """What is hashed in place of a picture that costs too much to read just for that.

        By default None: the picture's own bytes are.
        """
        return None

    def share(self, count: int) -> Source:
        """The source for each of ``count`` processes; by default the same one."""
        return self


class Function(Source):
    """A function as a source, with the defaults for all else."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self.read = read

    def __call__(self, image: str, /) -> bytes:
        """The encoded picture."""
        return self.read(image)


def as_source(source: Source | Callable[[str], bytes]) -> Source:
    """A Source as it is; a function from the column ``image`` to bytes as one.

    Raises OptionError for an object with attributes of a Source that is not one: they would be
    ignored.
    """
    if isinstance(source, Source):
        return source
    must_be("source", source, Callable)
    ignored = HOOKS & set(dir(source))
    if ignored:
        raise OptionError(
            f"the source has {min(ignored)} but is not a Source; make its class a subclass of "
            "mmx.extract.sources.source.Source"
        )
    return Function(source)
