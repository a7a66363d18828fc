"""Networks of the released MSAT as files hold them, and the two sides that must compute the same.

Every `msat_*` file holds one network with its weights, a batch, and what the released code computes of them.
The reader takes all sizes from the file; each side runs the network and calls its outputs what the file calls
them.
"""

import importlib
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vmrlib.data.clips import pool_boundary_points
from vmrlib.models.attention import word_bias
from vmrlib.models.msat import MSATConfig
from vmrlib.models.official import from_official, msat_names

ROOT = Path(__file__).resolve().parent.parent.parent
ATOL = 3e-5  # of activations and maps, as the README beside the figures says
DATASETS = {"TACoS": {"positions": 194, "peak": 0.7}, "ActivityNet": {"positions": 116, "peak": 0.6}}


# The transcriptions are no part of the package; they import each other as scripts in benchmarks/ do.
sys.path.append(str(ROOT / "benchmarks"))
plain = importlib.import_module("reference.msat")


@dataclass
class Case:
    """One file: its tensors, what its metadata say, and the sizes of its network."""

    name: str
    data: dict
    about: dict

    video_in = "visual_1x1_object"  # the authors' name of the layer that reads the video

    @property
    def params(self):
        return json.loads(self.about["params"])

    @property
    def weights(self):
        return {
            key[len("weights/") :]: value for key, value in self.data.items() if key.startswith("weights/")
        }

    @property
    def state(self):
        """What a checkpoint of the released code holds."""
        return self.weights

    @property
    def loss_weights(self):
        given = json.loads(self.about["W"])
        return tuple(given[f"W{number}"] for number in range(1, 5))

    @property
    def shared_sizes(self):
        """Numbers that every model of ours has; those that weights tell are taken from the weights."""
        params, weights = self.params, self.weights
        return {
            "clips": int(self.about["clips"]),
            "stride": int(self.about["stride"]),
            "dim_video": weights[f"bert_layer.vlbert.{self.video_in}.weight"].shape[1],
            "dim_words": weights["bert_layer.vlbert.word_mapping.weight"].shape[1],
            "vocabulary": len(weights["bert_layer.final_mlp.4.bias"]),
            "dim": params["hidden_size"],
            "heads": params["num_attention_heads"],
            "dim_ffn": params["intermediate_size"],
            "dim_head": params["CLASSIFIER_HIDDEN_SIZE"],
            "dropout": params["hidden_dropout_prob"],
            "weights": self.loss_weights,
            **DATASETS[self.about["dataset"]],
        }

    @property
    def sizes(self):
        """Numbers by the names that both sides share."""
        return self.shared_sizes | {"layers": self.params["num_hidden_layers"]}

    def __getattr__(self, name):
        """`case.word_mask` is the tensor `in/word_mask`."""
        try:
            return self.data[f"in/{name}"]
        except KeyError:
            raise AttributeError(name) from None


def files(golden, pattern):
    """Every file of that name in the folder; whoever runs through them to the end has run them all."""
    found, count = sorted(golden.glob(f"msat/{pattern}.safetensors")), 0
    if not found:
        pytest.fail(f"no reference figures {golden / 'msat' / pattern}.safetensors")
    for path in found:
        with safe_open(path, "pt") as file:
            about = file.metadata()
        yield path.stem, load_file(path), about
        count += 1
    print(f"{pattern}: {count} of {len(found)} files")
    assert count == len(found)


def cases(golden, pattern="msat_*", kind=Case):
    """Every network in the folder."""
    for name, data, about in files(golden, pattern):
        yield kind(name, data, about)


class Plain:
    """The transcription in benchmarks/reference."""

    reference = plain

    def __init__(self, case):
        self.case, self.sizes = case, self.reference.Sizes(**case.sizes)
        self.model = self.reference.load_official(self.build(), case.state)
        self.model.candidates.copy_(case.iou_mask_map.bool())

    def build(self):
        return plain.PlainMSAT(self.sizes)

    def inputs(self):
        case = self.case
        return case.visual_input, case.word_vectors, case.txt_mask, case.word_mask

    def run(self, training):
        """Outputs by the names in the file, and the losses."""
        case = self.case
        self.out = out = self.model.train(training)(*self.inputs())
        losses = self.reference.losses(
            out,
            plain.targets(case.gt_times, self.sizes.points, self.sizes.peak),
            case.gt_times,
            case.word_label,
            case.word_mask,
            self.sizes,
            self.model.candidates,
        )
        named = {
            "pooled": out["pooled"],
            "embed_text": out["embed_text"],
            "embed_visual": out["embed_video"],
            "visual_out": out["encoded"][0],
            "text_out": out["encoded"][1],
            "stage_sec": out["stages"],
            "logits_text": out["word_logits"],
            "logits_visual": out["stage_logits"],
            "joint_prob": out["stage_logits"].sigmoid(),
            "logits_iou": out["moment"],
            "s_e_time": out["boundaries"],
            "score_map": out["score_map"],
        }
        return named | self.encoder(out), losses

    def encoder(self, out):
        """What is in the file about the layers."""
        named = {}
        for number, (text, visual) in enumerate(out["layers"]):
            named |= {f"layer{number}_text": text, f"layer{number}_visual": visual}
        for number, (text, visual) in enumerate(out["attention"]):
            named |= {f"attn{number}_text": text, f"attn{number}_visual": visual}
        return named

    def remembered(self):
        """What the file says about the model after a step: of MSAT nothing."""
        return {}

    def proposals(self, sample, top):
        duration = self.case.duration[sample].double()
        moments, scores = plain.proposals(self.out, duration, sample, self.sizes.points - 1)
        return moments[:top], scores[:top]

    def gradients(self):
        """By the authors' names, of all parameters that have one."""
        parameters, name_of = dict(self.model.named_parameters()), self.reference.plain_name
        found = {name: parameters.get(name_of(name)) for name in self.case.weights}
        return {name: p.grad for name, p in found.items() if p is not None and p.requires_grad}


