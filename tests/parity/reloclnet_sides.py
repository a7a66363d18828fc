"""Files of the released ReLoCLNet, and the two sides that must compute the same.

A file's metadata say the sizes of its network, and which file holds its weights and its batch. Each side runs
the network and calls what comes out as the file calls it.
"""

import importlib
import json
import re
import sys
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from vmrlib.checkpoints import from_official
from vmrlib.models.official_reloclnet import reloclnet_names
from vmrlib.models.reloclnet import ReLoCLNetConfig
from vmrlib.models.reloclnet_search import encode_corpus, search

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "benchmarks"))
plain = importlib.import_module("reference.reloclnet")


@dataclass
class Case:
    """One file, and the file with its weights and batch, which may be the same."""

    name: str
    data: dict
    about: dict
    network: dict

    @property
    def given(self):
        """The numbers that made the network."""
        return self.about["config"]

    @cached_property
    def config(self):
        """Ours, with the losses' weights of the file; hard negatives are a matter of each test."""
        given = self.given
        assert given["conv_stride"] == 1 and streams_of(given["ctx_mode"]) == ["video", "sub"]
        more = {}
        if "q2c_alpha" in self.about:
            more["alpha"] = self.about["q2c_alpha"]
            more["span_clips"] = (self.about["min_pred_l"], self.about["max_pred_l"])
            more["seconds_per_clip"] = self.about["clip_length"]
        return ReLoCLNetConfig(
            dim_video=given["visual_input_size"],
            dim_subtitles=given["sub_input_size"],
            dim_words=given["query_input_size"],
            clips=given["max_ctx_l"],
            longest=given["max_desc_l"],
            dim=given["hidden_size"],
            heads=given["n_heads"],
            kernel=given["conv_kernel_size"],
            dropout=given["drop"],
            input_dropout=given["input_drop"],
            initial_std=given["initializer_range"],
            margin=given["margin"],
            ranking=given["ranking_loss_type"],
            weights=tuple(given[f"lw_{name}"] for name in ("st_ed", "neg_ctx", "neg_q", "fcl", "vcl")),
            hard_after=None,
            hard_pool=given["hard_pool_size"],
            **more,
        )

    @property
    def state(self):
        """What a checkpoint of the released code holds."""
        return {key[2:]: value for key, value in self.network.items() if key.startswith("w.")}

    @property
    def batch(self):
        """The inputs of the network as our loader calls them; moments in clips where there are any."""
        given = self.network
        assert torch.equal(given["in.video_mask"], given["in.sub_mask"])
        batch = {
            "video": given["in.video_feat"],
            "subtitles": given["in.sub_feat"],
            "video_mask": given["in.video_mask"] > 0,
            "words": given["in.query_feat"],
            "word_mask": given["in.query_mask"] > 0,
        }
        if "in.st_ed_indices" in given:
            batch["moments_cell"] = given["in.st_ed_indices"].double()
        return batch

    def expected(self, prefix="out."):
        return {key[len(prefix) :]: value for key, value in self.data.items() if key.startswith(prefix)}


def read(path):
    with safe_open(path, "pt") as file:
        about = file.metadata()
        data = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    return data, json.loads(about["json"]) | {key: value for key, value in about.items() if key != "json"}


def cases(golden, pattern):
    """Every file of that name in the folder; whoever runs through them to the end has run them all."""
    found, count = sorted(golden.glob(f"reloclnet/{pattern}.safetensors")), 0
    if not found:
        pytest.fail(f"no reference figures {golden / 'reloclnet' / pattern}.safetensors")
    for path in found:
        data, about = read(path)
        network = read(path.parent / about["model_file"])[0] if "model_file" in about else data
        yield Case(path.stem, data, about, network)
        count += 1
    print(f"{pattern}: {count} of {len(found)} files")
    assert count == len(found)


def streams_of(mode):
    """The released code's name of its inputs, video_sub_tef: which streams, without the end points."""
    return [part for part in mode.split("_") if part != "tef"]


def normalised(said):
    """Whether features of videos and of texts are scaled to norm 1, as the metadata say it."""
    flags = re.fullmatch(r"normalize_vfeat (True|False), normalize_tfeat (True|False)", said).groups()
    return [flag == "True" for flag in flags]


def context_batches(case):
    """The videos of a corpus in the batches of the file."""
    batch, size = case.batch, case.about["eval_context_bsz"]
    names = ("video", "subtitles", "video_mask")
    for start in range(0, len(batch["video"]), size):
        yield {name: batch[name][start : start + size] for name in names}


