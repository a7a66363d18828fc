"""UCoFiA: what goes in and out, what is kept for the backward pass, what is trained, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from vmrlib.models.clip import Clip
from vmrlib.models.official import from_official
from vmrlib.models.official_ucofia import ucofia_places
from vmrlib.models.sinkhorn import ReferenceSetError
from vmrlib.models.ucofia import Reference, UCoFiAConfig, symmetric_loss
from vmrlib.models.ucofia_clip import ClipSizes, shift_tokens, video_tokens

CLIP = ClipSizes(
    image_size=12,
    patch_size=4,
    vision_width=16,
    vision_heads=2,
    vision_layers=12,
    text_width=24,
    text_heads=2,
    text_layers=2,
    vocabulary=30,
    context=7,
)
SMALL = UCoFiAConfig(
    frames=3, words=5, dim=24, patches=2, heads=2, layers=2, positions=7, samples=20, block=2, clip=None
)
WITH_CLIP = replace(SMALL, clip=CLIP)


def features(number: int = 4, config: UCoFiAConfig = SMALL, seed: int = 0) -> dict:
    """A batch of features of noise; the last video ends with a padded frame."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(number, config.frames, dtype=torch.bool)
    mask[-1, -1] = False
    return {
        "sentence": torch.randn(number, config.dim, generator=generator),
        "words": torch.randn(number, config.words, config.dim, generator=generator),
        "tokens": torch.randn(number, config.frames, 10, config.dim, generator=generator),
        "frame_mask": mask,
    }


