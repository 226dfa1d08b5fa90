"""How far can the labels of Labeled Faces in the Wild be trusted? The test people were labelled twice.

python benchmarks/looks.py

Two annotators looked at the same 597 photographs without knowing of each other (``looks_twice.csv``). Of these ``lfw`` says
only what both said.
"""

import csv
from collections import Counter
from pathlib import Path

from domtrans_faces.domains.lfw_labels import labels_by_photo

TWICE = Path(__file__).with_name("looks_twice.csv")


def kappa(pairs: list[tuple[str, str]]) -> float:
    """Cohen's: how far two agree beyond what their frequencies alone would give; 1 if always."""
    first, second = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(first[word] * second[word] for word in first) / len(pairs) ** 2
    agreed = sum(one == other for one, other in pairs) / len(pairs)
    return (agreed - chance) / (1 - chance)


def main() -> None:
    """Print a table in Markdown, and check the shipped labels against both."""
    rows = list(csv.DictReader(TWICE.read_text(encoding="ascii").splitlines()))
    said = {(row["photograph"], row["annotator"]): row for row in rows}
    names = sorted({row["photograph"] for row in rows})
    print("| | agreement | kappa | counts by the first / second annotator |\n|---|---|---|---|")
    for attribute in list(rows[0])[2:]:
        pairs = [(said[name, "1"][attribute], said[name, "2"][attribute]) for name in names]
        for name, (one, other) in zip(names, pairs, strict=True):
            assert labels_by_photo()[name][attribute] == (one if one == other else ""), f"{name}: {attribute}"
        same = sum(one == other for one, other in pairs) / len(pairs)
        first, second = (Counter(side) for side in zip(*pairs, strict=True))
        often = ", ".join(f"{word or 'not visible'} {first[word]}/{second[word]}" for word in sorted(first | second))
        print(f"| `{attribute}` | {100 * same:.1f} % | {kappa(pairs):.2f} | {often} |")


if __name__ == "__main__":
    main()
