"""A browser, a server and the helpers of the tests; without the browser they are skipped."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.world import Server, write_world

ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("MMX_AXE", ROOT / "node_modules")) / "axe-core" / "axe.min.js"
PATIENCE = 20_000  # ms until something has to be there; no test waits for it to pass


def without(what: str) -> None:
    """Skip for lack of ``what``; in CI, which installs it, fail."""
    if os.environ.get("MMX_CI") == "1":
        pytest.fail(f"{what} is not here; .ci/run installs it")
    pytest.skip(f"{what} is not here; docs/page.md says how to install it")


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    if not AXE.exists():
        without(str(AXE))
    return AXE.read_text()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    program = os.environ.get("MMX_CHROMIUM") or shutil.which("chromium")
    if program is None:
        without("the program chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        without("the Python package playwright")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=program, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def served(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``mmx serve`` over the world."""
    folder = tmp_path_factory.mktemp("page")
    write_world(folder)
    with Server(folder, "runs/vbpr", "runs/bpr") as server:
        yield listening(server)


def listening(server: Server) -> str:
    """Its address, once a connection is accepted."""
    from urllib.error import URLError
    from urllib.request import urlopen

    for _ in range(600):
        address = server.address()
        if address:
            try:
                urlopen(f"{address}/health", timeout=5).close()
            except URLError:
                pass
            else:
                return address
        time.sleep(0.1)
    raise AssertionError(server.said)


class Seen:
    """A tab of the browser, and what it complained about."""

    def __init__(self, page: Any, base: str) -> None:
        self.page, self.base = page, base
        self.faults: list[str] = []
        self.refusals = False  # whether this test asks for what the server refuses
        page.set_default_timeout(PATIENCE)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.waiting: set[Any] = set()
        page.on("request", self._request)
        page.on("requestfinished", self._answered)
        page.on("requestfailed", self._answered)

    def _console(self, message: Any) -> None:
        refusal = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not (refusal and self.refusals):
            self.faults.append(f"{message.text} {message.location}")

    def _answered(self, request: Any) -> None:
        self.waiting.discard(request)

    def _request(self, request: Any) -> None:
        self.waiting.add(request)
        if not request.url.startswith((self.base, "blob:", "data:")):
            self.faults.append(f"another host: {request.url}")

    def open(self, view: str) -> Any:
        """Show a view, as ``#/users``, and wait for it to be filled."""
        self.page.goto(f"{self.base}/{view}")
        return self.settled()

    def settled(self) -> Any:
        """Wait until nothing loads any more."""
        filled = "document.querySelector('h1') && !document.querySelector('[aria-busy=true]')"
        for _ in range(PATIENCE // 50):
            self.page.wait_for_timeout(30)  # the change of an address is an event to come
            if not self.waiting and self.page.evaluate(filled) and not self.waiting:
                return self.page
        raise AssertionError(f"still loading: {[each.url for each in self.waiting]}")

    def until(self, expression: str) -> None:
        """Wait for a JavaScript expression; the page's policy forbids wait_for_function."""
        for _ in range(PATIENCE // 50):
            if self.page.evaluate(f"Boolean({expression})"):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never so: {expression}")

    def find(self, key: str) -> Any:
        """Elements by their key in tests/page/controls.py."""
        from tests.page.controls import KEY_OF, SELECTOR

        self.page.evaluate(
            f"for (const each of document.querySelectorAll('{SELECTOR}'))"
            f" each.setAttribute('data-key', ({KEY_OF})(each))"
        )
        return self.page.locator(f'[data-key="{key}"]')

    def press(self, key: str, nth: int = 0) -> Any:
        """Click the control of this key and wait for what follows."""
        self.find(key).nth(nth).click()
        return self.settled()

    def choose(self, key: str, value: str) -> Any:
        """Choose an option of the ``select`` of this key."""
        self.find(key).select_option(value)
        return self.settled()

    @property
    def title(self) -> str:
        """The heading of the view."""
        return self.page.inner_text("h1")

    def titles(self) -> list[str]:
        """Titles of the cards shown."""
        return self.page.locator(".card-title").all_inner_texts()


@pytest.fixture
def seen(browser: Any, served: str) -> Iterator[Seen]:
    """A fresh tab on a desk; an error of the console fails the test."""
    with _tab(browser, served, viewport={"width": 1280, "height": 900}) as tab:
        yield tab
    assert tab.faults == []


@pytest.fixture
def phone(browser: Any, served: str) -> Iterator[Seen]:
    """A fresh tab on a phone with touch."""
    size = {"width": 360, "height": 740}
    with _tab(browser, served, viewport=size, has_touch=True, is_mobile=True) as tab:
        yield tab
    assert tab.faults == []


class _tab:  # noqa: N801
    def __init__(self, browser: Any, base: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.seen = Seen(self.context.new_page(), base)

    def __enter__(self) -> Seen:
        return self.seen

    def __exit__(self, *_: object) -> None:
        self.context.close()
