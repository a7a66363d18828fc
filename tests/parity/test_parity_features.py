"""Our CLIP, resampling, loaders and tokenising give the numbers of the released codes."""

import json

import pytest
import torch
from reloclnet_sides import normalised
from safetensors import safe_open
from safetensors.torch import load_file

from vmrlib.data.clips import (
    append_end_points,
    l2_normalise,
    limit_clips,
    pad,
    pool_boundary_points,
    resample_mean,
)
from vmrlib.models.clip import Clip
from vmrlib.models.reloclnet_losses import clips_inside, span_labels
from vmrlib.text import Vocabulary, clean, tokenize


def files(golden, pattern):
    found = sorted(golden.glob(pattern))
    if not found:
        pytest.fail(f"no reference figures {golden / pattern}")
    return found


def official_weights(data, prefix):
    return {key[len(prefix) :]: value for key, value in data.items() if key.startswith(prefix)}


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def assert_scaled(ours, reference, tolerance, what):
    """The READMEs' measure: largest difference over the larger of 1 and the largest reference."""
    assert ours.shape == reference.shape, f"{what}: {tuple(ours.shape)} against {tuple(reference.shape)}"
    error = (ours - reference).abs().max() / max(1.0, reference.abs().max())
    assert error <= tolerance, f"{what}: {error:.1e} exceeds {tolerance:.0e}"


def ran(what, count, found):
    print(f"{what}: {count} of {len(found)} files")
    assert count == len(found)


def test_clip_gives_the_features_of_the_official_model(golden):
    found, count = files(golden, "ucofia/clip*.safetensors"), 0
    for path in found:
        data, sizes = load_file(path), metadata_of(path)
        weights = official_weights(data, "weight.")
        clip = Clip.from_openai(weights, vision_heads=int(sizes["vh"]), text_heads=int(sizes["th"]))
        with torch.no_grad():
            images = clip.encode_images(data["input.image"])
            texts = clip.encode_text(data["input.input_ids"])
        tokens = torch.cat([images.frame[:, None], images.patch], dim=1)
        assert clip.dim == int(sizes["D"])
        assert_scaled(images.frame, data["out.noshift.frame_cls"], 1e-5, f"{path.name} frame")
        assert_scaled(tokens, data["out.noshift.tokens"], 1e-5, f"{path.name} patch")
        assert_scaled(texts.sentence, data["out.text.eot"], 1e-5, f"{path.name} sentence")
        assert_scaled(texts.word, data["out.text.tokens"], 1e-5, f"{path.name} word")
        count += 1
    ran("clip_tiny", count, found)


def test_names_of_shifted_layers_load_as_the_plain_ones(golden):
    for path in files(golden, "ucofia/clip*.safetensors"):
        data, sizes = load_file(path), metadata_of(path)
        plain = official_weights(data, "weight.clip.")
        renamed = json.loads(sizes["renamed_in_official_checkpoint"])
        back = {name.replace(".attn.net.", ".attn."): name for name in renamed}
        assert back.keys() <= plain.keys(), f"{path.name}: renamed weights are not among the weights"
        checkpoint = {f"clip.{back.get(name, name)}": value for name, value in plain.items()}
        heads = {"vision_heads": int(sizes["vh"]), "text_heads": int(sizes["th"])}
        ours, again = Clip.from_openai(plain, **heads), Clip.from_openai(checkpoint, **heads)
        for name, value in ours.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), name


