"""Layers and losses in pure torch: nothing here knows FuxiCTR, data or training."""

from fuxictr_qnn.layers.khatri_rao import ACTIVATIONS, HEAD_LAYOUTS, KhatriRaoLayer
from fuxictr_qnn.layers.neurons import NEURON_FORMATS, NeuronFormat, QuadraticNeuron
from fuxictr_qnn.layers.qnn_alpha import QuadraticNetwork
from fuxictr_qnn.layers.quadratic_form import QuadraticForm
from fuxictr_qnn.layers.self_ensemble import CONSISTENCY_LOSSES, SelfEnsembleLoss

__all__ = [
    "ACTIVATIONS",
    "CONSISTENCY_LOSSES",
    "HEAD_LAYOUTS",
    "KhatriRaoLayer",
    "NEURON_FORMATS",
    "NeuronFormat",
    "QuadraticForm",
    "QuadraticNetwork",
    "QuadraticNeuron",
    "SelfEnsembleLoss",
]
