"""Calling the libraries' loaders: silently, quickly without a network, with one clear error.

Without a network the Hugging Face client retries each file for 45 seconds with growing
pauses. So the hub is contacted once before the first request, and if it does not answer the
client is put into its own offline mode, in which cached files still load.
"""

from __future__ import annotations

import http.client
import logging
import socket
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from mmx.errors import EncoderError, first_line

PATIENCE = 3.0  # seconds to wait for a server to accept a connection
_refused: list[tuple[str, list[str]]] = []  # why nothing may be fetched now

# What the loaders raise for files that are absent, foreign or unreachable. The clients' own
# errors (LocalEntryNotFoundError, RepositoryNotFoundError, URLError, timeouts) are OSErrors.
LOADING_ERRORS = (OSError, RuntimeError, ValueError, KeyError, http.client.HTTPException)


@contextmanager
def loading(what: str, fix: str, *, remote: bool = True) -> Iterator[None]:
    """Run a loader in the block; its errors become an EncoderError of one line.

    ``what`` names the thing that is loaded, ``fix`` the option that helps. ``remote`` is
    False where no hub is contacted.
    """
    with ExitStack() as stack:
        stack.enter_context(quiet())
        why = stack.enter_context(_hub()) if remote else None
        try:
            yield
        except LOADING_ERRORS as error:
            raise EncoderError(_line(what, why, error, fix)) from error


def _line(what: str, why: str | None, error: Exception, fix: str) -> str:
    if why is not None and any(isinstance(cause, OSError) for cause in _causes(error)):
        return f"{what} is not on this machine and {why}; {fix}"
    return f"{what} cannot be loaded ({first_line(error)}); {fix}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:  # open_clip wraps what the client raised in a RuntimeError
        yield error
        error = error.__cause__ or error.__context__


def repository(name: str) -> Path:
    """Where the client keeps a repository of the hub, whether it is there or not."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.strip('/').replace('/', '--')}"


def cached(url: str) -> Path:
    """Where torch.hub keeps what it fetched from a URL."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name


@contextmanager
def _hub() -> Iterator[str | None]:
    """Offline mode for the block where the hub does not answer; yields why, or None."""
    from huggingface_hub import constants

    if _refused:
        why, tried = _refused[-1]
        tried.append(why)
        yield why
    elif constants.HF_HUB_OFFLINE:
        yield "HF_HUB_OFFLINE is set"
    elif reachable(constants.ENDPOINT):
        yield None
    else:
        constants.HF_HUB_OFFLINE = True
        try:
            yield f"{urlsplit(constants.ENDPOINT).hostname} cannot be reached"
        finally:
            constants.HF_HUB_OFFLINE = False


@contextmanager
def without_fetching(why: str) -> Iterator[list[str]]:
    """In the block only what is on this machine is loaded, in all threads.

    Nothing is asked of a hub, and a URL that a library would fetch is an OSError with ``why``.
    Yields a list that has ``why`` once something was refused.
    """
    from huggingface_hub import constants

    tried: list[str] = []

    def refuse(*_: object, **__: object) -> None:
        tried.append(why)
        raise OSError(why)

    before, opening = constants.HF_HUB_OFFLINE, urllib.request.OpenerDirector.open
    constants.HF_HUB_OFFLINE = True
    urllib.request.OpenerDirector.open = refuse  # type: ignore[method-assign]
    _refused.append((why, tried))
    try:
        yield tried
    finally:
        _refused.pop()
        urllib.request.OpenerDirector.open = opening  # type: ignore[method-assign]
        constants.HF_HUB_OFFLINE = before


def reachable(url: str) -> bool:
    """Whether the server (or the proxy on the way to it) accepts a connection.

    Inside ``without_fetching`` it is not asked.
    """
    if _refused:
        _refused[-1][1].append(_refused[-1][0])
        return False
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}", scheme=parts.scheme)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), PATIENCE).close()
    except OSError:
        return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a library's warnings, log lines and progress bars off the terminal."""
    root, silent, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(silent)  # or logging.warning() would install a handler that prints
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), _no_bars():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        root.removeHandler(silent)


@contextmanager
def _no_bars() -> Iterator[None]:
    hub, models = (
        sys.modules.get(name) for name in ("huggingface_hub.utils", "transformers.utils.logging")
    )
    back = []
    if hub is not None and not hub.are_progress_bars_disabled():
        hub.disable_progress_bars()
        back.append(hub.enable_progress_bars)
    if models is not None and models.is_progress_bar_enabled():
        models.disable_progress_bar()
        back.append(models.enable_progress_bar)
    try:
        yield
    finally:
        for enable in back:
            enable()
