"""The embedded sample: the same from the same seed, true to its words, with taste in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmx.data.dataset import load_interactions, load_items
from mmx.errors import OptionError
from mmx.sample.catalogue import CATEGORIES, TASTE, catalogue, write_sample
from mmx.sample.drawing import BACKDROPS, COLOURS, MARKS, PATTERNS, Look, Scene, draw
from mmx.sample.shapes import SHAPES
from mmx.sample.users import DAY, START, Taste, launch_days, simulate, utilities
from mmx.sample.wording import COLOUR_WORDS, NOUNS

WHITE = Scene("plain", (250, 250, 250), "none", (0, 0, 0))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=200, users=150, seed=7)
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_sample(tmp_path / name, items=30, users=20, seed=seed)
    first, second, other = (contents(tmp_path / name) for name in "abc")
    assert first == second
    assert not [name for name in first if first[name] == other.get(name)]


def test_keeps_the_contract_of_a_dataset_directory(sample: Path) -> None:
    items = load_items(sample)
    log = load_interactions(sample, items)
    further = ["title", "category", "colour", "pattern", "brand", "price"]
    assert items.table.column_names == ["item_id", "image", "text", *further]
    assert items.ids[42].as_py() == "sku-0042"
    assert log.column_names == ["user_id", "item_id", "timestamp"]
    assert log["user_id"][0].as_py().startswith("user-")
    assert len(set(log["user_id"].to_pylist())) == 150


def test_one_in_a_hundred_lacks_its_picture_and_one_its_text(sample: Path) -> None:
    table = load_items(sample).table
    images, texts = table["image"].to_pylist(), table["text"].to_pylist()
    assert images.count(None) == 2
    assert texts.count(None) == 2
    assert not [1 for image, text in zip(images, texts, strict=True) if image is text is None]
    there = {f"images/{path.name}" for path in (sample / "images").iterdir()}
    assert there == {image for image in images if image}


def test_pictures_are_jpeg_of_many_sizes(sample: Path) -> None:
    paths = sorted((sample / "images").iterdir())[:60]
    sizes = set()
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            sizes.add(image.size)
    assert len(sizes) > 5
    assert all(160 <= side <= 256 for size in sizes for side in size)


def test_titles_name_the_thing_and_its_colour() -> None:
    for product in catalogue(240, np.random.default_rng(1)):
        title, look = product.title.lower(), product.look
        assert any(noun.lower() in title for noun in NOUNS[look.category][look.shape])
        assert any(word in title for word in COLOUR_WORDS[look.colour])
        assert product.text.startswith(product.title)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_plain_product_has_the_colour_it_is_said_to_have(colour: str) -> None:
    look = Look("chair", 0, colour, "plain", "white" if colour != "white" else "black")
    image = draw(look, WHITE, (200, 200), np.random.default_rng(5))
    seen = np.median(np.asarray(image)[75:95, 85:115].reshape(-1, 3), axis=0)  # its back
    distance = {name: np.abs(seen - rgb).sum() for name, rgb in COLOURS.items()}
    assert min(distance, key=distance.__getitem__) == colour


def test_every_shape_and_pattern_looks_different() -> None:
    looks = [Look(name, shape, "red", "plain", "blue") for name in SHAPES for shape in (0, 1)]
    looks += [Look("bag", 0, "red", pattern, "blue") for pattern in PATTERNS[1:]]
    pictures = [
        np.asarray(draw(look, WHITE, (96, 96), np.random.default_rng(5)), dtype=float).ravel()
        for look in looks
    ]
    apart = [np.abs(a - b).mean() for n, a in enumerate(pictures) for b in pictures[n + 1 :]]
    assert min(apart) > 2.0  # grey levels on average; noise alone would be under 0.1


def test_every_backdrop_and_mark_can_be_drawn() -> None:
    look = Look("mug", 0, "red", "plain", "white")
    seen = {
        draw(
            look, Scene(b, (200, 220, 240), m, (9, 9, 9)), (64, 80), np.random.default_rng(1)
        ).tobytes()
        for b in BACKDROPS
        for m in MARKS
    }
    assert len(seen) == len(BACKDROPS) * len(MARKS)


def test_no_user_takes_an_item_twice_or_before_its_launch() -> None:
    rng = np.random.default_rng(2)
    launched = launch_days(60, rng)
    launched[0] = 0.0
    who, what, when = simulate(rng.standard_normal((40, 60)), launched, rng)
    assert len(set(zip(who.tolist(), what.tolist(), strict=True))) == len(who)
    assert (when >= START + (launched[what] * DAY).astype(int)).all()
    assert (np.diff(when) >= 0).all()
    assert len(set(who.tolist())) == 40


def same_category_share(taste: Taste) -> float:
    """How often two items of one user are of one category, over many users."""
    kinds = np.arange(120) % len(CATEGORIES)
    rng = np.random.default_rng(0)
    utility = utilities(np.stack([kinds] * len(taste.seen), 1), 200, taste, rng)
    who, what, _ = simulate(utility, np.zeros(120), rng)
    shares = []
    for user in range(200):
        mine = kinds[what[who == user]]
        equal = (mine[:, None] == mine[None, :]).sum() - len(mine)
        shares.append(equal / (len(mine) * (len(mine) - 1)))
    return float(np.mean(shares))


def test_taste_follows_what_can_be_seen() -> None:
    chance = same_category_share(Taste(seen=(0.0,), hidden=0.0, popularity=0.0))
    assert chance == pytest.approx(9 / 119, abs=0.02)  # nine others of 119 are of one's category
    assert same_category_share(Taste(seen=TASTE.seen[:1])) > 2 * chance


def test_many_items_are_new(sample: Path) -> None:
    items = load_items(sample)
    log = load_interactions(sample, items)
    counts = pa.compute.value_counts(log["item_id"].combine_chunks()).field("counts").to_numpy()
    few = len(items) - (counts > 5).sum()
    assert 0.1 * len(items) < few < 0.6 * len(items)


def test_an_empty_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="=0: at least 1 is expected"):
        write_sample(tmp_path, items=0)


def test_the_smallest_sample_is_one_item_and_one_user(tmp_path: Path) -> None:
    write_sample(tmp_path, items=1, users=1)
    items = load_items(tmp_path)
    assert load_interactions(tmp_path, items).num_rows == 1
