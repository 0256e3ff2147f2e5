"""Names of weights in files from elsewhere, and what they are called here.

FuxiCTR 2.x: embeddings and FuxiCTR's own layers are called as here, and tests build them from those. The
rest is guessed, not tried on a released file: FuxiCTR 1.x, and the authors' QNN and QIN repositories,
whose checkpoints were not at hand. A name is taken only where the model has a weight of that name and shape,
so a wrong entry carries nothing; `rename` of init_from adds what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

RULES = [  # pattern, replacement; several may apply to one name
    (r"^module\.", ""),  # saved by DataParallel or DistributedDataParallel
    (r"^_orig_mod\.", ""),  # saved from torch.compile
    # FuxiCTR 1.x
    (r"(embedding_layer\.embedding_layer)\.embedding_layer\.", r"\1.embedding_layers."),
    (r"(embedding_layer\.embedding_layer)\.seq_encoder_layer\.", r"\1.feature_encoders."),
    (r"^(embedding_layer)\.embedding_layers\.", r"\1.embedding_layer.embedding_layers."),
    (r"^dnn\.dnn\.", "mlp.mlp."),
    (r"^dnn\.dnn\.", "dnn.mlp."),
    (r"^dnn\.", "mlp."),
    (r"^fm_layer\.", "fm."),
    (r"^cross_?net\.cross_net\.", "crossnet.cross_layers."),
    (r"^crossnet\.", "cross_net."),
    (r"^cross_net\.", "crossnet."),
    # the authors' quadratic networks
    (r"^(qnn|QNN|QNN_alpha|qnn_alpha|mlp|quadratic_net\w*)\.", "network."),
    (r"^network\.(fc|final_fc|output_layer|linear_out)\.", "fc."),
    (r"^network\.(layer|qnn|QNN|networks?|blocks)\.(?=\d)", "network.layers."),
    (r"^layers?\.(?=\d)", "network.layers."),
    (r"^(network\.layers\.\d+)\.(w|W|fc|proj|linear\.0|layer\.0|linear_layer)\.", r"\1.linear."),
    (r"^(network\.layers\.\d+)\.(norm|batch_norm|bn_layer|linear\.1|layer\.1)\.", r"\1.bn."),
    (r"^network\.(norm|batch_norm|bn|layer_norm)\.(?=\d)", "network.norms."),
    (r"^network\.(norm|batch_norm|bn)\.(\d+)\.", r"network.layers.\2.bn."),
    (r"^network\.(activation|prelu)\.(?=\d)", "network.activations."),
    # the authors' target attention
    (r"^(target_attention|asta|ASTA|attn|attention_layer|multi_?head_?\w*attention)\.", "attention."),
    (r"^attention\.(w_|W)([qkvo])\.", r"attention.W_\2."),
    (r"^attention\.(query|key|value|out)_?(proj|linear|layer)?\.", lambda m: f"attention.W_{m[1][0]}."),
]  # fmt: skip
_COMPILED = [(re.compile(pattern), replacement) for pattern, replacement in RULES]
_MOST_RULES = 4  # that apply to one name


def renamed(
    source: Mapping[str, Tensor],
    wanted: Mapping[str, tuple[int, ...]],
    rename: Mapping[str, str],
    guess: bool = True,
) -> dict[str, Tensor]:
    """The source's weights under the model's names; those that are no weight of the model keep theirs.

    Args:
        wanted: name -> shape of the model's weights; tables of embeddings may have other numbers of rows.
        rename: the user's own begins of names, applied first.
        guess: whether RULES apply; the names of a run of this package need none.
    """
    found: dict[str, Tensor] = {}
    left: dict[str, Tensor] = {}
    for name, tensor in source.items():
        for old, new in rename.items():
            if name.startswith(old):
                name = new + name[len(old) :]
                break
        (found if name in wanted else left)[name] = tensor
    for name, tensor in left.items():
        others = _other_names(name) if guess else ()
        free = (other for other in others if other in wanted and other not in found)
        fitting = (other for other in free if _fits(wanted[other], tensor, other))
        found[next(fitting, name)] = tensor
    return found


def _fits(shape: tuple[int, ...], tensor: Tensor, name: str) -> bool:
    from_row = 1 if ".embedding_layers." in name else 0
    return len(shape) == tensor.ndim and tuple(tensor.shape[from_row:]) == tuple(shape[from_row:])


def _other_names(name: str) -> Iterator[str]:
    """What the rules make of a name, those that fewer rules give first."""
    known, newest = {name}, [name]
    for _ in range(_MOST_RULES):
        made = [pattern.sub(replacement, old) for old in newest for pattern, replacement in _COMPILED]
        newest = [new for new in dict.fromkeys(made) if new not in known]
        known.update(newest)
        yield from newest
