"""Transfer an image with an exported model. It needs only numpy, Pillow and onnxruntime.

python examples/run_onnx.py MODEL.onnx IMAGE OUTPUT
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(model: str, image: str, output: str) -> None:
    """Do what `domtrans transfer` does, without domtrans and torch."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]  # [N, size, size, 3] for any N
    square = ImageOps.fit(Image.open(image).convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    (pixels,) = session.run(None, {"images": np.asarray(square)[None]})  # uint8 in, uint8 out
    Image.fromarray(pixels[0, :, :, 0] if pixels.shape[3] == 1 else pixels[0]).save(output)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
