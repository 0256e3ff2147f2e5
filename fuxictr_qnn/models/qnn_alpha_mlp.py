"""QNN-alpha beside an MLP."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.quadratic import QuadraticModel


class QNNalpha_MLP(QuadraticModel):
    r"""Two parallel networks on the same embeddings, whose logits add up.

    .. math:: \hat y = \sigma(w^\top X_{L+1} + b + \mathrm{MLP}(e_1 \Vert \dots \Vert e_F))

    The authors have a config for such a model but neither describe it nor report a result; adding the
    logits, as DeepFM and xDeepFM do, is our reading.

    The passes of the self-ensemble loss share the embeddings and QNN-alpha's first projection.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        hidden_units: widths of the MLP's hidden layers.
        hidden_activations: one name, or one a layer.
        net_dropout: dropout of both networks.
        batch_norm: batch norm of both networks.
        learning_rate: of the optimizer.
        **kwargs: QuadraticModel's.

    Raises:
        ValueError: unknown activations, and QuadraticModel's.
    """

    def __init__(
        self,
        feature_map,
        model_id="QNNalpha_MLP",
        gpu=-1,
        learning_rate=1e-3,
        hidden_units: Sequence[int] = (64, 64, 64),
        hidden_activations="ReLU",
        net_dropout=0.1,
        batch_norm=False,
        **kwargs,
    ):
        super().__init__(
            feature_map, model_id=model_id, gpu=gpu, net_dropout=net_dropout, batch_norm=batch_norm, **kwargs
        )
        self.mlp = perceptron(
            self.width, hidden_units, hidden_activations, net_dropout, batch_norm, output_dim=1
        )
        self.fc = nn.Linear(self.width, 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        x = self.embedding_layer(X, flatten_emb=True)
        return [self.fc(out) + self.mlp(x) for out in self.network.passes(x, count)]
