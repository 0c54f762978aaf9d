"""The list prices that Mayfly ships, as `domain.cost` reckons with them."""

import json
from functools import cache
from pathlib import Path

from mayfly.domain.cost import Prices

_FILE = Path(__file__).with_name("prices.json")


@cache
def list_prices() -> Prices:
    """Reads the list prices from the layer's file, once for each process."""
    return Prices(**json.loads(_FILE.read_text()))
