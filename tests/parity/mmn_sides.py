"""Files of the released MMN, and the two sides that must compute the same.

The reader takes all sizes from the files. Each side is asked for the same things: the networks of `model_*`
by the names in the file, losses and gradients of `loss_*`, maps of `feat2d_*`, answers to `eval_*`.
"""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from vmrlib.models.mmn import MMNConfig, cosines
from vmrlib.models.mmn_losses import sentence_ious
from vmrlib.models.mmn_proposals import as_map
from vmrlib.models.official import from_official
from vmrlib.models.official_mmn import mmn_names
from vmrlib.moments import iou_of_pairs

ROOT = Path(__file__).resolve().parent.parent.parent
# The transcriptions are no part of the package; they import each other as scripts in benchmarks/ do.
sys.path.append(str(ROOT / "benchmarks"))
plain = importlib.import_module("reference.mmn")

SMALL_TEXT = {
    "text_layers": 1,
    "text_heads": 1,
    "dim_text": 4,
    "dim_text_ffn": 4,
    "dim_words": 3,
    "longest": 9,
}
LOSSES = {"iou": "iou", "vid": "video", "sent": "sentence"}  # names in the files: ours
NAMES = {  # of the numbers in the metadata: ours
    "N": "cells",
    "pre": "clips",
    "din": "dim_video",
    "hid": "dim",
    "chid": "dim_maps",
    "joint": "dim_joint",
    "k": "kernel",
    "layers": "layers",
    "topk": "positives",
    "margin": "margin",
    "tau_video": "temperature_video",
    "tau_sent": "temperature_sentence",
    "sent_removal_iou": "removal_iou",
    "neg_iou": "negative_iou",
    "cw": "weight",
    "power": "power",
    "score_pow": "power",
    "nms": "nms_iou",
    "nms_thresh": "nms_iou",
}
SHORT = {"pool": "pooling_counts", "tau_v": "tau_video", "tau_s": "tau_sent"}  # said in both ways, or in one
MAP, IOUS = {"N", "pooling_counts"}, {"min_iou", "max_iou"}
CONTRASTS = {"joint", "topk", "margin", "tau_video", "tau_sent", "neg_iou", "sent_removal_iou"}
KEYS = {  # what the metadata of each kind must say: else a constant would be tested at a default
    "model": {"pre", "din", "hid", "chid", "k", "layers", "cw", "nms", "power", "recall_names"}
    | (MAP | IOUS | CONTRASTS),
    "loss": MAP | IOUS | CONTRASTS,
    "feat2d": MAP | {"proposals"},
    "eval": MAP | {"nms_thresh", "score_pow", "recall_names"},
    "avgfeats": {"num_pre_clips", "lens"},
    "text": {"joint"},
}


class Case:
    """One file: its tensors, and what its metadata say."""

    def __init__(self, path):
        with safe_open(path, "pt") as file:
            self.about = json.loads(file.metadata()["config"])
        for short, name in SHORT.items():
            if short in self.about:
                self.about.setdefault(name, self.about[short])
        self.name, self.data = path.stem, load_file(path)
        missing = KEYS[self.about["kind"]] - self.about.keys()
        assert not missing, f"{self.name}: the metadata do not say {', '.join(sorted(missing))}"
        self.weights = {key[2:]: value for key, value in self.data.items() if key.startswith("w.")}

    @property
    def sizes(self):
        """Numbers by the names that both sides share; those that a file does not have are small."""
        about = self.about
        sizes = {"clips": about.get("N", 1), "dim_video": 3, "dim": 3, "dim_maps": 3, "dim_joint": 3}
        sizes |= {"cells": 1, "kernel": 3, "layers": 1, "positives": 1}
        sizes |= {"margin": 0.0, "weight": 1.0, "power": 1.0, "nms_iou": 0.5}
        sizes |= {ours: about[name] for name, ours in NAMES.items() if name in about}
        sizes["pooling_counts"] = tuple(about.get("pooling_counts", ()))
        sizes["iou_range"] = (about.get("min_iou", 0.5), about.get("max_iou", 1.0))
        return sizes

    @property
    def mask(self):
        return self.data["mask2d"].bool()

    @property
    def sentences(self):
        return self.data["in.num_sentence"].tolist()

    @property
    def sentence_video(self):
        return torch.arange(len(self.sentences)).repeat_interleave(self.data["in.num_sentence"].long())

    @property
    def batch(self):
        """Everything but the video and the sentences."""
        if "in.duration" not in self.data:
            return {}
        durations = self.data["in.duration"].double()[self.sentence_video]
        batch = {"sentence_video": self.sentence_video, "duration": durations}
        if "in.moments" in self.data:
            cell = durations[:, None] / self.about["N"]
            batch["moments_cell"] = self.data["in.moments"].double() / cell
        return batch


def cases(golden, pattern):
    """Every file of that name; whoever runs through them to the end has run them all."""
    found, count = sorted(golden.glob(f"mmn/{pattern}.safetensors")), 0
    if not found:
        pytest.fail(f"no reference figures {golden / 'mmn' / pattern}.safetensors")
    for path in found:
        yield Case(path)
        count += 1
    print(f"mmn {pattern}: {count} of {len(found)} files")
    assert count == len(found)


class Stored(nn.Module):
    """Sentences as the file has them, in the place of the text encoder."""

    def __init__(self, contrast, iou):
        super().__init__()
        self.contrast, self.iou = nn.Parameter(contrast.clone()), nn.Parameter(iou.clone())

    def forward(self, batch):
        return self.contrast, self.iou


