"""QNN, a stack of quadratic neurons of one of the paper's formats."""

from __future__ import annotations

from torch import Tensor, nn

from fuxictr_qnn.layers import QuadraticNeuron
from fuxictr_qnn.layers.dropout import Dropout
from fuxictr_qnn.layers.neurons import neuron_format
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import activation
from fuxictr_qnn.models.requirements import require_dropout, require_positive

_NO_ACTIVATION = (None, "None", "none", "")  # the text is how YAML's null is often misspelt


class QNN(RankModel):
    r"""Stacked quadratic neurons on the embeddings, to compare their 25 formats.

    .. math:: X_{l+1} = \mathrm{drop}(\sigma(\mathrm{BN}(\Phi_l(X_l)))), \quad
              \hat y = \mathrm{sigmoid}(w^\top X_{L+1} + b)

    with :math:`\Phi` a format of layers.NEURON_FORMATS. Source: Li et al., KDD 2025 (arXiv
    2505.17999), section 3 and table 1.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, unless a feature sets its own.
        neuron_type: T1 ... T30, or T17_code.
        num_layers: L; the paper uses 3.
        hidden_activations: the post-activation, by name; null for none ("w/o Act").
        batch_norm: batch norm before the post-activation, a choice of its own. In the released
            runs T3, T4, T5, T7 and T8 had it with the post-activation and lacked it without.
        net_dropout: dropout after each layer.
        bilinear_dim: the width to which the formats with D^3 weights (T1, T2, T6) first compress
            the embeddings; null leaves them as they are. The paper's runs used 100.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's.

    Raises:
        ValueError: an unknown format or activation, an odd width where a format needs halves.
    """

    def __init__(
        self,
        feature_map,
        model_id="QNN",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        neuron_type: str = "T19",
        num_layers=3,
        hidden_activations=None,
        batch_norm=False,
        net_dropout=0.1,
        bilinear_dim=None,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout)
        require_positive(num_layers=num_layers)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        if bilinear_dim is not None and bilinear_dim < 1:
            raise ValueError(f"bilinear_dim must be at least 1, or null, got {bilinear_dim}")
        is_bilinear = neuron_format(neuron_type).is_bilinear
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.compression = None
        if bilinear_dim is not None and is_bilinear:
            self.compression = nn.Linear(width, bilinear_dim, bias=False)
            width = bilinear_dim
        layers: list[nn.Module] = []
        for _ in range(num_layers):
            layers.append(QuadraticNeuron(neuron_type, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            if hidden_activations not in _NO_ACTIVATION:
                layers.append(activation("hidden_activations", hidden_activations, width))
            if net_dropout:
                layers.append(Dropout(net_dropout))
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(width, 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X: dict[str, Tensor], count: int) -> list[Tensor]:
        x = self.embedding_layer(X, flatten_emb=True)
        if self.compression is not None:
            x = self.compression(x)
        return [self.fc(self.layers(x)) for _ in range(count)]
