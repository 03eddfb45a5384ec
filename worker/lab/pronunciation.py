"""How the words of a script are pronounced: CMU's dictionary, as pocketsphinx ships it."""

import functools
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import pocketsphinx

from worker import errors
from worker.lab import conversation

VARIANT = re.compile(r"\(\d+\)$")


def of_token(token: str) -> tuple[str, ...]:
    """Every pronunciation of one token of a text ("read," or "twenty-one"), as ARPAbet phones.

    :raises UsageError: if a word is not in the dictionary.
    """
    spoken = conversation.words(token)
    known = _dictionary(frozenset(spoken))
    missing = [word for word in spoken if word not in known]
    if missing or not spoken or any(character.isdigit() for character in token):
        raise errors.UsageError(
            f"nobody knows how {missing[0] if missing else token!r} is pronounced",
            fix="write it in English words that are in CMU's dictionary; numbers as words too",
        )
    return tuple(" ".join(parts) for parts in itertools.product(*(known[w] for w in spoken)))


@functools.lru_cache(maxsize=1024)
def _dictionary(wanted: frozenset[str]) -> dict[str, tuple[str, ...]]:
    return {word: _all()[word] for word in wanted if word in _all()}


@functools.cache
def _all() -> dict[str, tuple[str, ...]]:
    path = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    lines = path.read_text(encoding="utf-8").splitlines()
    return _grouped(line.split(maxsplit=1) for line in lines if line.strip())


def _grouped(entries: Iterable[list[str]]) -> dict[str, tuple[str, ...]]:
    """The dictionary numbers the second and later ways to say a word: read, read(2)."""
    found: dict[str, tuple[str, ...]] = {}
    for word, phones in entries:
        key = VARIANT.sub("", word)
        found[key] = (*found.get(key, ()), phones)
    return found
