"""bin/pages: write what is made from other files and checked in: manual pages, completion for shells."""

import sys
from pathlib import Path

from tests.packaging import completion, manual

TOP = Path(__file__).parents[2]


def made() -> dict[Path, str]:
    """Every file that is made, relative to the checkout, and what it should say."""
    shells = {
        Path("etc/completion") / shell / name: completion.completion(shell)
        for shell, name in completion.NAMES.items()
    }
    return {
        Path("docs/man/relayd.8"): manual.commands_page(),
        Path("docs/man/relayd.toml.5"): manual.configuration_page(),
        **shells,
    }


def write() -> int:
    """Write those that have changed, and name them."""
    for path, text in made().items():
        if not (TOP / path).exists() or (TOP / path).read_text() != text:
            (TOP / path).parent.mkdir(parents=True, exist_ok=True)
            (TOP / path).write_text(text)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(write())
