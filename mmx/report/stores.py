"""The parts of a report that are of a store: what it holds, and what is missing and why."""

from __future__ import annotations

from collections.abc import Sequence

from mmx.cache.health import Affected, Condition, Health, health
from mmx.cache.store import Store
from mmx.report.markup import note, short, table
from mmx.report.svg import bars, chart

REASONS = 20  # listed of each input


def health_html(store: Store) -> str:
    """Counts by input and status, reasons with examples, texts cut short."""
    found = health(store)
    heads = ["input", "rows", "encoded", "missing", "failed", "encoded, share"]
    rows = [
        [name, found.rows, one.ok, one.missing.rows, one.failures, _share(one.ok, found.rows)]
        for name, one in found.modalities.items()
    ]
    body = table(heads, rows, f"Rows of {store.path.name}")
    if any(one.ok < found.rows for one in found.modalities.values()):
        series = {
            "missing": [one.missing.rows / max(found.rows, 1) for one in found.modalities.values()],
            "failed": [one.failures / max(found.rows, 1) for one in found.modalities.values()],
        }
        drawing = bars(list(found.modalities), series, "input", "share of rows")
        body += f'<div class="charts">{chart("Rows without a vector", drawing, list(series))}</div>'
    body += _reasons(found)
    return body + _truncated(found) + _card(store)


def _reasons(found: Health) -> str:
    rows = []
    left = 0
    for name, one in found.modalities.items():
        rows += _rows(name, one)
        left += max(len(one.failed) - REASONS, 0)
    if not rows:
        return note("Every row has all its vectors.")
    more = note(f"{left} more reasons are not listed.") if left else ""
    return table(["input", "why", "rows", "for example"], rows, "Rows without a vector") + more


def _rows(name: str, one: Condition) -> list[Sequence[object]]:
    kinds: dict[str, Affected] = {"missing": one.missing} if one.missing.rows else {}
    kinds |= dict(list(one.failed.items())[:REASONS])
    return [
        [name, reason, rows.rows, ", ".join(short(item, 40) for item in rows.examples)]
        for reason, rows in kinds.items()
    ]


def _truncated(found: Health) -> str:
    if found.truncated is None:
        return ""
    if not found.truncated.rows:
        return note("No text was longer than the tokenizer takes.")
    some = ", ".join(short(item, 40) for item in found.truncated.examples)
    return note(f"{found.truncated.rows:,} texts ({_share(found.truncated.rows, found.rows)}) were "
                f"longer than the tokenizer takes and are cut, for example of {some}.")  # fmt: skip


def _card(store: Store) -> str:
    card = store.card
    sizes = ", ".join(f"{name} {d}" for name, d in card.dimensions.items())
    facts = {
        "encoder": card.name,
        "numbers of a vector": sizes,
        "stored as": store.dtype,
        "length 1": "yes" if card.normalised else "no",
        "SHA-256 of the weights": card.parameters_sha256 or "—",
        "size": f"{store.size / 1e6:,.1f} MB",
    }
    return table(["what made it", ""], [list(row) for row in facts.items()])


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "—"
