"""Twenty steps of UCoFiA's optimiser on given gradients are the released ones.

ReLoCLNet's six steps, with its model behind them, are in `test_parity_reloclnet.py`.
"""

import json

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from vmrlib.engine.bert_adam import BertAdam, warmup_schedule

TOLERANCE = 1e-6  # of the largest value, at least 1, as the README beside the figures says
NAMES = ("decay", "nodecay")  # one tensor in each group


def test_every_step_of_the_optimiser_is_the_released_one(golden):
    found, count = sorted(golden.glob("ucofia/bertadam*.safetensors")), 0
    if not found:
        pytest.fail(f"no reference figures {golden / 'ucofia' / 'bertadam'}*.safetensors")
    for path in found:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            data = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        parameters = [nn.Parameter(data[f"input.p_{name}"].clone()) for name in NAMES]
        groups = json.loads(about["groups"])
        optimiser = BertAdam(
            [{"params": [p], **group} for p, group in zip(parameters, groups, strict=True)],
            betas=(float(about["b1"]), float(about["b2"])),
            eps=float(about["eps"]),
            max_norm=float(about["max_grad_norm"]),
        )
        kind, steps = about["schedule"].removeprefix("warmup_"), int(about["t_total"])
        schedule = LambdaLR(optimiser, warmup_schedule(kind, steps, float(about["warmup"])))
        (rates,) = (value for key, value in data.items() if key.startswith("out.lr"))
        for step in range(steps):
            assert schedule.get_last_lr() == pytest.approx(rates[step].tolist(), rel=TOLERANCE), step
            for parameter, name in zip(parameters, NAMES, strict=True):
                parameter.grad = data[f"input.grads_{name}"][step].clone()
            optimiser.step()
            schedule.step()
            for parameter, name in zip(parameters, NAMES, strict=True):
                expected = data[f"out.p_{name}"][step]
                error = (parameter.detach() - expected).abs().max().item()
                assert error <= TOLERANCE * max(1, expected.abs().max().item()), f"{path.stem} {step} {name}"
            assert torch.isfinite(parameters[0]).all()
        count += 1
    print(f"bertadam*: {count} of {len(found)} files")
    assert count == len(found)
