"""One line about the images of a domain, for people who start a training."""

from __future__ import annotations

from domtrans.data.classes import list_names
from domtrans.data.image_set import ImageSet


def summarize(train: ImageSet, test: ImageSet) -> str:
    """Counts, classes, sizes and notes of a domain.

    Args:
        train: Its training images; those of a target may be without labels.
        test: Its test images.
    """
    named = train if train.classes else test
    count = len(named.classes)
    classes = f"{count} {'class' if count == 1 else 'classes'} ({list_names(named.classes)})" if count else "no classes"
    colour = {1: "grey", 3: "colour"}.get(train.channels, f"{train.channels} channels")
    kind = f"{colour}, {train.shape[-1]} x {train.shape[-2]} pixels"
    where = "" if train.in_memory else ", read from files"
    notes = "".join(f"; {note}" for note in dict.fromkeys(train.notes + test.notes))
    return f"{len(train):,} training and {len(test):,} test images; {classes}; {kind}{where}{notes}"
