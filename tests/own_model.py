"""A model class of somebody's own, in a checkout laid out as FuxiCTR's model_zoo."""

from __future__ import annotations

from pathlib import Path

TINY = """
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel


class Tiny(BaseModel):
    def __init__(self, feature_map, model_id="Tiny", gpu=-1, learning_rate=1e-3, embedding_dim=10,
                 hidden_units=[64], **kwargs):
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        width = feature_map.sum_emb_out_dim()
        self.mlp = MLP_Block(input_dim=width, output_dim=1, hidden_units=hidden_units)
        self.compile(kwargs["optimizer"], kwargs["loss"], learning_rate)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs):
        emb = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
        return {"y_pred": self.output_activation(self.mlp(emb))}
"""


def write_zoo(folder: Path) -> None:
    """The class Tiny in folder/Tiny/src."""
    source = folder / "Tiny" / "src"
    source.mkdir(parents=True)
    (source / "Tiny.py").write_text(TINY)
