"""Measure the agreement of two annotators on the labels of Labeled Faces in the Wild.

python benchmarks/looks.py

Two annotators independently labelled the same 597 photographs of the test people (``looks_twice.csv``). The domain ``lfw`` has
only the labels on which they agree. Both tables have hashes of the photographs' file names, which are names of people.
"""

import csv
from collections import Counter
from pathlib import Path

from domtrans_faces.domains.lfw_labels import labels_by_photo

ANNOTATIONS = Path(__file__).with_name("looks_twice.csv")


def kappa(pairs: list[tuple[str, str]]) -> float:
    """Cohen's kappa: agreement beyond chance, 1 for complete agreement."""
    first, second = (Counter(labels) for labels in zip(*pairs, strict=True))
    chance = sum(first[word] * second[word] for word in first) / len(pairs) ** 2
    agreed = sum(one == other for one, other in pairs) / len(pairs)
    return (agreed - chance) / (1 - chance)


def main() -> None:
    """Print a table in Markdown, and check the shipped labels against both."""
    rows = list(csv.DictReader(ANNOTATIONS.read_text(encoding="ascii").splitlines()))
    labels = {(row["photograph"], row["annotator"]): row for row in rows}
    names = sorted({row["photograph"] for row in rows})
    print("| | agreement | kappa | counts by the first / second annotator |\n|---|---|---|---|")
    for attribute in list(rows[0])[2:]:
        pairs = [(labels[name, "1"][attribute], labels[name, "2"][attribute]) for name in names]
        for name, (one, other) in zip(names, pairs, strict=True):
            assert labels_by_photo()[name][attribute] == (one if one == other else ""), f"{name}: {attribute}"
        same = sum(one == other for one, other in pairs) / len(pairs)
        first, second = (Counter(labels) for labels in zip(*pairs, strict=True))
        often = ", ".join(f"{word or 'not visible'} {first[word]}/{second[word]}" for word in sorted(first | second))
        print(f"| `{attribute}` | {100 * same:.1f} % | {kappa(pairs):.2f} | {often} |")


if __name__ == "__main__":
    main()
