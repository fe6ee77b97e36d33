"""YAML documents as kubectl reads them: YAML 1.1, by libyaml, which takes a tenth of the time of a reader in Python."""

from typing import Any

import yaml

JSON = Any  # a document


def documents(text: str) -> list[JSON]:
    """Returns every document of a text; an empty one is None.

    Raises:
        yaml.YAMLError: The text is no YAML.
    """
    return list(yaml.load_all(text, yaml.CSafeLoader))  # the safe loader, in C
