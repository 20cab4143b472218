"""How pictures are fetched from the web."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmx.bounds import check, check_options, number, whole
from mmx.kinds import must_be_switches

MOST = 1024  # connections
LARGEST = 512  # MiB of a picture, wherever it comes from: as many as its pixels may have


@dataclass(frozen=True)
class Web:
    """Limits of fetching; the defaults are polite."""

    connections: int = 32  # at once, to all hosts
    per_host: int = 4  # at once, to one host
    attempts: int = 4  # requests for one picture, the first included
    pause: float = 0.5  # s before the second attempt; doubles each time, then times 0.5 to 1
    longest_pause: float = 60.0  # s; a longer Retry-After is not waited for
    connect_timeout: float = 10.0  # s
    read_timeout: float = 20.0  # s without a byte
    deadline: float = 60.0  # s for one picture in all, without pauses that a host requested
    strikes: int = 8  # attempts in a row without an answer, after which a host is given up
    giving_up: float = 600.0  # s until a host that was given up is tried again
    max_bytes: int = 20 << 20  # of one picture
    max_redirects: int = 5
    allow_private: bool = False  # addresses of this machine and its networks

    def __post_init__(self) -> None:
        must_be_switches(self, "allow_private")
        check_options(self, connections=whole(1, MOST), per_host=whole(1, MOST))
        for name in ("attempts", "strikes"):
            check(f"{name} ", getattr(self, name), whole(1))
        check("max_redirects ", self.max_redirects, whole(0))
        check("max_bytes ", self.max_bytes, whole(1, LARGEST << 20))
        for name in ("pause", "longest_pause", "giving_up"):
            check(f"{name} ", getattr(self, name), number(0))
        for name in ("connect_timeout", "read_timeout", "deadline"):
            check(f"{name} ", getattr(self, name), number(0, above=True))

    def share(self, count: int) -> Web:
        """Limits of one of ``count`` processes; each may send a host one request at a time."""
        return replace(self, per_host=max(1, self.per_host // count))
