"""Layers and losses in pure torch: nothing here knows FuxiCTR, data or training."""

from fuxictr_qnn.layers.cross_net import CrossNet
from fuxictr_qnn.layers.gated_cross_net import GatedCrossNet
from fuxictr_qnn.layers.khatri_rao import ACTIVATIONS, HEAD_LAYOUTS, KhatriRaoLayer
from fuxictr_qnn.layers.masked_cross_net import MaskedCrossNet
from fuxictr_qnn.layers.neurons import NEURON_FORMATS, NeuronFormat, QuadraticNeuron
from fuxictr_qnn.layers.qnn_alpha import QuadraticNetwork
from fuxictr_qnn.layers.quadratic_form import QuadraticForm
from fuxictr_qnn.layers.quadratic_qin import POST_ACTIVATIONS, QuadraticLayerQIN, QuadraticNetworkQIN
from fuxictr_qnn.layers.self_ensemble import CONSISTENCY_LOSSES, SelfEnsembleLoss
from fuxictr_qnn.layers.target_attention import ATTENTIONS, AdaptiveSparseTargetAttention, MeanPooling

__all__ = [
    "ACTIVATIONS",
    "ATTENTIONS",
    "AdaptiveSparseTargetAttention",
    "CONSISTENCY_LOSSES",
    "CrossNet",
    "GatedCrossNet",
    "HEAD_LAYOUTS",
    "KhatriRaoLayer",
    "MaskedCrossNet",
    "MeanPooling",
    "NEURON_FORMATS",
    "NeuronFormat",
    "POST_ACTIVATIONS",
    "QuadraticForm",
    "QuadraticLayerQIN",
    "QuadraticNetwork",
    "QuadraticNetworkQIN",
    "QuadraticNeuron",
    "SelfEnsembleLoss",
]
