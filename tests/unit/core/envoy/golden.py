"""Golden files: what the code made when somebody last looked. Rewritten by ``--update-golden``."""

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "data" / "envoy"


def check(name: str, content: Any, *, update: bool) -> None:  # Any: JSON
    """Compares with the golden file of that name, or writes it."""
    file = FOLDER / f"{name}.json"
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if update:
        FOLDER.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.exists(), f"{file.name} is missing: run pytest --update-golden, and look at what it writes"
    assert json.loads(text) == json.loads(file.read_text()), f"{file.name} differs; --update-golden rewrites it"
