"""What `mmx doctor` says of the network and the disk: the model hub and the caches."""

from __future__ import annotations

import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mmx.errors import first_line
from mmx.files import user_cache

PATIENCE = 5.0  # seconds for an answer of the model hub
LITTLE = 5.0  # GiB of free space; the weights of one large encoder are 1.6
TRUE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads a switch

Row = tuple[str, str, str]  # check, found, to do


def hub() -> Row:
    """Whether the model hub answers; without a network, cached weights still load."""
    url = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    cached = f"cached weights still load, from {hub_cache()}"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE:
        return "model hub", "not contacted: HF_HUB_OFFLINE is set", cached
    answer = _within(PATIENCE, partial(_head, url))
    if answer.startswith("answers"):
        return "model hub", f"{url} {answer}", ""
    return "model hub", f"{url}: {answer}", f"{cached}; HF_HUB_OFFLINE=1 skips the request"


def _head(url: str) -> str:
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "mmx"})
        if request.type not in ("http", "https"):
            return f"no answer (HF_ENDPOINT is not http: {request.type})"
        urllib.request.build_opener(_Stay).open(request, timeout=PATIENCE).close()
    except urllib.error.HTTPError as error:
        return f"answers ({error.code})" if error.code < 500 else f"server error {error.code}"
    except Exception as error:  # a proxy, TLS, a name that is unknown, a URL that is none
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return f"no answer ({first_line(reason) if isinstance(reason, OSError) else reason})"
    return "answers"


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it is an answer."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _within(seconds: float, function: Callable[[], str]) -> str:
    """What a function returns in time: looking up a host name has no limit of its own."""
    answers: list[str] = []
    worker = threading.Thread(target=lambda: answers.append(function()), daemon=True)
    worker.start()
    worker.join(seconds + 1)
    return answers[0] if answers else f"no answer within {seconds:.0f} s"


def caches() -> Iterator[Row]:
    """Folders where downloads and unfinished work are kept, with the free space."""
    for title, folder, setting in (
        ("cache of mmx", user_cache, "XDG_CACHE_HOME"),
        ("cache of the hub", hub_cache, "HF_HUB_CACHE"),
        ("cache of torch", _torch_cache, "TORCH_HOME"),
    ):
        try:
            yield _cache(title, folder(), setting)
        except (OSError, RuntimeError) as error:  # a folder nobody may enter, a user without home
            yield title, first_line(error), f"set {setting} to a folder you can write to"


def _torch_cache() -> Path:
    home = Path(os.environ.get("TORCH_HOME") or _home_cache() / "torch")
    return home.expanduser() / "hub"


def hub_cache() -> Path:
    """Where huggingface_hub keeps weights, by its rules: the package may be what is broken."""
    home = Path(os.environ.get("HF_HOME") or _home_cache() / "huggingface")
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(named or home / "hub")).expanduser()


def _home_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _cache(title: str, folder: Path, setting: str) -> Row:
    there = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(there).free / 2**30
    found = f"{folder}{'' if there == folder else ' (not made yet)'}, {free:.1f} GiB free"
    if not os.access(there, os.W_OK):
        return title, f"{found}, not writable", f"set {setting} to a folder you can write to"
    return title, found, f"free the disk, or set {setting}" if free < LITTLE else ""
