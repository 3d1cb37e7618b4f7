"""Draws styles.png beside this file: the same emoji by the artists whose licences let their pictures be shown here."""

import argparse
from pathlib import Path

import drawings
import numpy as np
import world
from make import packages_of
from matplotlib.figure import Figure
from PIL import Image

from tracer import plotting
from tracer.plotting.style import PAGE_WIDTH

HERE = Path(__file__).parent
SHARED_ALIKE = ("openmoji",)
SHOWN = (
    "monkey face", "horse face", "rooster", "crocodile", "tropical fish", "ant", "cherry blossom",
    "watermelon", "green apple", "hamburger", "locomotive", "sailboat", "house", "hammer", "light bulb", "key",
)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--world", type=Path, default=world.PLACE, help="beside which make.py put the packages")
    folder = packages_of(options.parse_args().world)
    known = drawings.concepts(folder)
    made = world.World(known, drawings.drawings(folder, known))
    plotting.save(styles(made), HERE / "styles")


def styles(made: world.World) -> Figure:
    """A row a style, a column an emoji, as pretraining shows them."""
    codes = {concept.name: code for code, concept in made.concepts.items()}
    rows = [style for style in drawings.STYLES if style not in SHARED_ALIKE]
    with plotting.canvas(PAGE_WIDTH, 4.3) as (figure, axis):
        side = drawings.DRAWN
        sheet = Image.new("RGB", (side * len(SHOWN), side * len(rows)), "white")
        for row, style in enumerate(rows):
            for column, name in enumerate(SHOWN):
                if codes[name] in made.svg[style]:
                    (picture,) = made.pictures(style, codes[name], "figure", 1)
                    sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (column * side, row * side))
        axis.imshow(np.asarray(sheet))
        axis.set(xticks=[], yticks=[(row + 0.5) * side for row in range(len(rows))], yticklabels=rows)
        axis.grid(False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    return figure


if __name__ == "__main__":
    main()
