"""Any network in an ONNX file as f, converted to torch layers by onnx2torch so that it is differentiable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from domtrans import DomtransError, Encoder, reason_of
from domtrans_encoders.window import Crop, Shift, Window

Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class OnnxEncoder(Encoder):
    """f: the output of a network in an ONNX file, e.g. the features of a face recogniser.

    Needs the extra ``domtrans[onnx]``. Loading a run with this encoder needs the file again.

    Args:
        path: The ONNX file; its network must have one input of RGB images, [B, 3, H, W] or [B, H, W, 3].
        output: Name of the tensor used as features, averaged over height and width if it has them; by default the
            network's first output.
        crop: Height of the part that the network sees, as a share of the image's height.
        shift: How far the part's centre lies below the image's centre, as a share of the height; above, if negative.
        mean: The network expects (x - mean) / scale for x from 0 to 255; one number for each of R, G, B.
        scale: See ``mean``; not 0.
        bgr: Whether the network expects B, G, R.
        resolution: Input side in pixels, for a network that accepts any; by default the recipe's image size.

    Raises:
        DomtransError: If onnx2torch is not installed, the file cannot be read or converted, or the network does not work
            on a batch of images.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        path: str,
        output: str | None = None,
        crop: Crop = 1.0,
        shift: Shift = 0.0,
        mean: Channels = [127.5, 127.5, 127.5],  # noqa: B006 - read as a default
        scale: Channels = [127.5, 127.5, 127.5],  # noqa: B006
        bgr: bool = False,
        resolution: Annotated[int, Field(ge=8, le=1024)] | None = None,
    ) -> None:
        super().__init__()
        if 0 in scale:
            raise DomtransError("encoder 'onnx': option 'scale' must not contain 0; pixels are divided by it")
        # On the CPU even where the engine builds on the meta device: the weights come from the file.
        with torch.device("cpu"):
            self.body, shape = _convert(path, output)
            self.channels_last = shape[3] == 3 != shape[1]
            height, width = (side or resolution or size for side in (shape[1:3] if self.channels_last else shape[2:]))
            self.window = Window((height, width), crop=crop, shift=shift, mean=mean, scale=scale, bgr=bgr)
            self.feature_size = self._count_features(path, size)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, F]."""
        x = self.window(images)
        output = self.body(x.permute(0, 2, 3, 1) if self.channels_last else x)
        return (output.mean((2, 3)) if output.ndim == 4 else output.flatten(1)).float()

    @torch.no_grad()
    def _count_features(self, path: str, size: int) -> int:
        """The number of features, found with a batch of two: some graphs work for batches of one only."""
        training = self.training
        try:
            features = self.eval()(torch.zeros(2, 3, size, size))
        except Exception as error:  # noqa: BLE001 - any graph may fail in any way
            raise DomtransError(f"{path} does not work on a batch of images ({reason_of(error)}); {EXPORT_ADVICE}") from None
        finally:
            self.train(training)
        if features.ndim != 2 or len(features) != 2:
            raise DomtransError(f"{path} gives {list(features.shape)} for a batch of two images, not [2, F]; {EXPORT_ADVICE}")
        return features.shape[1]


EXPORT_ADVICE = "export it with a dynamic batch size (dynamic_axes or dynamic_shapes in torch.onnx.export)"


def _convert(path: str, output: str | None) -> tuple[Any, list[int]]:
    """The graph up to an output as a torch module, and its four input dimensions, 0 for dynamic ones."""
    try:
        import onnx
        import onnx2torch
    except ImportError as error:
        raise DomtransError(
            f"the encoder 'onnx' needs onnx2torch ({error}); install it with: pip install 'domtrans[onnx]'"
        ) from None
    if not Path(path).is_file():
        raise DomtransError(f"there is no file {path}")
    try:
        model = onnx.load(path)
    except Exception as error:  # noqa: BLE001 - protobuf and onnx raise many exceptions for damaged files
        raise DomtransError(f"{path} is not a complete ONNX file ({reason_of(error)})") from None
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    shapes = [[dimension.dim_value for dimension in value.type.tensor_type.shape.dim] for value in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or 3 not in (shapes[0][1], shapes[0][3]):
        raise DomtransError(f"{path} must have one input of RGB images, [B, 3, H, W] or [B, H, W, 3], not {shapes}")
    wanted = output or model.graph.output[0].name
    if wanted not in {name for node in model.graph.node for name in node.output}:
        outputs = ", ".join(value.name for value in model.graph.output)
        raise DomtransError(f"{path} has no tensor '{wanted}'; use an output ({outputs}) or any intermediate tensor")
    try:
        typed = onnx.shape_inference.infer_shapes(model)  # the extractor needs the type of an intermediate tensor
        part = onnx.utils.Extractor(typed).extract_model([inputs[0].name], [wanted])
        return onnx2torch.convert(part), shapes[0]
    except Exception as error:  # noqa: BLE001 - an unsupported operator, or an invalid graph
        raise DomtransError(f"onnx2torch cannot convert {path} to torch ({reason_of(error)})") from None
