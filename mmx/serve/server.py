"""The process: it loads, listens, and ends when it is told to."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from mmx.errors import OptionError
from mmx.serve.app import make_app
from mmx.serve.connections import HEADERS, protocol
from mmx.serve.options import ServeOptions
from mmx.serve.service import Service
from mmx.serve.watch import Watcher, load_whole, settle

PATIENCE = 10  # s that requests have to end in when the server stops


class _Server(uvicorn.Server):
    """Ends on SIGTERM and SIGINT, and leaves with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Instead of uvicorn's own, which sends itself the signal again at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def serve(options: ServeOptions, log: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``log`` gets a line when it listens.

    Raises an MmxError where something is not there, or the port is taken.
    """
    with _listening(options) as listener:
        snapshot, served = load_whole(options, log)
        service = Service(options, snapshot)
        app = make_app(service, log)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=PATIENCE, ws="none", http=protocol(),
            h11_max_incomplete_event_size=HEADERS,
        )  # fmt: skip
        log(f"serving {service.snapshot.first.name} at {_address(options, listener)}")
        settle()
        with Watcher(service, served, log).watching():
            _Server(config).run(sockets=[listener])


@contextmanager
def _listening(options: ServeOptions) -> Iterator[socket.socket]:
    """The port, taken before anything is loaded. Raises OptionError."""
    host = options.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, options.port), family=family, backlog=1024)
    except OSError as error:
        raise OptionError(f"--host {options.host} --port {options.port}: {error.strerror or error};"
                          " give another one") from error  # fmt: skip
    with listener:
        yield listener


def _address(options: ServeOptions, listener: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host.strip("[]") else options.host
    return f"http://{host}:{listener.getsockname()[1]}"
