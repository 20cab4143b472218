"""Draw what a run recommends: docs/recommendations.png of the README.

    mmx demo --out demo
    python scripts/draw_recommendations.py demo/runs/vbpr demo/sample docs/recommendations.png

One row of the pictures that a user took, one of those that ``mmx recommend`` gives them, with
rank and score.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import mmx

SIDE, GAP, LEFT, SHOWN = 104, 12, 150, 7  # px, px, px, pictures in a row
INK, PALE, SCALE = "#1f2328", "#57606a", 2


def draw(run: mmx.Run, data: mmx.Items, user: str) -> Image.Image:
    """The picture of one user."""
    paths = dict(zip(data.ids.to_pylist(), data.table["image"].to_pylist(), strict=True))
    number = run.data.users.numbers([user])
    rows = run.data.train.rows(number).indices[:SHOWN]
    taken = run.data.items.externals(rows).to_pylist()
    best = mmx.top_k(run, user, SHOWN).to_pylist()
    width, row = LEFT + SHOWN * (SIDE + GAP) + GAP, SIDE + GAP + 26
    sheet = Image.new("RGB", (width * SCALE, (2 * row + GAP) * SCALE), "white")
    pen = ImageDraw.Draw(sheet)
    captions = [f"{one['rank']}.   {one['score']:.2f}" for one in best]
    for top, name, ids, below in (
        (GAP, f"{user}\ntook", taken, [""] * SHOWN),
        (GAP + row, "mmx recommends,\nwith score", [one["item_id"] for one in best], captions),
    ):
        write(pen, name, (GAP, top + SIDE // 2 - 16), INK, 15)
        for place, (item, caption) in enumerate(zip(ids, below, strict=False)):
            left = LEFT + place * (SIDE + GAP)
            with Image.open(Path(str(data.images)) / str(paths[item])) as picture:
                fitted = picture.convert("RGB").resize((SIDE * SCALE, SIDE * SCALE))
            sheet.paste(fitted, (left * SCALE, top * SCALE))
            write(pen, caption, (left, top + SIDE + 5), PALE, 13)
    return sheet


def write(
    pen: ImageDraw.ImageDraw, text: str, where: tuple[int, int], colour: str, size: int
) -> None:
    """Text at a place of the unscaled drawing."""
    font = ImageFont.load_default(size * SCALE)
    pen.multiline_text((where[0] * SCALE, where[1] * SCALE), text, fill=colour, font=font)


if __name__ == "__main__":
    run_path, data_path, out = sys.argv[1:4]
    opened = mmx.open_run(run_path)
    first = str(sys.argv[4]) if len(sys.argv) > 4 else str(opened.data.users.ids[0])
    sheet = draw(opened, mmx.load_items(data_path), first)
    sheet.quantize(64).save(out, optimize=True)
