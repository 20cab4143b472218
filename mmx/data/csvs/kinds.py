"""Which columns of a CSV file are numbers, decided over all rows, in SQL.

VARCHAR     ids, image, text, split; and every column with a value that is not a number
BIGINT      all values are whole numbers as a program writes them: 7 and -7; not 007, +7, 7e3
DOUBLE      all are finite decimal numbers: 7, 7.50, .5, 1e-05, 1.5E+20; not 007, 1e5 (which a
            number formatter writes as 1e+05, and which may be an article number), inf, more than 15
            digits before the point
rating and timestamp are numbers as soon as they can be: 007, +7 and 1e5 as well.
TIMESTAMP   a column ``timestamp`` of dates or times, 2020-01-31 or 2020-01-31T10:20:30.5; with
            an offset behind all of them (Z, +02:00) TIMESTAMPTZ
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

TEXT = ("item_id", "user_id", "image", "text", "split")
SAMPLE = 2048  # rows that say which tests are worth a try on all

_DECIMAL = r"[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)"
_EXPONENT = r"[+-]?((0|[1-9]\d*)\.\d*[eE][+-]?\d+|\.\d+[eE][+-]?\d+|(0|[1-9]\d*)[eE][+-]\d+)"
_LENIENT = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_TIME = r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?"
_OFFSET = r" ?(Z|UTC|[+-]\d{2}(:?\d{2})?)"

_NUMBER = "regexp_full_match(@, '%s') and isfinite(try_cast(@ as double))"
_MOMENT = "regexp_full_match(@, '%s') and try_cast(@ as %s) is not null"

TESTS = {  # what holds for all values @ of a column of the kind; in the order they are tried
    "BIGINT": "try_cast(@ as bigint)::varchar = @",
    "DOUBLE": _NUMBER % f"{_DECIMAL}|{_EXPONENT}",
}
MORE = {
    "rating": {"DOUBLE": _NUMBER % _LENIENT},
    "timestamp": {
        "DOUBLE": _NUMBER % _LENIENT,
        "TIMESTAMP": _MOMENT % (f"{_TIME})?", "timestamp"),
        "TIMESTAMPTZ": _MOMENT % (f"{_TIME}{_OFFSET})", "timestamptz"),
    },
}


def kinds(
    connection: Any, source: str, names: Sequence[str], text: Collection[str] | None
) -> tuple[int, list[str]]:
    """The number of rows, and the type of each column.

    ``source`` is a table expression with columns c0, c1 … of text; ``text`` are names that
    are text whatever they hold; None: all are.
    """
    tests = [_tests(name, text) for name in names]
    _, held = _run_tests(connection, f"(from {source} limit {SAMPLE})", tests, every=True)
    likely = [
        [kind for kind in column if kind in fit] for column, fit in zip(tests, held, strict=True)
    ]
    while True:  # mostly once: what the first rows look like, the others do as well
        first = [{kind: tests[n][kind] for kind in left[:1]} for n, left in enumerate(likely)]
        rows, held = _run_tests(connection, source, first, every=False)
        wrong = [n for n, left in enumerate(likely) if left and not held[n]]
        if not wrong:
            return rows, [left[0] if left else "VARCHAR" for left in likely]
        for n in wrong:
            del likely[n][0]


def _run_tests(
    connection: Any, source: str, tests: Sequence[dict[str, str]], *, every: bool
) -> tuple[int, list[set[str]]]:
    """The number of rows, and for each column the kinds that all of its values are of.

    A column without a value is of all kinds with ``every``, of none without.
    """
    pairs = [(n, kind) for n, column in enumerate(tests) for kind in column]
    holds = [_holds(f"c{n}", tests[n][kind], every) for n, kind in pairs]
    query = f"select {', '.join(['count(*)', *holds])} from {source}"
    ((rows, *answers),) = connection.execute(query).fetchall()
    held: list[set[str]] = [set() for _ in tests]
    for (n, kind), answer in zip(pairs, answers, strict=True):
        if answer or (answer is None and every):  # None: there is no row
            held[n].add(kind)
    return rows, held


def _holds(column: str, test: str, every: bool) -> str:
    holds = test.replace("@", column)
    always = f"bool_and({column} is null or coalesce({holds}, false))"
    return always if every else f"count({column}) > 0 and {always}"


def _tests(name: str, text: Collection[str] | None) -> dict[str, str]:
    if text is None or name in text or name in TEXT:
        return {}
    return TESTS | MORE.get(name, {})
