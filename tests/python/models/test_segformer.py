"""SegFormer: the numbers of `transformers`, cut in two, under all the names that its weights have had."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from stpl.errors import UserError
from stpl.models import build_model
from stpl.models.segformer import SegFormer, published_names, size_of

TINY = {"depths": [1, 2, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4]}
OPTIONS = {**TINY, "decoder_hidden_size": 16}


@pytest.fixture(scope="module")
def reference() -> SegformerForSemanticSegmentation:
    torch.manual_seed(1)
    network = SegformerForSemanticSegmentation(SegformerConfig(**OPTIONS, num_labels=5)).eval()
    torch.nn.init.normal_(network.decode_head.batch_norm.running_mean)  # not the trivial statistics
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture(scope="module")
def model(reference: SegformerForSemanticSegmentation) -> SegFormer:
    ours = SegFormer(5, **OPTIONS)
    ours.load_state_dict(reference.state_dict())
    return ours.eval()


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_logits_are_those_of_transformers(
    model: SegFormer, reference: SegformerForSemanticSegmentation, size: tuple[int, int]
) -> None:
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = reference(pixel_values=images).logits
        features = model.features(images)
        assert features.shape == (2, model.feature_channels, *expected.shape[-2:])
        assert expected.std() > 0.1
        torch.testing.assert_close(model.logits(features), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-5)


def test_published_folders_use_older_names_for_the_same_tensors(model: SegFormer) -> None:
    published = {
        "segformer.encoder.patch_embeddings.1.proj.weight",
        "segformer.encoder.patch_embeddings.1.layer_norm.bias",
        "segformer.encoder.block.1.1.layer_norm_1.weight",
        "segformer.encoder.block.1.1.attention.self.query.weight",
        "segformer.encoder.block.1.1.attention.self.sr.bias",
        "segformer.encoder.block.1.1.attention.self.layer_norm.weight",
        "segformer.encoder.block.1.1.attention.output.dense.bias",
        "segformer.encoder.block.1.1.layer_norm_2.weight",
        "segformer.encoder.block.1.1.mlp.dense1.weight",
        "segformer.encoder.block.1.1.mlp.dwconv.dwconv.weight",
        "segformer.encoder.block.1.1.mlp.dense2.bias",
        "segformer.encoder.layer_norm.3.bias",
        "decode_head.linear_c.0.proj.weight",
        "decode_head.linear_fuse.weight",
        "decode_head.batch_norm.running_var",
        "decode_head.classifier.bias",
    }
    today = published_names(dict.fromkeys(published, torch.zeros(1)))
    assert len(today) == len(published)
    assert set(today) <= set(model.state_dict())
    assert published_names(model.state_dict()).keys() == model.state_dict().keys()


def test_training_mode_drops_paths_and_features(model: SegFormer) -> None:
    images = torch.randn(1, 3, 64, 64)
    features = model.features(images)
    assert torch.equal(model.logits(features), model.logits(features))
    model.train()
    try:
        torch.manual_seed(0)
        assert not torch.equal(model.logits(features), model.logits(features))
        model.decode_head.batch_norm.eval()
        assert not all(torch.equal(model.features(images), features) for _ in range(20))
    finally:
        model.eval()


# Millions of parameters, with 19 classes: table 6 of the paper.
@pytest.mark.parametrize(("size", "millions"), [("b0", 3.7), ("b1", 13.7), ("b2", 27.4), ("b3", 47.2), ("b5", 84.6)])
def test_sizes_are_those_of_the_paper(size: str, millions: float) -> None:
    with torch.device("meta"):
        network = build_model(f"segformer-{size}", 19)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_a_published_configuration_is_recognised() -> None:
    assert size_of({"model_type": "segformer", "id2label": {}}) == ("segformer-b0", {})
    wide = SegformerConfig(depths=[3, 4, 18, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768)
    assert size_of(wide.to_dict()) == ("segformer-b3", {})
    name, options = size_of({"model_type": "segformer", **OPTIONS})
    assert (name, options) == ("segformer", OPTIONS)
    with pytest.raises(UserError, match=r"expected a model of type 'segformer' in config\.json; found 'mit'"):
        size_of({"model_type": "mit"})


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UserError, match=re.escape("found depth")):
        build_model("segformer", 3, {"depth": [1]})
    with pytest.raises(UserError, match="transformers refuses"):
        build_model("segformer", 3, {"depths": "many"})
    with pytest.raises(UserError, match="do not make a network"):
        build_model("segformer", 3, {"depths": [1]})
    with pytest.raises(UserError, match="expected no options"):
        build_model("compact", 3, {"depths": [1]})
