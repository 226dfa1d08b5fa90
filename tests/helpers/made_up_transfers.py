"""Synthetic transfers with known metrics."""

from domtrans import Encoder, Generator


class Headless(Encoder):
    """An f with two features and no head."""

    channels, feature_size = 3, 2

    def forward(self, images):
        return images.mean((1, 2))[:, :2]


class ImageFunction(Generator):
    """G as a function of the grey image."""

    reads_images = True

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images[:, :1])