def test_msat_resamples_and_pools_as_released(golden):
    found, count = files(golden, "msat/data*.safetensors"), 0
    for path in found:
        data = load_file(path)
        cases = [key[: -len("/in")] for key in data if key.endswith("/in")]
        kinds = {case.split("/")[0] for case in cases}
        assert kinds == {"resample", "pool"}, f"{path.name} holds {kinds}"
        for case in cases:
            given, expected = data[f"{case}/in"], data[f"{case}/out"]
            if case.startswith("resample"):
                ours = resample_mean(given, len(expected))
            else:
                ours = pool_boundary_points(given, given.shape[1] // (expected.shape[1] - 1))
            assert (ours - expected).abs().max() <= 3e-5, f"{path.name} {case}"
        count += 1
    ran("msat data", count, found)


def test_mmn_resamples_normalised_rows_as_released(golden):
    found, count = files(golden, "mmn/avgfeats*.safetensors"), 0
    for path in found:
        data, config = load_file(path), json.loads(metadata_of(path)["config"])
        for index, length in enumerate(config["lens"]):
            assert len(data[f"in.{index}"]) == length
            ours = resample_mean(l2_normalise(data[f"in.{index}"]), config["num_pre_clips"])
            torch.testing.assert_close(ours, data[f"out.{index}"], atol=1e-5, rtol=1e-5)
        count += 1
    ran("mmn avgfeats", count, found)


def reloclnet_context(rows, of_norm_one, longest, end_points):
    rows = limit_clips(rows, longest)
    rows = l2_normalise(rows, added=1e-5) if of_norm_one else rows
    return append_end_points(rows) if end_points else rows


def test_reloclnet_loads_contexts_queries_and_labels_as_released(golden):
    found, count = files(golden, "reloclnet/data*.safetensors"), 0
    for path in found:
        data, config = load_file(path), json.loads(metadata_of(path)["json"])
        longest, words = config["max_ctx_len"], config["max_desc_len"]
        items, videos = config["items"], list(config["clips"])
        # group of outputs -> (videos in its rows, is the visual part normalised, is the text)
        asked, end_points = [item["vid_name"] for item in items], config["ctx_mode"].endswith("_tef")
        groups = {name: (asked, *normalised(config[name])) for name in ("train", "train_swapnorm")}
        groups["eval_ctx"] = (videos, *groups["train"][1:])
        for group, (names, *flags) in groups.items():
            for stream, flag in zip(("video", "sub"), flags, strict=True):
                rows = [
                    reloclnet_context(data[f"in.{stream}.{name}"], flag, longest, end_points)
                    for name in names
                ]
                padded, mask = pad(rows, longest)
                what = f"out.{group}.{stream}_feat"
                assert_scaled(padded, data[what], 1e-5, f"{path.name} {what}")
                if f"out.{group}.{stream}_mask" in data:
                    assert torch.equal(mask.float(), data[f"out.{group}.{stream}_mask"])
        queries = [l2_normalise(data[f"in.query.{item['desc_id']}"][:words], added=1e-5) for item in items]
        padded, mask = pad(queries)
        for group in ("train", "eval_query"):
            assert_scaled(padded, data[f"out.{group}.query_feat"], 1e-5, f"{path.name} {group} query")
            assert torch.equal(mask.float(), data[f"out.{group}.query_mask"])
        for row, item in enumerate(items):
            clips = min(config["clips"][item["vid_name"]], longest)
            moment = torch.tensor([item["ts"]], dtype=torch.float64) / config["clip_length"]
            labels = span_labels(moment, torch.arange(longest)[None] < clips)
            assert torch.equal(labels[0], data["out.train.st_ed_indices"][row]), item
            inside = clips_inside(labels, longest)[0].long()
            assert torch.equal(inside, data["out.train.match_labels"][row]), item
        count += 1
    ran("reloclnet data", count, found)


def test_msat_cleans_splits_and_looks_up_words_as_released(golden):
    found, count = files(golden, "msat/text_cases*.json"), 0
    for path in found:
        reference = json.loads(path.read_text(encoding="utf-8"))
        words = reference["vocab"]
        assert reference["cases"], f"{path.name} holds no cases"
        rows = {
            row: token
            for case in reference["cases"]
            for token, row in zip(case["tokens"], case["glove_index"], strict=True)
            if row != reference["glove_unk"]
        }
        # The table of vectors holds words that no case uses: any name will do for those.
        vectors = [rows.get(row, f"(row {row})") for row in range(max(rows) + 1)]
        row_of = Vocabulary(vectors, unknown=reference["glove_unk"])
        for case in reference["cases"]:
            tokens = tokenize(case["sentence"])
            labels = Vocabulary(words, unknown=reference["unk_label"][case["dataset"]])
            assert clean(case["sentence"]) == case["cleaned"]
            assert tokens == case["tokens"]
            assert labels(tokens) == case["label"]
            assert row_of(tokens) == case["glove_index"]
        count += 1
    ran("msat text_cases", count, found)