class Ours:
    """vmrlib's model, asked for every moment where the file has them all."""

    name, names = "msat", staticmethod(msat_names)
    kind = MSATConfig

    def __init__(self, case):
        changes = self.changes(case)
        dense = re.fullmatch(r"dense j-i in 1\.\.(\d+)", case.about["iou_mask"])
        if dense:
            changes["candidates"] = ((int(dense[1]), 1),)
        published = {"TACoS": self.kind.tacos, "ActivityNet": self.kind.activitynet}
        self.case, self.config = case, published[case.about["dataset"]](**changes)
        self.model = from_official(self.name, case.state, self.config)
        self.batch = {
            "video": case.visual_input,
            "words": case.word_vectors,
            "word_mask": case.txt_mask.bool(),
            "duration": case.duration.double(),
            "moments_cell": case.gt_times.double(),
            "hidden_words": case.word_mask.bool(),
            "word_labels": case.word_label,
        }

    def changes(self, case):
        """In what the network of the file differs from the published one."""
        return case.sizes

    def run(self, training):
        """Outputs by the names in the file, and the losses."""
        model, batch = self.model.train(training), self.batch
        outputs = model(batch)  # once: a step of the contrastive loss is remembered
        # The steps of `forward` one by one, for what it does not return.
        words, video = model.embed(batch["video"], batch["words"], batch["hidden_words"])
        named = {"embed_text": words, "embed_visual": video}
        of_layers, words, video = self.encoder(words, video)
        if not training:
            shown = model(batch, attention=True)
            torch.testing.assert_close(shown["stage_logits"], outputs["stage_logits"], atol=ATOL, rtol=0)
            of_layers |= self.attention(shown["attention"])
        features, stage_logits = model.stage_head(video)
        torch.testing.assert_close(stage_logits, outputs["stage_logits"], atol=ATOL, rtol=0)
        points = torch.arange(self.config.points)
        every = torch.cartesian_prod(points, points)
        moments = model.moment_head(model.moment_head.table(features), every)
        moments = moments.unflatten(1, (len(points), len(points))).permute(0, 3, 1, 2)
        boundaries = moments[:, :2] + torch.stack(torch.meshgrid(points, points, indexing="ij"))
        named |= {
            "pooled": pool_boundary_points(batch["video"], self.config.stride),
            "text_out": words,
            "visual_out": video,
            "stage_sec": features,
            "logits_text": model.word_head(words),
            "logits_visual": outputs["stage_logits"],
            "joint_prob": outputs["stage_logits"].sigmoid(),
            "logits_iou": moments,
            "s_e_time": boundaries,
            "score_map": self.score_map(outputs),
        }
        return named | of_layers, model.loss(outputs, batch)

    def encoder(self, words, video):
        """What is in the file about the layers; words and points after the last one."""
        named, bias = {}, word_bias(self.batch["word_mask"], words.dtype)
        for number, layer in enumerate(self.model.layers):
            words, video, *_ = layer(words, video, bias)
            named |= {f"layer{number}_text": words, f"layer{number}_visual": video}
        return named, words, video

    def attention(self, weights):
        named = {}
        for number, (by_words, by_video) in enumerate(weights):
            named |= {f"attn{number}_text": by_words, f"attn{number}_visual": by_video}
        return named

    def remembered(self):
        """What the file says about the model after a step: of MSAT nothing."""
        return {}

    def score_map(self, outputs):
        """Scores of the candidates on the grid; 0 elsewhere and where the start is behind the end."""
        i, j = outputs["cells"].unbind(1)
        start, end = (outputs["cells"] + outputs["offsets"]).unbind(-1)
        grid = outputs["moment_logits"].new_zeros(len(start), self.config.points, self.config.points)
        grid[:, i, j] = outputs["moment_logits"].sigmoid() * (start < end)
        return grid

    def proposals(self, sample, top):
        """What `localise` ranks: nothing is suppressed where the threshold is 1."""
        model = replace(self.config, nms_iou=1.0).build().eval()
        model.load_state_dict(self.model.state_dict())
        return model.localise(self.batch, top=top)[sample]

    def by_official_name(self, values):
        """Values of our parameters (None: leave out) in the pieces that the authors' names stand for."""
        named = {}
        for ours, parts in self.names(self.config).items():
            value = values[ours]
            if value is not None:
                pieces = value.chunk(len(parts)) if value.ndim else [value]
                for official, piece in zip(parts, pieces, strict=True):
                    named[official] = piece.reshape(self.case.weights[official].shape)
        return named

    def gradients(self):
        """By the authors' names, of all parameters that have one."""
        return self.by_official_name({name: p.grad for name, p in self.model.named_parameters()})
