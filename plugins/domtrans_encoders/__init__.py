"""Encoders f from libraries of pretrained networks and from published weights of face recognisers."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the encoders."""
    from domtrans_encoders import (
        concat,
        dlib_resnet,
        ensemble,
        mobilefacenet,
        onnx_models,
        openface,
        predictions,
        sphereface,
        timm_models,
    )

    registry.encoder("timm", timm_models.TimmEncoder)
    registry.encoder("dlib-resnet", dlib_resnet.DlibResNet)
    registry.encoder("mobilefacenet", mobilefacenet.MobileFaceNet)
    registry.encoder("sphereface", sphereface.SphereFace)
    registry.encoder("openface", openface.OpenFace)
    registry.encoder("onnx", onnx_models.OnnxEncoder)
    registry.encoder("concat", concat.Concat)
    registry.encoder("ensemble", ensemble.Ensemble)
    registry.encoder("predictions", predictions.Predictions)
