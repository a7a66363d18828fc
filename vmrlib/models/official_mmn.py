"""The names that the authors' code gives the parameters of MMN (MCG-NJU/MMN at e694e69).

DistilBERT's own names are transformers' there and here, and so are those of its buffers, which only old
versions of transformers save.
"""

from vmrlib.models.mmn import MMNConfig

TEXT, MAP = "text_encoder", "proposal_conv"


def mmn_names(config: MMNConfig) -> dict[str, tuple[str, ...]]:
    """The authors' name of each parameter of our MMN, and of what batch normalisation remembers."""
    pairs = {
        "clips_in": "featpool.conv",
        "contrast_out": f"{MAP}.conv1x1_contrastive",
        "iou_out": f"{MAP}.conv1x1_iou",
        "text.norm": f"{TEXT}.layernorm",
        "text.iou": f"{TEXT}.fc_out1",  # the head numbered 1 is the one of the IoU
        "text.contrast": f"{TEXT}.fc_out2",
    }
    names = {}
    for number in range(config.layers):
        pairs[f"convolutions.layers.{number}"] = f"{MAP}.convs.{number}"
        pairs[f"convolutions.norms.{number}"] = f"{MAP}.bn.{number}"
        for kind in ("running_mean", "running_var", "num_batches_tracked"):
            names[f"convolutions.norms.{number}.{kind}"] = (f"{MAP}.bn.{number}.{kind}",)
    for ours, official in pairs.items():
        names |= {f"{ours}.{kind}": (f"{official}.{kind}",) for kind in ("weight", "bias")}
    return names | {f"text.bert.{name}": (f"{TEXT}.bert.{name}",) for name in distilbert_names(config)}


def distilbert_names(config: MMNConfig) -> list[str]:
    """The names of DistilBERT's parameters; word vectors take the place of its table of tokens."""
    modules = ["embeddings.LayerNorm"]
    for number in range(config.text_layers):
        layer = f"transformer.layer.{number}"
        modules += [f"{layer}.attention.{part}_lin" for part in ("q", "k", "v", "out")]
        modules += [
            f"{layer}.{part}" for part in ("sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm")
        ]
    names = [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]
    names += ["embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"]
    return names if config.pretrained else [*names, "embeddings.word_embeddings.bias"]
