"""Settings of published recipes: files that stand in the place of the defaults for data sets that go by a name."""

from importlib.resources import files
from pathlib import Path
from typing import Final

RECIPES: Final = {
    "cub200": "cub200",
    "cub200-cropped": "cub200",
    "cars196": "cars196",
    "cars196-cropped": "cars196",
    "sop": "products",
    "inshop": "products",
    "market1501": "market1501",
}
"""The name of the recipe of each data set that has one: its file is ``recipes/NAME.yaml``."""


def recipe_of(data: str) -> Path | None:
    """The YAML file of a data set's recipe; ``None`` where it has none."""
    name = RECIPES.get(data)
    return None if name is None else Path(str(files("triune.run") / "recipes" / f"{name}.yaml"))
