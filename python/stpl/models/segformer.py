"""SegFormer B0 to B5, built and computed by the ``transformers`` library.

Source: E. Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers", NeurIPS
2021. The sizes are those of the paper's table 6; published weights come as folders of ``transformers``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from stpl.errors import UserError

SIZES: dict[str, dict[str, Any]] = {
    "segformer-b0": {"depths": [2, 2, 2, 2], "hidden_sizes": [32, 64, 160, 256], "decoder_hidden_size": 256},
    "segformer-b1": {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 256},
    "segformer-b2": {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
    "segformer-b3": {"depths": [3, 4, 18, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
    "segformer-b4": {"depths": [3, 8, 27, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
    "segformer-b5": {"depths": [3, 6, 40, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
}

OTHER_SIZE = "segformer"
"""The architecture's name where the sizes are none of :data:`SIZES`; they are then its options."""

# Options that a checkpoint may set: what shapes the network or its numbers, and nothing else of the library's.
_OPTIONS = (
    "num_encoder_blocks",
    "depths",
    "sr_ratios",
    "hidden_sizes",
    "patch_sizes",
    "strides",
    "num_attention_heads",
    "mlp_ratios",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "drop_path_rate",
    "layer_norm_eps",
    "decoder_hidden_size",
)

# From the names in published folders to those of the library's modules since its version 5.
_RENAMED = (
    (r"segformer\.encoder\.patch_embeddings\.(\d+)\.", r"segformer.stages.\1.patch_embeddings."),
    (r"segformer\.encoder\.block\.(\d+)\.", r"segformer.stages.\1.blocks."),
    (r"segformer\.encoder\.layer_norm\.(\d+)\.", r"segformer.stages.\1.layer_norm."),
    (r"\.attention\.self\.query\.", ".attention.q_proj."),
    (r"\.attention\.self\.key\.", ".attention.k_proj."),
    (r"\.attention\.self\.value\.", ".attention.v_proj."),
    (r"\.attention\.self\.sr\.", ".attention.sequence_reduction.sequence_reduction."),
    (r"\.attention\.self\.layer_norm\.", ".attention.sequence_reduction.layer_norm."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.mlp\.dense(\d)\.", r".mlp.fc\1."),
    (r"\.layer_norm_1\.", ".layernorm_before."),
    (r"\.layer_norm_2\.", ".layernorm_after."),
    (r"decode_head\.linear_c\.", "decode_head.linear_projections."),
)


class SegFormer(nn.Module):
    """The network of ``transformers``, cut between the decoder's fused features and its classifier.

    The input is ``(N, 3, H, W)`` float32, RGB, in ImageNet's normalisation; any size of at least 32 pixels a side.
    ``features`` gives the all-MLP decoder's fused map ``(N, decoder_hidden_size, ceil(H/4), ceil(W/4))``, after its
    batch normalisation and rectifier; ``logits`` applies dropout (in training mode) and the classifier, at the same
    size. Names in its state dict are those of :class:`transformers.SegformerForSemanticSegmentation`.

    Args:
        num_classes: C.
        options: of :class:`transformers.SegformerConfig`; its own defaults are B0's.
    """

    stride = 4

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__()
        config = _config(num_classes, options)
        try:
            network = SegformerForSemanticSegmentation(config)
        except (IndexError, TypeError, ValueError) as error:  # such as fewer sizes than stages
            raise UserError(f"segformer: options that do not make a network: {error}") from None
        self.num_classes = num_classes
        self.feature_channels = int(config.decoder_hidden_size)
        self.segformer = network.segformer
        self.decode_head = network.decode_head

    def features(self, images: Tensor) -> Tensor:
        head = self.decode_head
        maps: list[Tensor] = []
        x = images
        for stage, projection in zip(self.segformer.stages, head.linear_projections, strict=True):
            x = stage(x)
            projected = projection(x).transpose(1, 2).unflatten(2, x.shape[-2:])
            maps.append(projected if not maps else _resize_like(projected, maps[0]))
        fused: Tensor = head.activation(head.batch_norm(head.linear_fuse(torch.cat(maps[::-1], dim=1))))
        return fused

    def logits(self, features: Tensor) -> Tensor:
        scores: Tensor = self.decode_head.classifier(self.decode_head.dropout(features))
        return scores

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))


def published_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a published folder, of any version of ``transformers``, under today's names."""
    renamed = {}
    for name, tensor in weights.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def size_of(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The architecture's name and options for the ``config.json`` of a published folder.

    Raises:
        UserError: the folder is of another kind of network.
    """
    kind = config.get("model_type")
    if kind != "segformer":
        raise UserError(f"expected a model of type 'segformer' in config.json; found {kind!r}")
    options = {name: config[name] for name in _OPTIONS if name in config}
    wanted = _config(2, options).to_dict()
    for name, size in SIZES.items():
        known = _config(2, size).to_dict()
        if all(_plain(known[key]) == _plain(wanted[key]) for key in _OPTIONS):
            return name, {}
    return OTHER_SIZE, options


def _config(num_classes: int, options: Mapping[str, Any]) -> SegformerConfig:
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise UserError(f"segformer: expected options of {', '.join(_OPTIONS)}; found {', '.join(unknown)}")
    try:
        return SegformerConfig.from_dict({**options, "num_labels": num_classes}, attn_implementation="sdpa")
    except (StrictDataclassError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"segformer: options that transformers refuses: {reason[:200]}") from None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _resize_like(x: Tensor, reference: Tensor) -> Tensor:
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=False)
