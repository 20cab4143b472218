"""What ``mmx serve`` is told: what to serve, where, and to whom."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmx.bounds import Bounds, check
from mmx.errors import OptionError
from mmx.files import Place

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")  # names of this machine
SHORTEST = 16  # characters of a token
PORT = Bounds(0, 65535, kind=int)


@dataclass(frozen=True)
class ServeOptions:
    """What to serve, where, and to whom."""

    runs: tuple[Path, ...]  # the first answers where a request names none
    stores: tuple[Place | str, ...] = ()  # none: those that the first run was trained with
    data: Place | str | None = None  # None: the dataset that the first run was trained on
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    token: str | None = None  # without it nobody but this machine is served
    allow_hosts: tuple[str, ...] = ()  # names by which it is reached, besides its own
    mcp: bool = False
    encoder: dict[str, Any] = field(default_factory=dict)  # model, weights, device, fetch

    def __post_init__(self) -> None:
        """Raises OptionError for what cannot be, or would let strangers in."""
        if not self.runs:
            raise OptionError("RUN is missing; give the folder of a run of `mmx train`")
        check("--port ", self.port, PORT)
        _check_token(self.token)
        if not is_loopback(self.host) and self.token is None:
            raise OptionError(f"--host {self.host} is reached from other machines; set --token or "
                              "MMX_TOKEN as well")  # fmt: skip
        for name in self.allow_hosts:
            if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", name):
                raise OptionError(f"--allow-host {name} is not the name of a host; give it without "
                                  "scheme and port, as shop.example")  # fmt: skip

    @property
    def hosts(self) -> frozenset[str]:
        """What a request may have as its Host, in small letters and without the port."""
        names = {name.lower() for name in self.allow_hosts}
        if is_loopback(self.host):
            return frozenset({*names, *LOOPBACK})
        own = self.host.strip("[]").lower()
        anywhere = own in ("0.0.0.0", "::", "")
        named = set() if anywhere else {f"[{own}]" if ":" in own else own}
        return frozenset({*names, *LOOPBACK, *named})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_token(token: str | None) -> None:
    if token is None:
        return
    if len(token) < SHORTEST:
        raise OptionError(f"--token has {len(token)} characters; {SHORTEST} at least are expected, "
                          "such as `openssl rand -hex 16` prints")  # fmt: skip
    if not re.fullmatch(r"[!-~]+", token):
        raise OptionError("--token has a blank or a character that HTTP headers do not carry; "
                          "letters, digits and signs of ASCII are expected")  # fmt: skip