def pixels(number: int = 3, seed: int = 0) -> dict:
    """A batch for a model with CLIP; 29 is the end of a text."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 28, (number, 5), generator=generator)
    ids[:, 3], ids[:, 4] = 29, 0
    return {
        "pixels": torch.randn(number, 3, 3, 12, 12, generator=generator),
        "frame_mask": torch.ones(number, 3, dtype=torch.bool),
        "token_ids": ids,
    }


def build(config: UCoFiAConfig = SMALL, matrices: float = 0.1):
    """A model whose matrices are no identities."""
    torch.manual_seed(0)
    model = config.build()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "_map" in name or name.startswith("similarity."):
                parameter += matrices * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "frames: expected a number above 0, found 0"),
        ({"frames": 8}, "frames 8 exceed the 7 positions"),
        ({"heads": 5}, "dim 24 is no multiple of heads 5"),
        ({"scorer": "clip"}, "scorer: expected one of frame, video, found 'clip'"),
        ({"clip": CLIP, "words": 8}, "words 8 exceed CLIP's context of 7"),
        ({"clip": CLIP, "patches": 10}, "patches 10 exceed CLIP's 9 of a frame"),
        ({"sigma": 0}, "sigma: expected a number above 0, found 0"),
        ({"block": 0}, "block: expected a number above 0, found 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def test_published_sizes_have_the_published_number_of_parameters():
    config = UCoFiAConfig.msrvtt()
    assert (config.frames, config.words, config.vectors, config.clip.tokens) == (12, 32, 48, 50)
    assert config.clip.shifts == (10, 11)
    with torch.device("meta"):
        model = config.build()
    clip = sum(parameter.numel() for parameter in model.clip.parameters())
    assert clip == 151_277_313  # ViT-B/32
    blocks = 4 * (12 * 512 * 512 + 13 * 512)
    matrices = 4 * 512 * 512 + 12 * 12 + 2 * 32 * 32 + 2 * 48 * 48 + 77 * 512
    scorer = 2 * 512 + 256 * 512 + 256 * 512 + 256
    assert sum(parameter.numel() for parameter in model.parameters()) == clip + blocks + matrices + scorer


def test_a_batch_of_pixels_and_tokens_is_compared_and_learnt_from():
    model, batch = build(WITH_CLIP).train(), pixels()
    outputs = model(batch)
    assert outputs["levels"].shape == (3, 3, 3) and outputs["logits"].shape == (3, 3)
    losses = model.loss(outputs, batch)
    mean = (losses["text_to_video"] + losses["video_to_text"]) / 2
    assert losses["total"].item() == pytest.approx(mean.item())
    losses["total"].backward()
    for name, parameter in model.named_parameters():
        # embeddings and the norm after them stay as CLIP has them
        frozen = "embeddings." in name or "pre_layrnorm." in name
        assert parameter.requires_grad != frozen, name
        assert (parameter.grad is None) == frozen, name


def test_features_are_compared_as_the_tokens_they_come_from():
    model, batch = build(WITH_CLIP).eval(), pixels()
    with torch.no_grad():
        text = model.clip.encode_text(batch["token_ids"])
        images = model.clip.encode_images(batch["pixels"].flatten(0, 1))
        tokens = torch.cat([images.frame[:, None], images.patch], dim=1).unflatten(0, (3, 3))
        given = {"sentence": text.sentence, "words": text.word, "tokens": tokens}
        again = model(given | {"frame_mask": batch["frame_mask"]})
        torch.testing.assert_close(again["levels"], model(batch)["levels"])


def test_the_loss_of_equal_scores_is_that_of_guessing():
    losses = symmetric_loss(torch.zeros(5, 5))
    assert losses["total"].item() == pytest.approx(math.log(5))


def test_wrong_numbers_of_frames_and_words_are_named():
    model, batch = build(), features()
    with pytest.raises(ValueError, match="frames: 2, but the model's matrices are for 3"):
        model.videos(batch | {"tokens": batch["tokens"][:, :2]})
    with pytest.raises(ValueError, match="words: 4, but the model's matrices are for 5"):
        model.texts(batch | {"words": batch["words"][:, :4]})


# --- frames


def test_padded_frames_do_not_change_the_vector_of_the_video_but_count_as_frames():
    model, batch = build().eval(), features()
    changed = batch["tokens"].clone()
    changed[-1, -1] += 1
    with torch.no_grad():
        before, after = model.videos(batch), model.videos(batch | {"tokens": changed})
    torch.testing.assert_close(before.mapped, after.mapped)
    assert not torch.allclose(before.frames[-1], after.frames[-1])
    assert not torch.allclose(before.patches[-1], after.patches[-1])


@pytest.mark.parametrize("kind", ["frames", "pixels"])
def test_a_padded_frame_is_zero_after_normalisation(kind):
    model, batch = build(WITH_CLIP).eval(), pixels()
    batch["frame_mask"][1, 2] = False
    white = batch.pop("pixels")
    zeros = white.clone()
    if kind == "frames":
        frames = torch.randint(0, 256, (3, 3, 12, 12, 3), dtype=torch.uint8)
        zeros = model.clip.preprocess(frames.flatten(0, 1)).unflatten(0, (3, 3))
        white = frames
    zeros[1, 2] = 0
    with torch.no_grad():
        found = model.videos(batch | {kind: white})
        expected = model.videos(batch | {"pixels": zeros})
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_a_mask_of_numbers_is_one_of_booleans():
    model, batch = build().eval(), features()
    with torch.no_grad():
        found, expected = (
            model.videos(batch | {"frame_mask": batch["frame_mask"].long()}),
            model.videos(batch),
        )
    assert torch.equal(found.mapped, expected.mapped)


def test_a_batch_without_texts_or_videos_or_for_another_model_is_refused():
    model, batch = build(), features()
    mask = {"frame_mask": batch["frame_mask"]}
    with pytest.raises(ValueError, match="videos: a batch needs `frames`, `pixels` or `tokens`"):
        model.videos(mask)
    with pytest.raises(ValueError, match="texts: a batch needs `token_ids`, or `sentence` and `words`"):
        model.texts({"sentence": batch["sentence"]})
    for name in ("frames", "pixels"):
        with pytest.raises(ValueError, match=f"{name}: this model has no CLIP"):
            model.videos(mask | {name: torch.zeros(4, 3, 3, 12, 12)})
    with pytest.raises(ValueError, match="token_ids: this model has no CLIP"):
        model.texts({"token_ids": torch.ones(4, 5, dtype=torch.long)})
    with pytest.raises(ValueError, match="texts: this model has no CLIP"):
        model.tokenize(["a red star"])


def test_a_video_of_padding_alone_gives_numbers():
    model, batch = build().train(), features()
    batch["frame_mask"][0] = False
    loss = model.loss(model(batch), batch)["total"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_shifted_tokens_are_those_of_the_neighbouring_frames():
    # 15 tokens: t = 2, so 1, 3, 5, ... come from before, 4, 6, 8, ... from after
    tokens = torch.arange(3.0)[:, None, None].expand(3, 15, 1)
    assert shift_tokens(tokens, 3)[..., 0].tolist() == [
        [0, 0, 0, 0] + [1, 0] * 5 + [1],
        [1, 0, 1, 0] + [2, 0] * 5 + [2],
        [2, 1, 2, 1] + [2, 1] * 5 + [2],
    ]


def test_only_deep_towers_are_shifted():
    assert replace(CLIP, vision_layers=10).shifts == ()
    model, shallow = build(WITH_CLIP).eval(), build(replace(WITH_CLIP, clip=replace(CLIP, shifted=()))).eval()
    shallow.load_state_dict(model.state_dict())
    batch = pixels(1)
    with torch.no_grad():
        moved, still = model.videos(batch), shallow.videos(batch)
    assert not torch.allclose(moved.frames, still.frames)


# --- memory


def kept_by(function) -> list[int]:
    """How many numbers each storage has that is kept for the backward pass."""
    sizes = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    assert result.requires_grad
    return list(sizes.values())


def test_nothing_of_the_size_of_all_pairs_words_and_patches_is_kept():
    config = replace(SMALL, block=4)
    model, batch = build(config).train(), features(24, config)
    texts, videos = model.texts(batch), model.videos(batch)
    one = 24 * 24 * config.words * config.vectors
    kept = kept_by(lambda: model.compare(texts, videos))
    assert max(kept) < one / 4 and sum(kept) < one
    whole = kept_by(lambda: model.similarity.block(texts, videos, model.log_scale.exp()))
    assert max(whole) == one and sum(whole) > 5 * sum(kept)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_gradients_do_not_depend_on_the_size_of_blocks(block):
    gradients = {}
    for size in (2, block):
        model = build(replace(SMALL, block=size)).double().eval()
        batch = {name: v.double() if v.is_floating_point() else v for name, v in features().items()}
        batch["tokens"].requires_grad_()
        model.loss(model(batch), batch)["total"].backward()
        gradients[size] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        gradients[size]["tokens"] = batch["tokens"].grad
    for name, gradient in gradients[2].items():
        torch.testing.assert_close(gradients[block][name], gradient, msg=name)


def test_half_precision_stops_before_the_similarities():
    model, batch = build().eval(), features()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        texts, videos = model.texts(batch), model.videos(batch)
        levels = model.compare(texts, videos)
    with torch.no_grad():  # nothing behind the encoders was computed in half: all is as without autocast
        full = model.texts(batch), model.videos(batch)
        torch.testing.assert_close((*texts, *videos), (*full[0], *full[1]), rtol=0, atol=0)
        assert torch.equal(levels, model.compare(*full)) and levels.dtype == torch.float32


def test_only_clip_is_computed_in_half_precision():
    model, batch, kinds = build(WITH_CLIP).train(), pixels(), {}
    parts = {"clip": model.clip.model.vision_model, "selection": model.selection, "temporal": model.temporal}

    def note(name, output):
        kinds[name] = getattr(output, "last_hidden_state", output).dtype

    parts |= {"layer": model.clip.model.visual_projection, "scorer": model.selection.scorer}
    for name, part in parts.items():
        part.register_forward_hook(lambda module, given, output, name=name: note(name, output))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(batch)
    assert kinds.pop("layer") == torch.bfloat16 and kinds.pop("clip") is not None
    assert kinds == dict.fromkeys(("selection", "temporal", "scorer"), torch.float32)
    assert outputs["levels"].dtype == torch.float32


def test_sides_kept_in_half_are_upcast_a_block_at_a_time():
    model, batch = build().eval(), features(6)
    with torch.no_grad():
        sides = model.texts(batch), model.videos(batch)
        kept = [type(side)(*(part.half() for part in side)) for side in sides]
        seen = []
        plain = model.similarity.block
        model.similarity.block = lambda texts, *rest: seen.append(texts.words) or plain(texts, *rest)
        levels = model.compare(*kept)
        full = model.compare(*(type(side)(*(part.float() for part in side)) for side in kept))
    assert torch.equal(levels, full) and levels.dtype == torch.float32
    assert seen[0].dtype == torch.float16 and len(seen[0]) == 2


def test_a_block_is_at_least_one_text_and_video():
    model, batch = build().eval(), features()
    sides = model.texts(batch), model.videos(batch)
    for block in (0, -1):
        with pytest.raises(ValueError, match=f"block: expected a number above 0, found {block}"):
            model.compare(*sides, block)


# --- noise


def test_evaluation_is_without_noise_and_training_follows_the_seed():
    model, batch = build(), features()
    with torch.no_grad():
        model.eval()
        assert torch.equal(model.videos(batch).patches, model.videos(batch).patches)
        model.train()
        torch.manual_seed(3)
        first, second = model.videos(batch).patches, model.videos(batch).patches
        torch.manual_seed(3)
        again = model.videos(batch).patches
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_released_evaluation_draws_noise_and_leaves_out_the_map_of_patches():
    batch = features()
    noisy = build(replace(SMALL, noisy_evaluation=True)).eval()
    with torch.no_grad():
        noisy.selection.generator = torch.Generator().manual_seed(1)
        first, second = noisy.videos(batch).patches, noisy.videos(batch).patches
        noisy.selection.generator = torch.Generator().manual_seed(1)
        assert torch.equal(noisy.videos(batch).patches, first) and not torch.equal(first, second)
        mapped = build().eval()
        bare = build(replace(SMALL, patch_map_in_evaluation=False))
        torch.testing.assert_close(
            mapped.videos(batch).patches, bare.eval().videos(batch).patches @ mapped.patch_map
        )


# --- training


def test_the_factor_of_the_cosines_stays_at_a_hundred():
    model = build()
    with torch.no_grad():
        model.log_scale.fill_(7.0)
    model.after_step()
    assert model.log_scale.exp().item() == pytest.approx(100)


def test_groups_of_parameters_are_the_released_ones():
    model = build(WITH_CLIP)
    groups = model.parameter_groups()
    kinds = [(group["share"], group["weight_decay"]) for group in groups]
    assert kinds == [(1e-3, 0.2), (1e-3, 0.0), (1.0, 0.2), (1.0, 0.0)]
    assert all(group["betas"] == (0.9, 0.98) and group["eps"] == 1e-6 for group in groups)
    group_of = {id(p): number for number, group in enumerate(groups) for p in group["params"]}
    wanted = {
        "clip.model.logit_scale": 0,
        "clip.model.vision_model.post_layernorm.weight": 0,
        "clip.model.vision_model.post_layernorm.bias": 1,
        "temporal.blocks.0.norm_in.weight": 2,
        "similarity.frames": 2,
        "temporal.blocks.0.norm_in.bias": 3,
    }
    parameters = dict(model.named_parameters())
    assert {name: group_of[id(parameters[name])] for name in wanted} == wanted
    assert len(group_of) == sum(parameter.requires_grad for parameter in parameters.values())


def test_a_few_steps_learn_which_text_belongs_to_which_video():
    # The sentence is a hidden linear image of what all frames of the video show.
    config = replace(SMALL, samples=10, block=24)
    model = build(config, matrices=0.0).train()
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(config.dim, config.dim, generator=generator)).Q

    def make(number):
        scene = torch.randn(number, config.dim, generator=generator)
        noise = torch.randn(number, config.frames, 10, config.dim, generator=generator)
        words = scene[:, None] + 0.5 * torch.randn(number, config.words, config.dim, generator=generator)
        mask = torch.ones(number, config.frames, dtype=torch.bool)
        tokens = (scene @ turn)[:, None, None] + 0.5 * noise
        return {"sentence": scene, "words": words, "tokens": tokens, "frame_mask": mask}

    test = make(20)

    def found():
        with torch.no_grad():
            return (model.eval()(test)["logits"].argmax(dim=1) == torch.arange(20)).float().mean().item()

    before = found()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        batch = make(24)
        optimiser.zero_grad()
        model.train().loss(model(batch), batch)["total"].backward()
        optimiser.step()
        model.after_step()
    assert before <= 0.3 and found() >= 0.8  # one of 20 by chance


def test_the_temporal_encoder_starts_as_the_text_encoder_of_clip():
    clip = build(WITH_CLIP).clip
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter += 0.1
    model = SMALL.build().start_from(clip)
    text = clip.model.text_model
    assert torch.equal(model.temporal.positions, text.embeddings.position_embedding.weight)
    for block, layer in zip(model.temporal.blocks, text.encoder.layers, strict=True):
        states = torch.randn(2, 3, 24)
        layer.layer_norm1.eps = layer.layer_norm2.eps = 1e-12
        expected = layer(states, attention_mask=None)
        torch.testing.assert_close(block(states, torch.zeros(1, 1, 1, 3)), expected)
    assert model.log_scale == clip.model.logit_scale
    trained_along = WITH_CLIP.build().start_from(clip)
    for name, value in clip.state_dict().items():
        assert torch.equal(trained_along.clip.state_dict()[name], value), name
    changed = replace(WITH_CLIP, clip=replace(CLIP, vision_layers=3, vision_heads=4))
    message = "clip.vision_layers is 3, but 12 .*; clip.vision_heads is 4, but 2 in the CLIP to begin with"
    with pytest.raises(ValueError, match=message):
        changed.build().start_from(clip)
    with pytest.raises(ValueError, match="dim 32: CLIP's text encoder is 24 wide"):
        replace(SMALL, dim=32).build().start_from(clip)


def test_frames_and_sentences_of_stage_fit_its_configuration():
    model = UCoFiAConfig.stage().build()
    model.load_pretrained()
    text = model.clip.model.text_model
    assert torch.equal(model.clip.model.state_dict()["logit_scale"], Clip.stage().model.logit_scale)
    assert torch.equal(model.temporal.positions, text.embeddings.position_embedding.weight)
    frames = torch.randint(0, 256, (2, 8, 64, 64, 3), dtype=torch.uint8)
    batch = {"frames": frames, "frame_mask": torch.ones(2, 8, dtype=torch.bool)}
    batch["token_ids"] = model.tokenize(["the red star jumps", "it rests"])
    with torch.no_grad():
        assert model.eval()(batch)["logits"].isfinite().all()
        still = UCoFiAConfig.stage(clip=ClipSizes.stage(shifted=())).build().eval()
        still.load_state_dict(model.state_dict())
        images = Clip.stage().encode_frames(frames.flatten(0, 1))
        expected = torch.cat([images.frame[:, None], images.patch], dim=1).unflatten(0, (2, 8))
        pixels = still.clip.preprocess(frames.flatten(0, 1)).unflatten(0, (2, 8))
        torch.testing.assert_close(video_tokens(still.clip, pixels), expected)


# --- released weights


@pytest.fixture
def released() -> dict:
    """Weights under the authors' names, in shape and in number those of the small model with CLIP."""
    parameters, state = dict(build(WITH_CLIP).named_parameters()), {}
    for ours, place in ucofia_places(WITH_CLIP).items():
        value = parameters[ours].detach()
        value = value.T if place.transposed else value
        if place.third is None:
            state[place.name] = value
        else:
            state.setdefault(place.name, [None] * 3)[place.third] = value
    return {name: torch.cat(value) if isinstance(value, list) else value for name, value in state.items()}


