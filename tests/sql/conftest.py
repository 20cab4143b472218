"""Files that SQL must leave as they are, and a server that it must not call."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import duckdb
import pytest

from mmx.sql import Sql
from tests.sql.places import Places, make_places


@dataclass
class Trap:
    """The files, and a server that notes who calls."""

    places: Places
    port: int
    calls: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.places.root

    def filled(self, statement: str) -> str:
        root, store = self.root.as_posix(), (self.root / "cache/fake.parquet").as_posix()
        for letter, value in (("W", f"{root}/work.csv"), ("S", store), ("R/", f"{root}/")):
            statement = statement.replace(f"'{letter}", f"'{value}")
        statement = statement.replace("'file://R/", f"'file://{root}/")
        return statement.replace("'R'", f"'{root}'").replace(":P/", f":{self.port}/")

    def state(self) -> dict[str, str]:
        """SHA-256 of every file, folders too."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in sorted(self.root.parent.rglob("*"))
        }


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    places = make_places(tmp_path_factory.mktemp("trap") / "work")
    (places.root.parent / "temporary").mkdir()
    (places.root.parent / "parents.csv").write_text("a\n1\n")
    (places.root / "work.csv").write_text("a,b\n1,secret\n")
    places.store("more").rename(places.root / "unattached.parquet")
    with duckdb.connect(places.root / "data.duckdb") as made:
        made.execute("create table t as select 1 as a")
    (places.root / "data.db").write_bytes((places.root / "data.duckdb").read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        trap = Trap(places, server.getsockname()[1])
        Thread(target=_listen, args=(server, trap.calls), daemon=True).start()
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            patch.setenv(name, f"http://127.0.0.1:{trap.port}")  # for all that would go out
        patch.setattr("tempfile.tempdir", str(places.root.parent / "temporary"))
        patch.chdir(places.root)
        yield trap


def _listen(server: socket.socket, calls: list[str]) -> None:
    while True:
        try:
            connection, address = server.accept()
        except OSError:
            return
        calls.append(str(address))
        connection.close()


@pytest.fixture(scope="module", params=["local", "served"])
def opened(trap: Trap, request: pytest.FixtureRequest) -> Iterator[Sql]:
    with trap.places.open(level=request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(trap: Trap) -> Iterator[Sql]:
    with trap.places.open(level="served") as served:
        yield served


@pytest.fixture(scope="module")
def local(trap: Trap) -> Iterator[Sql]:
    with trap.places.open() as local:
        yield local
