"""The line about a domain when training starts."""

import torch

from domtrans.data.image_set import ImageSet
from domtrans.data.summary import summarize


def test_counts_classes_size_and_notes_are_in_one_line():
    def images(count, *notes):
        return ImageSet(torch.zeros(count, 1, 8, 8, dtype=torch.uint8), torch.zeros(count).long(), ("a", "b"), notes=notes)

    line = summarize(images(1200, "one", "two").unlabelled(), images(3, "one"))
    assert line == "1,200 training and 3 test images; 2 classes (a, b); grey, 8 x 8 pixels; one; two"
    assert "; no classes; " in summarize(images(2).unlabelled(), images(2).unlabelled())
