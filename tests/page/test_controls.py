"""Each control of each view is in the table, and its test uses it; axe finds no serious fault."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.page.conftest import Seen, _tab
from tests.page.controls import KEY_OF, SELECTOR, TRIED, VIEWS

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


def sources() -> dict[str, str]:
    """The text of each test of this folder, by its name."""
    found = {}
    for path in sorted(HERE.glob("test_*.py")):
        for part in re.split(r"^def ", path.read_text(), flags=re.M)[1:]:
            found[part.split("(")[0]] = part
    return found


def test_the_named_tests_use_their_controls() -> None:
    tests = sources()
    assert [key for key, name in TRIED.items() if f'"{key}"' not in tests.get(name, "")] == []


def test_no_control_without_a_test(seen: Seen) -> None:
    seen.refusals = True
    found: set[str] = set()
    for view in VIEWS:
        page = seen.open(view)
        for closed in page.locator("details:not([open]) > summary").all():
            closed.click()
        found |= set(page.evaluate(
            f"[...document.querySelectorAll('{SELECTOR}')].map({KEY_OF})"
        ))  # fmt: skip
    assert found - TRIED.keys() == set()
    # of states that are not among the views: a basket with items, a token
    assert TRIED.keys() - found == {
        "button.small", "button Empty the basket", "input#token", "button Open",
    }  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, served: str, axe: str, scheme: str) -> None:
    options = {"viewport": {"width": 1280, "height": 900}, "color_scheme": scheme}
    faults = []
    with _tab(browser, served, bypass_csp=True, **options) as seen:
        seen.refusals = True
        for view in VIEWS:
            page = seen.open(view)
            if not page.evaluate("'axe' in window"):
                page.evaluate(axe)
            page.evaluate("for (const each of document.querySelectorAll('details')) each.open = 1")
            for found in page.evaluate("axe.run().then((each) => each.violations)"):
                if found["impact"] in ("serious", "critical"):
                    faults.append((view, found["id"], [each["html"] for each in found["nodes"]]))
    assert faults == [], json.dumps(faults, indent=1)
