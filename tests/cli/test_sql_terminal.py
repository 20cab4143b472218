"""``mmx sql`` without a query: the prompt in a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.sql.places import Places, make_places

HEAVY = "select sum(a * b) from range(1e6::int) x(a), range(1e6::int) y(b);"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|[\r\x07]")


class Terminal:
    """``mmx sql`` on a pseudo-terminal."""

    def __init__(self, places: Places) -> None:
        self.main, side = pty.openpty()
        home = places.root / "home"
        home.mkdir(exist_ok=True)
        environment = {**os.environ, "HOME": str(home), "TERM": "xterm", "PAGER": "sed s/^/PAGED:/",
                       "COLUMNS": "100", "LINES": "40", "INPUTRC": "/dev/null"}  # fmt: skip
        environment.pop("XDG_STATE_HOME", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mmx", "sql", "--data", "shop"], cwd=places.root,
            stdin=side, stdout=side, stderr=side, env=environment, start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509
        )  # fmt: skip
        os.close(side)

    def send(self, text: str) -> None:
        os.write(self.main, text.encode())

    def until(self, *expected: str, press: str = "") -> str:
        """What is shown until all of these were, in their order.

        ``press`` is sent now and, where that did nothing, again: Python's readline sees a Ctrl-C
        that comes while it shows another key at the next key only.
        """
        now = time.monotonic()
        shown, deadline, pressed = "", now + 120, now - 5
        while not _in_order(ESCAPES.sub("", shown), expected):
            now = time.monotonic()
            assert now < deadline, shown
            if press and now > pressed + 5:
                self.send(press)
                pressed = now
            if select.select([self.main], [], [], 1)[0]:
                try:
                    shown += os.read(self.main, 65536).decode(errors="replace")
                except OSError:  # its end
                    assert _in_order(ESCAPES.sub("", shown), expected), shown
                    break
        return ESCAPES.sub("", shown)

    def ask(self, text: str, *expected: str) -> str:
        self.send(f"{text}\n")
        return self.until(*expected, "mmx> ")

    def code(self) -> int:
        return self.process.wait(timeout=120)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.main)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _computes(process: subprocess.Popen[Any]) -> None:
    """Wait until it has taken a second of CPU from here on: the query runs, however busy we are."""

    def seconds() -> float:
        after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in after_name[11:13]) / os.sysconf("SC_CLK_TCK")

    start, deadline = seconds(), time.monotonic() + 120
    while seconds() < start + 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _in_order(shown: str, expected: tuple[str, ...]) -> bool:
    place = 0
    for text in expected:
        place = shown.find(text, place) + len(text)
        if place < len(text):
            return False
    return True


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.chdir(tmp_path)
    return make_places(tmp_path)


@pytest.fixture
def terminal(places: Places) -> Iterator[Terminal]:
    with closing(Terminal(places)) as terminal:
        yield terminal


@pytest.mark.slow
def test_a_session(places: Places, terminal: Terminal) -> None:
    terminal.until("mmx> ")
    terminal.ask(".help", "nearest(store, item, k)")
    terminal.ask(".tables", '"clip-mini"', "fake", "shop.items")
    terminal.ask(".nosuch", ".nosuch is unknown; known: .exit, .help, .tables")
    terminal.send("select item_id, ';' as x -- not; here\n")
    terminal.until("...> ")
    terminal.ask("from fake order by 1; select 7 as seven;", "│ a ", "│ c ", "seven", "7")
    terminal.ask("select text_tr\t from fak\t limit 1;", "select text_truncated from fake ", "no │")
    terminal.ask("select nope from fake;", "mmx: error: SQL: Binder Error")
    terminal.ask("copy fake to 'x.csv';", "COPY is not allowed")
    terminal.send("select 'forgotten")
    terminal.until("forgotten")
    terminal.until("mmx> ", press="\x03")
    terminal.send(f"{HEAVY}\n")
    _computes(terminal.process)
    terminal.until("mmx: error: interrupted", "mmx> ", press="\x03")
    assert "PAGED:" not in terminal.ask("from range(5);", "│")
    terminal.ask("from range(2000);", "PAGED:│", " 999 │", "1000 of 2000 rows")
    terminal.send("\x04")
    assert terminal.code() == 0
    history = places.root / "home/.local/state/mmx/sql_history"
    assert history.stat().st_mode & 0o777 == 0o600
    lines = history.read_text().splitlines()
    assert "select item_id, ';' as x from fake order by 1;" in lines
    assert lines[-1] == "from range(2000);"
    assert "forgotten" not in history.read_text()

    with closing(Terminal(places)) as again:
        again.until("mmx> ")
        again.ask("\x1b[A\x1b[A", " 4 │")
        again.send(f"{HEAVY}\n")
        _computes(again.process)
        again.process.send_signal(signal.SIGTERM)
        assert again.code() == 143


@pytest.mark.slow
def test_ctrl_c_stops_a_query_of_the_command_line(places: Places) -> None:
    (places.root / "cache/half.parquet").write_bytes(b"PAR1")
    process = subprocess.Popen(
        [sys.executable, "-m", "mmx", "sql", HEAVY],
        cwd=places.root,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert "is damaged" in process.stderr.readline()  # said when all else is open
    _computes(process)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].strip() == "mmx: error: interrupted"
    assert process.returncode == 130
