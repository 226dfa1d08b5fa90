"""Any network in an ONNX file as f, made into torch's own layers by onnx2torch so that a gradient passes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from domtrans import DomtransError, Encoder
from domtrans_encoders.window import Share, Shift, Window

Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class OnnxEncoder(Encoder):
    """f: what a network in an ONNX file puts out, e.g. a face recogniser's features.

    Needs the extra ``domtrans[onnx]``. The file is needed again wherever a run with it is loaded.

    ``path``: the ONNX file, with one input of RGB images, B 3 H W or B H W 3. ``output``: name of the tensor in it that is
    taken for the features, averaged over height and width if it has them; by default its first output. ``crop``: share of
    the image's height that is looked at. ``shift``: how far below the image's middle (above, if negative), as a share of its
    height. ``mean``, ``scale``: what the network expects is (x - mean) / scale, for R, G, B of 0 to 255. ``bgr``: it expects
    B, G, R. ``resolution``: side in pixels for a network that works at any; by default the recipe's image size.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        path: str,
        output: str | None = None,
        crop: Share = 1.0,
        shift: Shift = 0.0,
        mean: Channels = [127.5, 127.5, 127.5],  # noqa: B006 - read as a default
        scale: Channels = [127.5, 127.5, 127.5],  # noqa: B006
        bgr: bool = False,
        resolution: Annotated[int, Field(ge=8, le=1024)] | None = None,
    ) -> None:
        super().__init__()
        if 0 in scale:
            raise DomtransError("encoder 'onnx': option 'scale' must not hold 0, by which pixels would be divided")
        # Built on the CPU wherever the engine lays networks out: its weights are the file's.
        with torch.device("cpu"):
            self.body, shape = _converted(path, output)
            self.channels_last = shape[3] == 3 != shape[1]
            height, width = (side or resolution or size for side in (shape[1:3] if self.channels_last else shape[2:]))
            self.window = Window((height, width), crop=crop, shift=shift, mean=mean, scale=scale, bgr=bgr)
            self.feature_size = self._measured(path, size)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, F]."""
        x = self.window(images)
        found = self.body(x.permute(0, 2, 3, 1) if self.channels_last else x)
        return (found.mean((2, 3)) if found.ndim == 4 else found.flatten(1)).float()

    @torch.no_grad()
    def _measured(self, path: str, size: int) -> int:
        """The number of features, from a batch of two: a graph may have been written for batches of one."""
        training = self.training
        try:
            features = self.eval()(torch.zeros(2, 3, size, size))
        except Exception as fault:  # noqa: BLE001 - a stranger's graph may fail in any way
            raise DomtransError(f"{path} does not work on a batch of images ({_short(fault)}); {EXPORT}") from None
        finally:
            self.train(training)
        if features.ndim != 2 or len(features) != 2:
            raise DomtransError(f"{path} gives {list(features.shape)} for a batch of two images, not [2, F]; {EXPORT}")
        return features.shape[1]


EXPORT = "export it with a batch of any size (dynamic_axes or dynamic_shapes in torch.onnx.export)"


def _converted(path: str, output: str | None) -> tuple[Any, list[int]]:
    """The graph up to an output as a torch module, and the four sides of its input, 0 for one that is free."""
    try:
        import onnx
        import onnx2torch
    except ImportError as missing:
        raise DomtransError(
            f"the encoder 'onnx' needs onnx2torch ({missing}); install it with: pip install 'domtrans[onnx]'"
        ) from None
    if not Path(path).is_file():
        raise DomtransError(f"there is no file {path}")
    try:
        model = onnx.load(path)
    except Exception as fault:  # noqa: BLE001 - protobuf and onnx raise whatever a damaged file provokes
        raise DomtransError(f"{path} is not a whole ONNX file ({_short(fault)})") from None
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    sides = [[side.dim_value for side in one.type.tensor_type.shape.dim] for one in inputs]
    if len(sides) != 1 or len(sides[0]) != 4 or 3 not in (sides[0][1], sides[0][3]):
        raise DomtransError(f"{path} must have one input of RGB images, B 3 H W or B H W 3, not {sides}")
    wanted = output or model.graph.output[0].name
    made = {name for node in model.graph.node for name in node.output}
    if wanted not in made:
        outputs = ", ".join(one.name for one in model.graph.output)
        raise DomtransError(f"{path} makes no tensor '{wanted}'; its outputs are {outputs}, and any tensor between will do")
    try:
        known = onnx.shape_inference.infer_shapes(model)  # a tensor between is cut at only where its type is known
        part = onnx.utils.Extractor(known).extract_model([inputs[0].name], [wanted])
        return onnx2torch.convert(part), sides[0]
    except Exception as fault:  # noqa: BLE001 - an operator that is not known, or a graph that makes no sense
        raise DomtransError(f"{path} cannot be made into a torch network by onnx2torch ({_short(fault)})") from None


def _short(fault: Exception) -> str:
    return " ".join(str(fault).split())[:160] or type(fault).__name__