def test_released_weights_are_taken_and_dead_weight_is_named(released):
    shifted = "clip.visual.transformer.resblocks.10.attn"
    released[f"{shifted}.net.in_proj_weight"] = released.pop(f"{shifted}.in_proj_weight")
    released["word_logit_weight"] = torch.eye(5)
    model = from_official("ucofia", {"module." + name: value for name, value in released.items()}, WITH_CLIP)
    assert not model.training and model.loading == ((), ("word_logit_weight",), ("word_logit_weight",))
    for name, value in build(WITH_CLIP).named_parameters():
        assert torch.equal(dict(model.named_parameters())[name], value), name


def test_missing_unknown_and_misshapen_weights_are_named(released):
    value = released.pop("global_mat_weight")
    with pytest.raises(ValueError, match="ucofia: missing global_mat_weight; not used cross"):
        from_official("ucofia", released | {"cross.weight": value}, WITH_CLIP)
    partly = from_official("ucofia", released | {"cross.weight": value}, WITH_CLIP, partial=True)
    assert partly.loading.missing == ("global_mat_weight",) and partly.loading.unused == ("cross.weight",)
    with pytest.raises(ValueError, match=r"frame_logit_weight has shape \(4, 4\), .* needs \(3, 3\)"):
        changed = {"global_mat_weight": value, "frame_logit_weight": torch.eye(4)}
        from_official("ucofia", released | changed, WITH_CLIP)


