"""Titles and descriptions of the sample's products, worded in as many ways as shops do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmx.sample.drawing import Look

NOUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # for each of the two shapes
    "mug": (("mug", "coffee mug"), ("cup", "tea cup with saucer")),
    "shirt": (("T-shirt", "tee"), ("pullover", "jumper")),
    "lamp": (("table lamp", "bedside lamp"), ("pendant lamp", "hanging lamp")),
    "shoe": (("sneaker", "trainer"), ("boot", "ankle boot")),
    "bag": (("tote bag", "shopper"), ("backpack", "rucksack")),
    "chair": (("armchair", "easy chair"), ("stool", "round stool")),
    "clock": (("wall clock", "kitchen clock"), ("alarm clock", "bell clock")),
    "bottle": (("bottle", "flask"), ("carafe", "decanter")),
    "book": (("book", "hardback"), ("notebook", "ring binder")),
    "plant": (("potted plant", "leafy plant"), ("cactus", "potted cactus")),
    "hat": (("cap", "peaked cap"), ("sun hat", "brimmed hat")),
    "umbrella": (("umbrella", "rain umbrella"), ("folded umbrella", "compact umbrella")),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "lemon"),
    "green": ("green", "emerald"),
    "teal": ("teal", "turquoise"),
    "blue": ("blue", "cobalt"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "brown": ("brown", "chocolate"),
    "black": ("black", "jet black"),
    "white": ("white", "ivory"),
    "grey": ("grey", "slate"),
}
PATTERN_WORDS: dict[str, tuple[tuple[str, ...], str]] = {  # adjectives, and the noun
    "plain": (("plain", "simple"), "trim"),
    "striped": (("striped", "stripy"), "stripes"),
    "dotted": (("dotted", "polka-dot"), "dots"),
    "checked": (("checked", "chequered"), "checks"),
    "zigzag": (("zigzag", "chevron"), "zigzags"),
    "floral": (("floral", "flowery"), "flowers"),
    "two-tone": (("two-tone", "half-and-half"), "lower half"),
}
MATERIALS: dict[str, tuple[str, ...]] = {  # nothing of this can be seen
    "mug": ("ceramic", "stoneware", "porcelain"),
    "shirt": ("cotton", "linen", "wool"),
    "lamp": ("metal", "paper", "glass"),
    "shoe": ("leather", "canvas", "suede"),
    "bag": ("canvas", "nylon", "felt"),
    "chair": ("upholstered", "beech", "velvet"),
    "clock": ("quartz", "silent", "steel"),
    "bottle": ("glass", "steel", "insulated"),
    "book": ("cloth", "recycled", "lined"),
    "plant": ("easy-care", "artificial", "indoor"),
    "hat": ("cotton", "straw", "wool"),
    "umbrella": ("windproof", "nylon", "sturdy"),
}
MATCHED = (  # for products with a pattern
    "{pattern} {colour} {noun}",
    "{colour} {pattern} {noun}",
    "{colour} {noun} with {accent} {figure}",
    "{noun}, {colour} with {accent} {figure}",
    "{colour} and {accent} {pattern} {noun}",
    "{noun} in {colour}, {pattern}",
    "{noun}: {accent} {figure} on {colour}",
)
PLAIN = (
    "{pattern} {colour} {noun}",
    "{colour} {noun}",
    "{noun} in {colour}",
    "{noun}, {pattern} {colour}",
    "{colour} {noun} with {accent} trim",
)
REMARKS = (
    "Made to last.",
    "A gift for anyone who likes {colour}.",
    "Everybody's favourite {noun}.",
    "Wipe clean with a damp cloth.",
    "Goes well with {accent}.",
    "Now {material}.",
    "",
    "",
)


def describe(look: Look, brand: str, rng: np.random.Generator) -> tuple[str, str]:
    """A title and a longer text that starts with it, for a product of ``brand``.

    Words and their order differ from draw to draw; half of the titles name the brand and
    not all name the accent colour.
    """
    material = _one(MATERIALS[look.category], rng)
    words = {
        "noun": _one(NOUNS[look.category][look.shape], rng),
        "colour": _one(COLOUR_WORDS[look.colour], rng),
        "accent": _one(COLOUR_WORDS[look.accent], rng),
        "pattern": _one(PATTERN_WORDS[look.pattern][0], rng),
        "figure": PATTERN_WORDS[look.pattern][1],
        "material": material,
    }
    named = dict(words)
    if rng.random() < 0.35:
        named["noun"] = f"{material} {words['noun']}"
    title = _one(PLAIN if look.pattern == "plain" else MATCHED, rng).format(**named)
    title = _branded(title, brand, rng)
    remark = _one(REMARKS, rng).format(**words)
    return title, f"{title}. {remark}".strip() if remark else title


def _branded(title: str, brand: str, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.25:
        return f"{brand} {title}"
    title = title[0].upper() + title[1:]
    return f"{title} by {brand}" if chance < 0.5 else title


def _one(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
