"""Networks with asymmetric co-attention, and the contrastive loss alone, as files hold them; both sides.

As in `msat_sides.py`, which has what these networks share with MSAT.
"""

import importlib
import json

import torch
from msat_sides import Case, Ours, Plain, files

from vmrlib.models.acb import ACBConfig
from vmrlib.models.attention import word_bias
from vmrlib.models.official import acb_vtc_names, fill, fill_queues, vtc_names
from vmrlib.models.vtc import VTC, VTCConfig, contrast_loss

plain = importlib.import_module("reference.acb_vtc")
MODULE = "bert_layer.vlbert.mplug."  # what the authors' names of the loss begin with
RING = ("image_queue", "text_queue", "idx_queue", "queue_ptr")


def is_true(value):
    return str(value).lower() == "true"


class ACBCase(Case):
    """One file of a whole network."""

    video_in = "visual_1x1_visual"

    @property
    def sizes(self):
        params, weights = self.params, self.weights
        return self.shared_sizes | {
            "stride_layer": params["stride_layer"],
            "groups": params["num_skip_connected_layers"],
            "weight_contrast": json.loads(self.about["W"])["W5"],
            "dim_contrast": len(weights[f"{MODULE}vision_proj.bias"]),
            "queue": self.idx_queue.shape[1],
            "momentum": params["momentum"],
            "alpha": params["alpha"] if params.get("distill", True) else 0.0,
            "temperature": weights[f"{MODULE}temp"].item(),
        }

    @property
    def state(self):
        place = torch.tensor([int(self.about["queue_ptr"])])
        queues = {name: self.data[f"in/{name}"] for name in RING[:3]} | {"queue_ptr": place}
        return self.weights | {f"{MODULE}{name}": value for name, value in queues.items()}


def official_queues(contrast):
    """Our queues as the release stores them."""
    return {
        "image_queue": contrast.queue_video.T,
        "text_queue": contrast.queue_words.T,
        "idx_queue": contrast.queue_ids[None],
        "queue_ptr": contrast.place[None],
    }


class PlainACB(Plain):
    reference = plain

    def build(self):
        return plain.PlainACB(self.sizes)

    def inputs(self):
        return (*super().inputs(), self.case.gt_times, self.case.anno_idx)

    def encoder(self, out):
        named = {"vtc_visual": out["contrast_video"], "vtc_text": out["contrast_text"]}
        return named | {f"layer{number}_out": output for number, output in enumerate(out["layers"])}

    def remembered(self):
        """Queues and momentum parameters after a step."""
        state = self.model.state_dict()
        slow = {name: state[plain.plain_name(name)] for name in self.case.weights if "_m." in name}
        ring = {f"{name}_after": state[f"contrast.{name}"] for name in RING}
        return ring | {f"after/{name}": value for name, value in slow.items()}


class OursACB(Ours):
    name, names = "acb_vtc", staticmethod(acb_vtc_names)
    kind = ACBConfig

    def __init__(self, case):
        super().__init__(case)
        self.batch["annotation"] = case.anno_idx

    def changes(self, case):
        sizes = case.sizes
        group = {"group": "A" * sizes["stride_layer"] + "C", "layers": sizes["groups"]}
        contrast = VTCConfig(
            weight=sizes["weight_contrast"],
            dim=sizes["dim_contrast"],
            queue_size=sizes["queue"],
            momentum=sizes["momentum"],
            alpha=sizes["alpha"],
            temperature=sizes["temperature"],
        )
        return case.shared_sizes | group | {"contrast": contrast}

    def encoder(self, words, video):
        words, video = self.model.contrast.encode(words, video)
        named = {"vtc_visual": video, "vtc_text": words}
        bias = word_bias(self.batch["word_mask"], words.dtype)
        for number, (letter, block) in enumerate(zip(self.config.blocks, self.model.layers, strict=True)):
            words, video, _ = block(words, video, bias)
            named[f"layer{number}_out"] = words if letter == "A" else torch.cat([video, words], dim=1)
        return named, words, video

    def attention(self, weights):
        """Of every row the sum is 1; the files hold no attention."""
        assert len(weights) == len(self.config.blocks)
        for block in weights:
            for part in block:
                torch.testing.assert_close(part.sum(-1), torch.ones(part.shape[:-1]))
        return {}

    def remembered(self):
        """Queues and momentum parameters after a step; it is the step that puts the keys away."""
        self.model.after_step()
        slow = {name: p if "slow" in name else None for name, p in self.model.named_parameters()}
        ring = {f"{name}_after": value for name, value in official_queues(self.model.contrast).items()}
        return ring | {f"after/{name}": value for name, value in self.by_official_name(slow).items()}


# --- the loss alone


def steps(golden):
    """Every file of steps of the loss alone."""
    for name, data, about in files(golden, "vtc_*"):
        yield StepsCase(name, data, about)


class StepsCase(Case):
    @property
    def initial(self):
        return {key[len("init/") :]: value for key, value in self.data.items() if key.startswith("init/")}

    @property
    def constants(self):
        """Numbers by the names of VTCConfig."""
        return {
            "dim": len(self.initial["vision_proj.bias"]),
            "queue_size": int(self.about["queue"]),
            "momentum": float(self.about["momentum"]),
            "alpha": float(self.about["alpha"]) if is_true(self.about.get("distill", True)) else 0.0,
            "temperature": float(self.about["temp"]),
        }

    def step(self, number):
        """The tensors of one step, by their names without its number."""
        prefix = f"step{number}/"
        return {key[len(prefix) :]: value for key, value in self.data.items() if key.startswith(prefix)}


class PlainSteps:
    """The transcription's module."""

    def __init__(self, case):
        constants = case.constants
        sizes = plain.Sizes(
            dim=int(case.about["H"]),
            dim_contrast=constants["dim"],
            queue=constants["queue_size"],
            momentum=constants["momentum"],
            alpha=constants["alpha"],
            temperature=constants["temperature"],
        )
        self.model = plain.Contrast(sizes)
        self.model.load_state_dict(
            {"queue_ptr": torch.zeros(1, dtype=torch.long)}
            | {name: value for name, value in case.initial.items() if "itm_head" not in name}
        )

    def run(self, given, training):
        """Encoded points and words, and the loss."""
        return self.model.train(training)(given["image"], given["text"], given["gt_times"], given["idx"])

    def after_step(self):
        """The transcription puts its keys away by itself."""

    def parameters(self):
        return dict(self.model.named_parameters())

    def queues(self):
        return {name: getattr(self.model, name) for name in RING}


class OursSteps:
    """vmrlib's module."""

    def __init__(self, case):
        self.model = VTC(int(case.about["H"]), VTCConfig(weight=1.0, **case.constants))
        self.names = vtc_names("", "")
        fill(self.model, self.names, case.initial)
        fill_queues(self.model, {name: case.initial[name] for name in RING if name in case.initial})

    def run(self, given, training):
        """Encoded points and words, and the loss; out of training there is nothing but the former."""
        self.model.train(training)
        embedded = given["text"], given["image"]
        words, video = encoded = self.model.encode(*embedded)
        if not training:
            return video, words, torch.zeros(())
        word_mask = torch.ones(words.shape[:2], dtype=torch.bool)
        outputs = self.model(embedded, encoded, word_mask, given["gt_times"].double(), given["idx"])
        return video, words, contrast_loss(outputs)

    def after_step(self):
        self.model.enqueue()

    def parameters(self):
        return {self.names[name][0]: value for name, value in self.model.named_parameters()}

    def queues(self):
        return official_queues(self.model)