def own_videos(case):
    """Where in the corpus the video of each sentence is."""
    names = case.about["vid_names"]
    return torch.tensor([names.index(query["vid_name"]) for query in case.about["queries"]])


class Ours:
    """vmrlib's model, built from the authors' weights."""

    def __init__(self, case):
        self.case = case
        self.model = from_official("reloclnet", case.state, case.config)
        assert self.model.loading == ((), (), ())
        self.names = {ours: official for ours, (official,) in reloclnet_names(case.config).items()}

    def parameters(self):
        """Parameters by the authors' names."""
        return {self.names[name]: parameter for name, parameter in self.model.named_parameters()}

    def answers(self):
        """VR as videos and weights; VCMR and SVMR as rows (video, start, end, score) of each sentence."""
        about, batch = self.case.about, self.case.batch
        corpus = encode_corpus(self.model, context_batches(self.case))
        found = search(
            self.model,
            corpus,
            batch["words"],
            batch["word_mask"],
            about["max_vcmr_video"],
            about["max_before_nms"],
            own_videos(self.case),
        )
        spans = {"VCMR": found.spans, "SVMR": found.own_spans}
        rows = {task: [each.rows(q) for q in range(len(each.scores))] for task, each in spans.items()}
        return {"VR": (found.videos, found.video_scores)} | rows

    def states(self):
        """What the answers are made of, as the file calls it; states of the places behind a video, too."""
        model, batch, parts = self.model, self.case.batch, []
        with torch.no_grad():
            _, _, vectors = model.query(batch["words"], batch["word_mask"])
            parts = [model.encode_video(part) for part in context_batches(self.case)]
            final, mask = (torch.cat([part[name] for part in parts]) for name in ("final", "mask"))
            similarity = torch.einsum("qsd,vstd->qvt", model.span_queries(vectors), final) / 2
            start, end = model.span_logits(similarity, mask.expand(len(vectors), -1, -1))
            scores = model.video_scores(vectors, final, mask)
        return {
            **dict(zip(("video_query", "sub_query"), vectors.unbind(1), strict=True)),
            **dict(zip(("ctx_video_feat", "ctx_sub_feat"), final.unbind(1), strict=True)),
            **{"ctx_mask": mask.float(), "q2ctx_scores": scores},
            **{"st_prob": start.softmax(-1), "ed_prob": end.softmax(-1)},
        }


class Plain:
    """The transcription in benchmarks/reference/, with the same weights."""

    def __init__(self, case):
        self.case, config = case, case.config
        shared = {field.name: getattr(config, field.name) for field in fields(plain.Sizes)}
        self.model = plain.PlainReLoCLNet(plain.Sizes(**shared)).eval()
        self.model.load_state_dict(case.state)

    def answers(self):
        about, batch = self.case.about, self.case.batch
        given = (tuple(part.values()) for part in context_batches(self.case))
        corpus = plain.encode_corpus(self.model, ((v, s, mask.float()) for v, s, mask in given))
        found = plain.answer(
            self.model,
            corpus,
            batch["words"],
            batch["word_mask"].float(),
            own_videos(self.case),
            alpha=about["q2c_alpha"],
            videos=about["max_vcmr_video"],
            spans=about["max_before_nms"],
            lengths=(about["min_pred_l"], about["max_pred_l"]),
        )
        rows = {}
        for task in ("VCMR", "SVMR"):
            moments, scores = found[task]
            units = torch.tensor([1.0, *[about["clip_length"]] * 2], dtype=torch.float64)
            scaled = moments.double() * units
            every = torch.cat([scaled, scores[..., None].double()], dim=-1)
            rows[task] = [each[each[:, 3] > 0] for each in every]
        return {"VR": found["VR"]} | rows

    def states(self):
        model, batch = self.model, self.case.batch
        with torch.no_grad():
            queries = model.encode_query(batch["words"], batch["word_mask"].float())
            given = (tuple(part.values()) for part in context_batches(self.case))
            corpus = plain.encode_corpus(model, ((v, s, mask.float()) for v, s, mask in given))
            start, end = model.span_probabilities(*queries, corpus)
            scores = model.video_scores(*queries, corpus)
        return {
            **dict(zip(("video_query", "sub_query"), queries, strict=True)),
            **{"ctx_video_feat": corpus["video"], "ctx_sub_feat": corpus["subtitles"]},
            **{"ctx_mask": corpus["mask"], "q2ctx_scores": scores, "st_prob": start, "ed_prob": end},
        }


def error(found, expected):
    """The largest difference as a share of the largest value, which counts as at least 1."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    if not expected.numel():
        return 0.0
    return (found.double() - expected.double()).abs().max().item() / max(1, expected.abs().max().item())