class Plain:
    """The transcription in benchmarks/reference."""

    def __init__(self, case):
        self.case, self.sizes = case, plain.Sizes(**case.sizes)
        self.model = plain.PlainMMN(self.sizes).eval()
        if "in.feats" in case.data:
            self.model.load_state_dict(case.weights)
            self.text = Stored(case.data["in.sent_feat_contrastive"], case.data["in.sent_feat_iou"])

    def run(self, training):
        """Outputs by the names in the file."""
        vectors = self.text(None)
        self.out = self.model.train(training)(self.case.data["in.feats"], *vectors, self.case.sentences)
        shares = {f"conv{n}.masked_weight": w[0, 0] for n, w in enumerate(self.model.proposal_conv.weights)}
        return self.out | shares

    def loss(self, early):
        data, case = self.case.data, self.case
        moments, durations = data["in.moments"], data["in.duration"]
        share = 1.0 if early else 0.01
        return plain.losses(
            self.out, self.text.contrast, case.sentences, moments, durations, self.model, share
        )

    def ious(self):
        data = self.case.data
        return plain.moment_ious(
            data["in.moments"], data["in.duration"][self.case.sentence_video], self.sizes.cells
        )

    def own_losses(self, maps, sentences, logits):
        """Losses of given maps, sentences and logits of the IoU."""
        case, mask = self.case, self.case.mask
        ious, moments = self.ious(), case.data["in.moments"]
        video, sentence = plain.contrast_losses(
            maps, sentences, case.sentences, ious, moments, mask, self.sizes
        )
        iou = plain.iou_loss(logits.sigmoid() * mask, ious, mask, self.sizes)
        return {"iou": iou, "video": video, "sentence": sentence}

    def mask(self):
        return self.model.feat2d.mask

    def map(self, clips):
        return self.model.feat2d(clips)

    def scores(self):
        contrast, iou = self.case.data["in.contrastive_score"], self.case.data["in.iou_score"]
        return (0.5 * contrast + 0.5) ** self.sizes.power * iou

    def answers(self, top):
        scores = self.out["score2d"].detach() if hasattr(self, "out") else self.scores()
        durations = self.case.data["in.duration"][self.case.sentence_video]
        return [plain.best_moments(*pair, self.sizes, top) for pair in zip(scores, durations, strict=True)]

    def named(self):
        """Parameters and buffers by the authors' names."""
        return dict(self.model.named_parameters()) | dict(self.model.named_buffers())


class Ours:
    """vmrlib's model, with the weights that the file has."""

    def __init__(self, case):
        self.case = case
        self.config = MMNConfig(**case.sizes, **SMALL_TEXT, contrast_epochs=1)
        self.model = from_official("mmn", case.weights, self.config, partial=True)
        assert self.model.loading.unused == ()
        if "in.feats" in case.data:
            assert all(name.startswith("text_encoder.") for name in self.model.loading.missing)
            self.text = Stored(case.data["in.sent_feat_contrastive"], case.data["in.sent_feat_iou"])
            self.model.text = self.text
        self.batch = case.batch | ({"video": case.data["in.feats"]} if "in.feats" in case.data else {})

    def on_map(self, values):
        return as_map(values, self.model.cells, self.config.cells)

    def run(self, training):
        """Outputs by the names in the file; maps step by step, for what `forward` does not return."""
        model = self.model.train(training)
        self.out = out = model(self.batch)
        named = {
            "contrastive_score": self.on_map(out["contrast_scores"]),
            "iou_score": self.on_map(out["iou_logits"].sigmoid()),
            "score2d": self.on_map(model.scores(out)),
        }
        if not training:  # else a second look would count as a second step
            clips = model.clip_features(self.batch["video"])
            maps = model.moment_map(clips)
            last = model.convolutions(maps)
            everywhere = last.movedim(1, 3)
            named |= {"featpool": clips, "feat2d": maps, "conv_last": last}
            named["map_contrastive"] = model.contrast_out(everywhere).movedim(3, 1)
            named["map_iou"] = model.iou_out(everywhere).movedim(3, 1)
        for name, share in model.convolutions.named_buffers(recurse=False):
            named[f"conv{name.removeprefix('share')}.masked_weight"] = share
        return named

    def loss(self, early):
        return self.model.loss(self.out, self.batch | {"epoch": 0 if early else 1})

    def ious(self):
        """Of the moments of the map."""
        moments = self.case.data["in.moments"]
        return self.on_map(iou_of_pairs(moments[:, None], self.model.spans(self.batch["duration"])))

    def sentence_ious(self):
        return sentence_ious(self.case.data["in.moments"], self.case.sentence_video)

    def own_losses(self, maps, sentences, logits):
        """Losses of given maps, sentences and logits of the IoU."""
        i, j = self.model.cells.unbind(1)
        outputs = {"similarities": cosines(sentences, maps[:, :, i, j].mT), "iou_logits": logits[:, i, j]}
        return self.model.loss(outputs, self.batch)

    def mask(self):
        return self.on_map(torch.ones(len(self.model.cells))).bool()

    def map(self, clips):
        return self.model.moment_map(clips)

    def stored_outputs(self):
        """What `forward` would return for the scores in the file."""
        i, j = self.model.cells.unbind(1)
        contrast, iou = (self.case.data[f"in.{name}_score"][:, i, j] for name in ("contrastive", "iou"))
        return {"cells": self.model.cells, "contrast_scores": contrast, "iou_logits": iou.logit()}

    def scores(self):
        return self.on_map(self.model.scores(self.stored_outputs()))

    def answers(self, top):
        if not hasattr(self, "out"):
            self.model.forward = lambda batch: self.stored_outputs()
        return [moments for moments, _ in self.model.eval().localise(self.batch, top)]

    def named(self):
        """Parameters and buffers by the authors' names."""
        named = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        return {parts[0]: named[ours] for ours, parts in mmn_names(self.config).items() if ours in named}
