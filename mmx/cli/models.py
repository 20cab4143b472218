"""``mmx models``."""

from __future__ import annotations

from mmx.cli.output import AsJson, Debug, Quiet, listed, print_json, print_table


def models(as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the recommenders that `mmx train --model` can name, with their settings."""
    from mmx.recommend.models import listing

    rows = [
        {
            "model": record.name,
            "what it is": record.title,
            "features": record.features,
            "trained": "in closed form" if record.closed_form else "in epochs",
            "learning rate": None if record.closed_form else record.lr,
            "cold items": record.cold_items,
            "new users": record.new_users,
            "end to end": record.end_to_end,
            "weights": record.honours_weights,
            "settings": record.defaults(),
            "citation": record.citation,
        }
        for record in listing()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(list(rows[0]), [[listed(value) for value in row.values()] for row in rows])
