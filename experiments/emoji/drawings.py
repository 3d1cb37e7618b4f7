"""Eight artists' drawings of the same emoji: what each is called, who drew it, and what it looks like."""

import io
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packages import Package
from PIL import Image

DRAWN = 64  # pixels along a side of a drawing, before it is posed
INK = "#202020"  # of drawings in one colour, which name none
NAMES = Package(
    "emojibase-data", "17.0.0", "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA=="
)
GROUPS = {0: "smileys", 1: "people", 3: "animals", 4: "food", 5: "travel", 6: "activities", 7: "objects", 8: "symbols"}
"""Unicode's groups, by what they are called here; skin tones (2) and flags (9) are left out."""


@dataclass(frozen=True)
class Style:
    """One artist's set.

    Attributes:
        package: where it is.
        word: what captions call it.
    """

    package: Package
    word: str


@dataclass(frozen=True)
class Concept:
    """What is drawn.

    Attributes:
        name: what it is called.
        category: one of `GROUPS`.
        kind: Unicode's name of its subgroup, in words.
        tags: further words for it.
    """

    name: str
    category: str
    kind: str
    tags: tuple[str, ...]


def _style(name: str, version: str, sha512: str, word: str) -> Style:
    return Style(Package(f"@iconify-json/{name}", version, sha512), word)


STYLES = {
    "noto": _style(
        "noto", "1.2.9", "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==", "shaded"
    ),
    "twemoji": _style(
        "twemoji", "1.2.5", "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==", "flat"
    ),
    "fluent-flat": _style(
        "fluent-emoji-flat",
        "1.2.6",
        "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        "plain",
    ),
    "emojione": _style(
        "emojione", "1.2.3", "T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==", "coloured"
    ),
    "openmoji": _style(
        "openmoji", "1.2.29", "vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==", "outlined"
    ),
    "fxemoji": _style(
        "fxemoji", "1.2.2", "UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==", "simple"
    ),
    "high-contrast": _style(
        "fluent-emoji-high-contrast",
        "1.2.6",
        "esqhZPpkrF7sNX3NsLoh8KW64okEr/bzko7WNnFP+qTJGAqDPDYjp0925yxuivXy3HtVQB8xhIKu3+Nq1byX5w==",
        "black and white",
    ),
    "monotone": _style(
        "emojione-monotone",
        "1.2.1",
        "cZSNcPsuiAD6HCzCh/2dYKGh3pNI0jJlxBxQWfC33cQsPtqYZqulGBvlkThXYNvDl8VxgVHT9u+izyX/yeEIkA==",
        "silhouette",
    ),
}


def fetch(folder: Path) -> None:
    """Get all packages into a folder; raises a `UserError` as `Package.fetch` does."""
    for package in (NAMES, *(style.package for style in STYLES.values())):
        package.fetch(folder)


def concepts(folder: Path) -> dict[str, Concept]:
    """Concepts by code: emoji without skin tones, genders and flags, each once."""
    said, kinds = NAMES.read(folder, "en/data.json"), NAMES.read(folder, "en/messages.json")["subgroups"]
    words = {kind["order"]: kind["message"] for kind in kinds}
    found = {}
    for each in said:
        if each.get("group") in GROUPS and "gender" not in each:
            code = _code(each["hexcode"])
            name = each["label"].replace("/", " ")
            found[code] = Concept(name, GROUPS[each["group"]], words[each["subgroup"]], tuple(each.get("tags", ())))
    return found


def drawings(folder: Path, known: Mapping[str, Concept]) -> dict[str, dict[str, str]]:
    """SVG files by style and by the code of their concept.

    Sets that do not say which emoji a drawing is are matched by name: what Unicode and the other sets call an emoji, letters and
    digits alone.
    """
    sets = {style: each.package.read(folder, "icons.json") for style, each in STYLES.items()}
    coded = {
        style: {_code(code): name for code, name in each.package.read(folder, "chars.json").items()}
        for style, each in STYLES.items()
    }
    called = defaultdict(set)
    for code, concept in known.items():
        called[code] |= {_plain(concept.name), *(_plain(names[code]) for names in coded.values() if code in names)}
    found: dict[str, dict[str, str]] = {}
    for style, icons in sets.items():
        # an alias with more keys is turned or mirrored
        parents = {name: alias["parent"] for name, alias in icons.get("aliases", {}).items() if [*alias] == ["parent"]}
        names = {**parents, **{name: name for name in icons["icons"]}}
        by_name = {_plain(name): icon for name, icon in names.items()}
        chosen = {
            code: names.get(coded[style].get(code, "")) or next((by_name[n] for n in sorted(called[code]) if n in by_name), None)
            for code in known
        }
        found[style] = {code: _svg(icons, name) for code, name in chosen.items() if name}
    return found


@cache
def raster(svg: str) -> Image.Image:
    """A drawing as RGBA pixels, `DRAWN` along a side."""
    import resvg_py  # training reads pictures that are there

    content = resvg_py.svg_to_bytes(svg_string=svg, width=DRAWN, height=DRAWN, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(content))).convert("RGBA")


def _svg(icons: dict, name: str) -> str:
    """The SVG file of an icon in a set of Iconify's."""
    icon = icons | icons["icons"][name]
    body = icon["body"].replace("currentColor", INK)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="0 0 {icon.get("width", 16)} {icon.get("height", 16)}">{body}</svg>'
    )


def _code(hexcode: str) -> str:
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
