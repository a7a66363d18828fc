"""Networks of the released MSAT as files hold them, and the two sides that must compute the same.

Every `msat_*` file holds one network with its weights, a batch, and what the released code computes of them.
The reader takes all sizes from the file; each side runs the network and calls its outputs what the file calls
them.
"""

import importlib.util
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vmrlib.data.clips import pool_boundary_points
from vmrlib.models.attention import word_bias
from vmrlib.models.msat import MSAT, MSATConfig
from vmrlib.models.official import from_official, msat_names

ROOT = Path(__file__).resolve().parent.parent.parent
ATOL = 3e-5  # of activations and maps, as the README beside the figures says
DATASETS = {"TACoS": {"positions": 194, "peak": 0.7}, "ActivityNet": {"positions": 116, "peak": 0.6}}


def load_module(path):
    """A script of benchmarks/ as a module; the folder is no package."""
    spec = importlib.util.spec_from_file_location(path.stem + "_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = load_module(ROOT / "benchmarks" / "reference" / "msat.py")


@dataclass
class Case:
    """One file: its tensors, what its metadata say, and the sizes of its network."""

    name: str
    data: dict
    about: dict

    @property
    def weights(self):
        return {
            key[len("weights/") :]: value for key, value in self.data.items() if key.startswith("weights/")
        }

    @property
    def loss_weights(self):
        given = json.loads(self.about["W"])
        return tuple(given[f"W{number}"] for number in range(1, 5))

    @property
    def sizes(self):
        """Numbers by the names that both sides share; those that weights tell are taken from the weights."""
        params, weights = json.loads(self.about["params"]), self.weights
        return {
            "clips": int(self.about["clips"]),
            "stride": int(self.about["stride"]),
            "dim_video": weights["bert_layer.vlbert.visual_1x1_object.weight"].shape[1],
            "dim_words": weights["bert_layer.vlbert.word_mapping.weight"].shape[1],
            "vocabulary": len(weights["bert_layer.final_mlp.4.bias"]),
            "dim": params["hidden_size"],
            "layers": params["num_hidden_layers"],
            "heads": params["num_attention_heads"],
            "dim_ffn": params["intermediate_size"],
            "dim_head": params["CLASSIFIER_HIDDEN_SIZE"],
            "dropout": params["hidden_dropout_prob"],
            "weights": self.loss_weights,
            **DATASETS[self.about["dataset"]],
        }

    def __getattr__(self, name):
        """`case.word_mask` is the tensor `in/word_mask`."""
        try:
            return self.data[f"in/{name}"]
        except KeyError:
            raise AttributeError(name) from None


def cases(golden):
    """Every network in the folder; whoever runs through them to the end has run them all."""
    found, count = sorted(golden.glob("msat/msat_*.safetensors")), 0
    if not found:
        pytest.fail(f"no reference figures {golden / 'msat/msat_*.safetensors'}")
    for path in found:
        with safe_open(path, "pt") as file:
            about = file.metadata()
        yield Case(path.stem, load_file(path), about)
        count += 1
    print(f"msat: {count} of {len(found)} files")
    assert count == len(found)


class Plain:
    """The transcription in benchmarks/reference."""

    def __init__(self, case):
        self.case, self.sizes = case, plain.Sizes(**case.sizes)
        self.model = plain.load_official(plain.PlainMSAT(self.sizes), case.weights)
        self.model.candidates.copy_(case.iou_mask_map.bool())

    def run(self, training):
        case = self.case
        self.model.train(training)
        out = self.model(case.visual_input, case.word_vectors, case.txt_mask, case.word_mask)
        losses = plain.losses(
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
            "text_out": out["layers"][-1][0],
            "visual_out": out["layers"][-1][1],
            "stage_sec": out["stages"],
            "logits_text": out["word_logits"],
            "logits_visual": out["stage_logits"],
            "joint_prob": out["stage_logits"].sigmoid(),
            "logits_iou": out["moment"],
            "s_e_time": out["boundaries"],
            "score_map": out["score_map"],
        }
        for number, (text, visual) in enumerate(out["layers"]):
            named |= {f"layer{number}_text": text, f"layer{number}_visual": visual}
        for number, (text, visual) in enumerate(out["attention"]):
            named |= {f"attn{number}_text": text, f"attn{number}_visual": visual}
        self.out = out
        return named, losses

    def proposals(self, sample, top):
        duration = self.case.duration[sample].double()
        moments, scores = plain.proposals(self.out, duration, sample, self.sizes.points - 1)
        return moments[:top], scores[:top]

    def gradients(self):
        parameters = dict(self.model.named_parameters())
        return {
            name: parameters[plain.plain_name(name)].grad
            for name in self.case.weights
            if plain.plain_name(name) in parameters
        }


class Ours:
    """vmrlib's model, asked for every moment where the file has them all."""

    def __init__(self, case):
        published = {"TACoS": MSATConfig.tacos, "ActivityNet": MSATConfig.activitynet}[case.about["dataset"]]
        changes = dict(case.sizes)
        dense = re.fullmatch(r"dense j-i in 1\.\.(\d+)", case.about["iou_mask"])
        if dense:
            changes["candidates"] = ((int(dense[1]), 1),)
        self.case, self.config = case, published(**changes)
        self.model = from_official("msat", case.weights, self.config)
        self.batch = {
            "video": case.visual_input,
            "words": case.word_vectors,
            "word_mask": case.txt_mask.bool(),
            "duration": case.duration.double(),
            "moments_cell": case.gt_times.double(),
            "hidden_words": case.word_mask.bool(),
            "word_labels": case.word_label,
        }

    def run(self, training):
        model, batch = self.model.train(training), self.batch
        outputs = model(batch, attention=True)
        named = {}

        # The steps of `forward` one by one, for what it does not return.
        words, video = model.embed(batch["video"], batch["words"], batch["hidden_words"])
        named |= {"embed_text": words, "embed_visual": video}
        bias = word_bias(batch["word_mask"], words.dtype)
        for number, layer in enumerate(model.layers):
            words, video, *_ = layer(words, video, bias)
            named |= {f"layer{number}_text": words, f"layer{number}_visual": video}
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
        for number, (by_words, by_video) in enumerate(outputs["attention"]):
            named |= {f"attn{number}_text": by_words, f"attn{number}_visual": by_video}
        return named, model.loss(model(batch), batch)

    def score_map(self, outputs):
        """Scores of the candidates on the grid; 0 elsewhere and where the start is behind the end."""
        i, j = outputs["cells"].unbind(1)
        start, end = (outputs["cells"] + outputs["offsets"]).unbind(-1)
        grid = outputs["moment_logits"].new_zeros(len(start), self.config.points, self.config.points)
        grid[:, i, j] = outputs["moment_logits"].sigmoid() * (start < end)
        return grid

    def proposals(self, sample, top):
        """What `localise` ranks: nothing is suppressed where the threshold is 1."""
        model = MSAT(replace(self.config, nms_iou=1.0)).eval()
        model.load_state_dict(self.model.state_dict())
        return model.localise(self.batch, top=top)[sample]

    def gradients(self):
        parameters = dict(self.model.named_parameters())
        return {
            official: rows.reshape(self.case.weights[official].shape)
            for ours, parts in msat_names(self.config).items()
            for official, rows in zip(parts, parameters[ours].grad.chunk(len(parts)), strict=True)
        }
