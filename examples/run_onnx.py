"""Transfer a picture with an exported model; numpy, Pillow and onnxruntime are all that it needs.

python examples/run_onnx.py MODEL.onnx PICTURE OUTPUT
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(model: str, picture: str, output: str) -> None:
    """What `domtrans transfer` does, without domtrans and without torch."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]  # [N, size, size, 3], of any N
    square = ImageOps.fit(Image.open(picture).convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    (made,) = session.run(None, {"images": np.asarray(square)[None]})  # uint8 in, uint8 out
    Image.fromarray(made[0, :, :, 0] if made.shape[3] == 1 else made[0]).save(output)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
