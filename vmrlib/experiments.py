"""The experiments of this project: what is compared, and what all arms of a comparison share.

`python -m vmrlib ablate NAME` runs one. An arm is a list of changes of the experiment's configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmrlib.models.vtc import STAGE


@dataclass(frozen=True)
class Arm:
    """What is different in one arm: keys of the configuration, or what the model does not get to see.

    same_as: the name of a results file beside, and of an arm in it that is this one: its runs are taken over.
    """

    changes: Mapping = field(default_factory=dict)
    blind: str = ""  # "video", "text"
    same_as: tuple[str, str] | None = None


@dataclass(frozen=True)
class Experiment:
    """Arms by name, and what they share: a configuration and changes of it, learning rates, seeds."""

    config: str
    arms: Mapping[str, Arm]
    learning_rates: tuple[float, ...] = (2e-3, 3e-3, 4e-3)
    seeds: tuple[int, ...] = (0, 1, 2)
    changes: Mapping = field(default_factory=dict)


def contrast(**changes) -> dict:
    """The contrastive loss of the preset for Stage, with changes: what is not as released."""
    return STAGE | changes


RATES = (6.25e-4, 1.25e-3, 2.5e-3, 5e-3)
IN_BATCH = {"momentum": None, "queue_size": 0, "alpha": 0.0}
ACB, VTC, BOTH = "+ ACB", "+ VTC", "+ ACB + VTC"
MAIN = {
    "MSAT": Arm({"model.preset": "stage"}),
    ACB: Arm({"model.preset": "acb_stage", "model.contrast": None}),
    VTC: Arm({"model.preset": "stage", "model.contrast": contrast()}),
    BOTH: Arm({"model.preset": "acb_stage", "model.contrast": contrast()}),
}


def encoder(group: str, **changes) -> Arm:
    """Another encoder of the same model, without the contrastive loss."""
    more = {f"model.{name}": value for name, value in changes.items()}
    return Arm({"model.preset": "acb_stage", "model.contrast": None, "model.group": group} | more)


def loss(**changes) -> Arm:
    """Another contrastive loss of the whole model."""
    return Arm({"model.preset": "acb_stage", "model.contrast": contrast(**changes)})


def beside_blind(title: str) -> dict[str, Arm]:
    """A model, and what it answers that has not seen or not read anything in training either."""
    return {title: Arm(), "video-blind": Arm(blind="video"), "text-blind": Arm(blind="text")}


def features(*extractors: str) -> dict:
    """Other features, one row a second."""
    return {"features": [{"extractor": extractor, "seconds_per_clip": 1.0} for extractor in extractors]}


def on(arm: str, *extractors: str) -> Arm:
    """An arm of the main experiment on other features."""
    return Arm(dict(MAIN[arm].changes) | features(*extractors))


EXPERIMENTS = {
    # What MSAT's description of a moment is worth, and what can be answered without seeing or reading.
    "msat_stage": Experiment(
        "stage.yaml",
        {
            "start, middle, end": Arm(),
            "mean of points": Arm({"model.proposals": "mean"}),
            "maximum of points": Arm({"model.proposals": "max"}),
            "end points": Arm({"model.proposals": "endpoints"}),
            "video-blind": Arm(blind="video"),
            "text-blind": Arm(blind="text"),
        },
    ),
    # Do asymmetric co-attention and the contrastive loss help, alone and together?
    "main_open": Experiment("stage.yaml", MAIN, RATES, (0, 1, 2, 3, 4)),
    "main_kitchen": Experiment(
        "stage_kitchen.yaml",
        MAIN,
        RATES,
        (0, 1, 2, 3, 4),
        {"training.steps": 800, "training.warmup_steps": 40, "training.evaluate_steps": 200},
    ),
    # Which attention, and how much of it? Two groups of blocks, as the preset has.
    "attention": Experiment(
        "stage.yaml",
        {
            "MSAT": Arm(MAIN["MSAT"].changes, same_as=("main_open", "MSAT")),
            "AAC, as released": Arm(MAIN[ACB].changes, same_as=("main_open", ACB)),
            "AAC once, the published ratio": encoder("AAC", layers=1),
            "AAC with FFN": encoder("AAC", ffn=True),
            "AC": encoder("AC"),
            "AAAC": encoder("AAAC"),
            "C alone": encoder("CCC"),
            "C with FFN (single stream)": encoder("CC", ffn=True),
            "BBC, symmetric": encoder("BBC"),
            # the preset's initial weights were chosen for MSAT's layers
            "AAC, weights half as wide": encoder("AAC", initial_std=0.03),
            "AAC, weights twice as wide": encoder("AAC", initial_std=0.12),
        },
        RATES,
    ),
    # What of the contrastive loss does what?
    "contrast": Experiment(
        "stage.yaml",
        {
            "none": Arm(MAIN[ACB].changes, same_as=("main_open", ACB)),
            "as released": Arm(MAIN[BOTH].changes, same_as=("main_open", BOTH)),
            "in-batch InfoNCE": loss(**IN_BATCH),
            "in-batch InfoNCE, padding masked": loss(**IN_BATCH, mask_padding=True),
            "MoCo: queue, no distillation": loss(alpha=0.0),
            "ALBEF": loss(
                alpha=0.4,
                alpha_steps=112,
                temperature=0.07,
                clamp=(0.001, 0.5),
                mask_padding=True,
                pool="mean",
            ),
            "positives by segment": loss(positives="segment"),
            "short queue, faster copies, padding masked": loss(
                queue_size=128, momentum=0.99, mask_padding=True
            ),
            "in-batch InfoNCE, padding masked, after the encoder": loss(
                **IN_BATCH, mask_padding=True, place="after"
            ),
        },
        RATES,
    ),
    # Why is an effect missing? One run for each reason that is offered.
    "why": Experiment(
        "stage.yaml",
        {
            "none": Arm(MAIN[ACB].changes, same_as=("main_open", ACB)),
            "as released": Arm(MAIN[BOTH].changes, same_as=("main_open", BOTH)),
            "weight 0: two more layers, no loss": loss(weight=0.0),
            "weight 2": loss(weight=2.0),
            "padding masked": loss(mask_padding=True),
            "means of points and words": loss(pool="mean"),
            "positives by sentence": loss(positives="sentence"),
        },
        RATES,
    ),
    # The main experiment again, with the plainest form of the loss.
    "main_infonce": Experiment(
        "stage.yaml",
        {
            "MSAT": Arm(MAIN["MSAT"].changes, same_as=("main_open", "MSAT")),
            ACB: Arm(MAIN[ACB].changes, same_as=("main_open", ACB)),
            "+ InfoNCE": Arm(
                {"model.preset": "stage", "model.contrast": contrast(**IN_BATCH, mask_padding=True)}
            ),
            "+ ACB + InfoNCE": loss(**IN_BATCH, mask_padding=True),
        },
        RATES,
        (0, 1, 2, 3, 4),
    ),
    # Does a gain belong to the architecture or to the features?
    "features": Experiment(
        "stage.yaml",
        {
            "motion: MSAT": Arm(MAIN["MSAT"].changes, same_as=("main_open", "MSAT")),
            f"motion: {BOTH}": Arm(MAIN[BOTH].changes, same_as=("main_open", BOTH)),
            "tiny CLIP: MSAT": on("MSAT", "stage-clip"),
            f"tiny CLIP: {BOTH}": on(BOTH, "stage-clip"),
            "CLIP and motion: MSAT": on("MSAT", "stage-clip", "baseline:2"),
            f"CLIP and motion: {BOTH}": on(BOTH, "stage-clip", "baseline:2"),
            "true states: MSAT": on("MSAT", "oracle"),
            f"true states: {BOTH}": on(BOTH, "oracle"),
        },
        RATES,
    ),
    # Do models of other papers learn Stage, too?
    "mmn_stage": Experiment("mmn_stage.yaml", beside_blind("MMN"), (1e-3, 2e-3, 4e-3)),
    "reloclnet_stage": Experiment("reloclnet_stage.yaml", beside_blind("ReLoCLNet"), (1e-3, 2e-3, 4e-3)),
}
