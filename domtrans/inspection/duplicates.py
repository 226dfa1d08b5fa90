"""Images that occur twice: equal files exactly, similar images by a hash of their appearance, which is an estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from domtrans.inspection.file_facts import FactsTable

MAX_DISTANCE = 4
"""Bits in which the hashes of two similar images differ at most."""

BANDS = (11, 11, 11, 11, 10, 10)
"""Bits of the parts of a hash. Of six parts, four different bits leave two parts equal, so only such hashes are compared."""

MAX_COMPARED = 64
"""Hashes with two equal parts that each hash is compared with."""

MAX_EXAMPLES = 5

BITS = np.array([bin(value).count("1") for value in range(2**16)], np.uint8)
"""Number of set bits of 16-bit values; numpy 1 has no function for it."""

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Member = tuple[str, int]
"""A split and a position in it."""


@dataclass(frozen=True)
class Repeats:
    """Images that occur more than once.

    Attributes:
        inside: By split: the number of images that repeat an image of the same split.
        across: Test images that repeat a training image.
        examples: Pairs of such images.
    """

    inside: Mapping[str, int]
    across: int
    examples: list[tuple[Member, Member]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.inside.values()) + self.across

    def to_json(self) -> dict[str, Any]:
        """The counts."""
        return {**{f"inside_{split}": count for split, count in self.inside.items()}, "across": self.across}


def find_exact(tables: Mapping[str, FactsTable]) -> Repeats:
    """Copies of an earlier file of the same split, and test images that are training images, too."""
    content = {split: np.asarray(table.content, np.uint64) for split, table in tables.items()}
    examples: list[tuple[Member, Member]] = []
    inside = {}
    for split, hashes in content.items():
        values, counts = np.unique(hashes, return_counts=True)
        inside[split] = len(hashes) - len(values)
        for k in np.flatnonzero(counts > 1)[:MAX_EXAMPLES]:
            original, copy = np.flatnonzero(hashes == values[k])[:2]
            examples.append(((split, tables[split].position[original]), (split, tables[split].position[copy])))
    train, test = content.get("train", _none()), content.get("test", _none())
    shared = np.isin(test, train)
    for k in np.flatnonzero(shared)[:MAX_EXAMPLES]:
        original = int(np.flatnonzero(train == test[k])[0])
        examples.append((("train", tables["train"].position[original]), ("test", tables["test"].position[int(k)])))
    return Repeats(inside, int(shared.sum()), _spread(examples))


def find_near(tables: Mapping[str, FactsTable]) -> Repeats:
    """Images that look almost like another image and are no copies of it: an estimate, which may miss some and include others.

    Both images of a pair inside a split count.
    """
    seen = _none()
    kept: dict[str, Indices] = {}
    for split, table in sorted(tables.items(), reverse=True):  # train, then test
        content = np.asarray(table.content, np.uint64)
        first = np.unique(content, return_index=True)[1]
        kept[split] = np.sort(first[~np.isin(content[first], seen)])
        seen = content if split == "train" else seen
    hashes = {split: np.asarray(tables[split].appearance, np.uint64)[index] for split, index in kept.items()}
    values = np.unique(np.concatenate([*hashes.values(), _none()]))
    places = {split: np.searchsorted(values, own) for split, own in hashes.items()}
    counts = {split: np.bincount(place, minlength=len(values)) for split, place in places.items()}
    partners = {split: np.full(len(values), -1) for split in counts}
    for left, right in close_pairs(values):
        for split, count in counts.items():
            for a, b in ((left, right), (right, left)):
                has = count[b] > 0
                partners[split][a[has]] = b[has]
    member = {split: _first_members(place, len(values)) for split, place in places.items()}

    def find(of: str, among: str) -> tuple[int, list[tuple[Member, Member]]]:
        place = places[of]
        equal = counts[among][place] > (of == among)
        similar = np.flatnonzero(equal | (partners[among][place] >= 0))
        pairs: list[tuple[Member, Member]] = []
        for k in similar:
            value = place[k]
            other = value if equal[k] and member[among][value] != (k if of == among else -1) else partners[among][value]
            if other < 0 or (of == among and member[among][other] > k):
                continue  # the other image of the pair names it
            first, second = int(kept[among][member[among][other]]), int(kept[of][k])
            pairs.append(((among, tables[among].position[first]), (of, tables[of].position[second])))
            if len(pairs) == MAX_EXAMPLES:
                break
        return len(similar), pairs

    inside = {split: find(split, split) for split in tables}
    across = find("test", "train") if {"train", "test"} <= tables.keys() else (0, [])
    examples = [pair for _, pairs in (*inside.values(), across) for pair in pairs]
    return Repeats({split: count for split, (count, _) in inside.items()}, across[0], _spread(examples))


def close_pairs(values: Hashes) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of different hashes that differ in at most ``MAX_DISTANCE`` bits, in blocks; a pair may occur several times."""
    masks, shift = [], 0
    for bits in BANDS:
        masks.append(np.uint64(((1 << bits) - 1) << shift))
        shift += bits
    for first, second in combinations(masks, 2):
        keys = values & (first | second)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        for step in range(1, min(MAX_COMPARED, len(keys) - 1) + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            left, right = order[same], order[same + step]
            close = _count_bits(values[left] ^ values[right]) <= MAX_DISTANCE
            yield left[close], right[close]


def _count_bits(values: Hashes) -> Indices:
    return BITS[values.view(np.uint16).reshape(-1, 4)].sum(1, dtype=np.int64)


def _first_members(place: Indices, count: int) -> Indices:
    """For every hash, the first image that has it; -1 if there is none."""
    member = np.full(count, -1)
    member[place[::-1]] = np.arange(len(place))[::-1]
    return member


def _spread(examples: list[tuple[Member, Member]]) -> list[tuple[Member, Member]]:
    """Some examples; those across splits first, because they matter most."""
    return sorted(examples, key=lambda pair: pair[0][0] == pair[1][0])[:MAX_EXAMPLES]


def _none() -> Hashes:
    return np.empty(0, np.uint64)