# --- retrieval


def test_a_test_text_among_the_reference_is_refused_unless_it_is_meant():
    model, batch = build().eval(), features(4)
    texts, videos = model.texts(batch), model.videos(batch)
    ids = ["a", "b", "c", "d"]
    train = Reference(model.texts(features(4, seed=1)), ["t", "u", "v", "w"])
    assert model.retrieve(texts, videos, ids, ids).protocol == "no bias"
    assert model.retrieve(texts, videos, ids, ids, train).protocol == "training queries"
    mixed = replace(train, text_ids=["t", "c", "u", "v"])
    with pytest.raises(ReferenceSetError, match="reference texts: 'c' is one of the test"):
        model.retrieve(texts, videos, ids, ids, mixed)
    found = model.retrieve(texts, videos, ids, ids, mixed, transductive=True)
    assert found.protocol == "transductive"
    with pytest.raises(ReferenceSetError, match="reference texts: 3 ids for 4 of them"):
        model.retrieve(texts, videos, ids, ids, replace(train, text_ids=["t", "u", "v"]))
    with pytest.raises(ReferenceSetError, match="reference videos: 'd' is one of the test"):
        model.retrieve(texts, videos, ids, ids, Reference(videos=videos, video_ids=["d", "x", "y", "z"]))


def test_no_test_without_ids_and_no_empty_reference():
    model, batch = build().eval(), features(4)
    texts, videos = model.texts(batch), model.videos(batch)
    ids = ["a", "b", "c", "d"]
    itself = Reference(texts, ids)
    with pytest.raises(ReferenceSetError, match="texts: 0 ids for 4 of them"):
        model.retrieve(texts, videos, [], [], itself)
    with pytest.raises(ReferenceSetError, match="videos: 3 ids for 4 of them"):
        model.retrieve(texts, videos, ids, ids[:3], itself)
    for empty in (
        Reference(type(texts)(*(part[:0] for part in texts))),
        Reference(videos=type(videos)(*(part[:0] for part in videos))),
    ):
        with pytest.raises(ReferenceSetError, match=r"reference (texts|videos): 0 ids for 0 of them"):
            model.retrieve(texts, videos, ids, ids, empty)


def test_the_protocol_says_what_was_done_not_what_was_allowed():
    model, batch = build().eval(), features(4)
    texts, videos, ids = model.texts(batch), model.videos(batch), ["a", "b", "c", "d"]
    train = Reference(model.texts(features(4, seed=1)), ["t", "u", "v", "w"])
    found = model.retrieve(texts, videos, ids, ids, train, transductive=True)
    assert found.protocol == "training queries"
    both = replace(train, videos=videos, video_ids=ids)
    assert model.retrieve(texts, videos, ids, ids, both, transductive=True).protocol == "transductive"
