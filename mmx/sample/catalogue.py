"""The embedded sample: a product catalogue drawn from a seed, and its simulated users.

Everything, pictures and words included, is made here; ``docs/sample.md`` says how and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.atomic import Kind, publishing
from mmx.bounds import SEED, check, whole
from mmx.files import as_path
from mmx.sample.drawing import COLOURS, PATTERNS, Look, Scene, draw
from mmx.sample.shapes import SHAPES
from mmx.sample.users import Taste, launch_days, simulate, utilities
from mmx.sample.wording import describe

CATEGORIES = tuple(SHAPES)
COLOUR_NAMES = tuple(COLOURS)

# Each brand photographs its products in its own way.
BRANDS: dict[str, Scene] = {
    "Velmora": Scene("plain", (244, 242, 236), "none", (0, 0, 0)),
    "Tindrel": Scene("gradient", (206, 222, 238), "band", (36, 62, 110)),
    "Quillop": Scene("floor", (240, 228, 206), "none", (0, 0, 0)),
    "Harnow": Scene("spot", (226, 214, 232), "corner", (112, 52, 128)),
    "Brassel": Scene("floor", (214, 228, 210), "frame", (40, 96, 58)),
    "Lumiko": Scene("gradient", (250, 224, 214), "corner", (214, 84, 52)),
    "Pebblio": Scene("spot", (222, 222, 224), "band", (60, 60, 66)),
    "Wexfen": Scene("plain", (250, 240, 200), "frame", (180, 130, 30)),
}
SIDES = (176, 192, 208, 224)  # px, of pictures; width and height are drawn apart
PRICES = {
    "mug": 12.0, "shirt": 28.0, "lamp": 49.0, "shoe": 79.0, "bag": 45.0, "chair": 189.0,
    "clock": 32.0, "bottle": 22.0, "book": 15.0, "plant": 26.0, "hat": 24.0, "umbrella": 27.0,
}  # fmt: skip
TASTE = Taste(seen=(1.5, 0.5, 1.2, 1.0, 0.4, 0.8))  # in the order of _attributes


SAMPLE = Kind("a place for a sample", lambda folder: False)  # nothing there is ever replaced


@dataclass(frozen=True)
class Product:
    """One row of the catalogue."""

    item_id: str
    look: Look
    brand: str
    title: str
    text: str
    price: float


def write_sample(
    directory: Path | str,
    *,
    items: int = 400,
    users: int = 600,
    seed: int = 7,
) -> None:
    """Write the sample as a dataset directory: items.parquet, interactions.parquet, images/.

    One in a hundred items has no picture and one in a hundred no text. The same arguments
    give the same bytes. Raises OptionError when there would be no item or no user, and
    TargetError when something other than an empty folder is there.
    """
    for name, value in (("items", items), ("users", users)):
        check(f"{name}=", value, whole(1))
    check("seed=", seed, SEED)
    with publishing(as_path(directory), SAMPLE, folder=True) as folder:
        _write(folder, items, users, seed)


def _write(directory: Path, items: int, users: int, seed: int) -> None:
    (directory / "images").mkdir()
    streams = [np.random.default_rng([seed, part]) for part in range(4)]
    products = catalogue(items, streams[0])
    pictured, worded = _gaps(items, streams[1])
    _write_pictures(directory, products, pictured, streams[2])
    pq.write_table(_items_table(products, pictured, worded), directory / "items.parquet")
    log = _interactions_table(products, users, streams[3])
    pq.write_table(log, directory / "interactions.parquet")


def catalogue(items: int, rng: np.random.Generator) -> list[Product]:
    """``items`` products; categories come in turn, everything else by chance."""
    return [_product(number, rng) for number in range(items)]


def random_look(category: str, rng: np.random.Generator) -> Look:
    """A random look for a product of ``category``; a quarter of them are plain."""
    pattern = "plain" if rng.random() < 0.25 else PATTERNS[1 + rng.integers(len(PATTERNS) - 1)]
    colour, accent = rng.choice(COLOUR_NAMES, size=2, replace=False)
    if pattern == "plain" or rng.random() < 0.4:  # the usual second colours
        accent = "white" if colour not in ("white", "yellow") else "black"
    return Look(category, int(rng.integers(2)), str(colour), pattern, str(accent))


def _product(number: int, rng: np.random.Generator) -> Product:
    look = random_look(CATEGORIES[number % len(CATEGORIES)], rng)
    brand = list(BRANDS)[rng.integers(len(BRANDS))]
    title, text = describe(look, brand, rng)
    price = round(PRICES[look.category] * float(rng.lognormal(0.0, 0.3))) + 0.9
    return Product(f"sku-{number:04d}", look, brand, title, text, price)


def _gaps(items: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(items,) bool each: which items have a picture, and which have text; none lacks both."""
    order, few = rng.permutation(items), items // 100
    pictured, worded = np.ones(items, dtype=bool), np.ones(items, dtype=bool)
    pictured[order[:few]] = False
    worded[order[few : 2 * few]] = False
    return pictured, worded


def _write_pictures(
    directory: Path, products: list[Product], pictured: np.ndarray, rng: np.random.Generator
) -> None:
    for product, has_picture in zip(products, pictured, strict=True):
        width, height = (SIDES[side] for side in rng.integers(len(SIDES), size=2))
        image = draw(product.look, house_style(product.brand, rng), (width, height), rng)
        if has_picture:
            image.save(directory / _image_path(product), quality=88)


def house_style(brand: str, rng: np.random.Generator) -> Scene:
    """A brand's scene; one picture in five is taken elsewhere."""
    scene = BRANDS[brand]
    if rng.random() < 0.2:
        other = BRANDS[list(BRANDS)[rng.integers(len(BRANDS))]]
        scene = replace(scene, backdrop=other.backdrop, tint=other.tint)
    return scene


def _image_path(product: Product) -> str:
    return f"images/{product.item_id}.jpg"


def _items_table(products: list[Product], pictured: np.ndarray, worded: np.ndarray) -> pa.Table:
    def column(values: list[str], there: np.ndarray) -> pa.Array:
        return pa.array(values, pa.string(), mask=~there)

    return pa.table(
        {
            "item_id": [p.item_id for p in products],
            "image": column([_image_path(p) for p in products], pictured),
            "text": column([p.text for p in products], worded),
            "title": column([p.title for p in products], worded),
            "category": [p.look.category for p in products],
            "colour": [p.look.colour for p in products],
            "pattern": [p.look.pattern for p in products],
            "brand": [p.brand for p in products],
            "price": [p.price for p in products],
        }
    )


def _interactions_table(products: list[Product], users: int, rng: np.random.Generator) -> pa.Table:
    launched = launch_days(len(products), rng)
    launched -= launched.min()  # something is on sale on the first day
    utility = utilities(_attributes(products), users, TASTE, rng)
    who, what, when = simulate(utility, launched, rng)
    return pa.table(
        {
            "user_id": [f"user-{u:03d}" for u in who],
            "item_id": [products[i].item_id for i in what],
            "timestamp": pa.array(when, pa.int64()),
        }
    )


def _attributes(products: list[Product]) -> np.ndarray:
    """(items, 6) integer codes of what can be seen: category, shape, colour, pattern, accent,
    brand."""
    brands = list(BRANDS)
    return np.array(
        [
            (
                CATEGORIES.index(p.look.category),
                2 * CATEGORIES.index(p.look.category) + p.look.shape,
                COLOUR_NAMES.index(p.look.colour),
                PATTERNS.index(p.look.pattern),
                COLOUR_NAMES.index(p.look.accent),
                brands.index(p.brand),
            )
            for p in products
        ]
    )
