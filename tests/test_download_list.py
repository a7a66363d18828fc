"""data_download.sh beyond one file: what is listed, fetched by hand, unpacked, mirrored and remembered."""

import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from download_server import (
    CONTENT,
    ROOT,
    download,
    files_below,
    needs_bash,
    row,
    serve,
    write_list,
    write_manifest,
)

from vmrlib.data import archives, download_steps
from vmrlib.data.annotations import read_jsonl
from vmrlib.data.datasets import DATASETS
from vmrlib.data.downloads import DownloadError, File, Record, checksum, read_manifest, state

pytestmark = needs_bash
server = pytest.fixture(serve)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"folder/{name}.txt", content)
    return buffer.getvalue()


def by_hand(path: str, **fields) -> dict:
    """A target of one kind of features that no program can fetch."""
    kind = {
        "about": "C3D of TACoS",
        "links": ["https://box.example/1"],
        "take": "the file (1 GB)",
        "source": "2D-TAN",
    }
    return {"files": [row(path, [], None, kind="c3d")], "kinds": {"c3d": kind | fields}, "default": ["c3d"]}


# files without a published checksum


def test_a_file_without_checksum_is_read_through_and_remembered(tmp_path, server):
    archive = zipped(a=b"x" * 5000)
    server.contents["a.zip"] = archive
    manifest = write_list(tmp_path, set=[row("a.zip", [server.url("good/a.zip")], None)])
    first = download(tmp_path / "data", "--manifest", manifest, "set")
    assert first.returncode == 0, first.stderr
    assert "nobody publishes a checksum; it can be read" in first.stdout
    kept = json.loads((tmp_path / "data/downloads-record.json").read_text())["files"]["a.zip"]
    assert kept == {"bytes": len(archive), "checksum": checksum(tmp_path / "data/a.zip")}
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 0
    assert len(server.requests) == 1
    assert download(tmp_path / "data", "--manifest", manifest, "--verify").returncode == 0
    (tmp_path / "data/a.zip").write_bytes(archive[:-1] + b"x")
    outcome = download(tmp_path / "data", "--manifest", manifest, "--verify")
    assert outcome.returncode == 1 and outcome.stderr.splitlines() == ["damaged: a.zip"]


def test_a_damaged_archive_without_checksum_is_rejected(tmp_path, server):
    archive = bytearray(zipped(a=np.random.default_rng(0).bytes(5000)))
    archive[2000] ^= 1
    server.contents["a.zip"] = bytes(archive)
    server.contents["b.zip"] = b"<!DOCTYPE html><title>Quota exceeded</title>"
    files = [row(name, [server.url(f"good/{name}")], None) for name in ("a.zip", "b.zip")]
    outcome = download(tmp_path / "data", "--manifest", write_list(tmp_path, set=files), "set")
    assert outcome.returncode == 1
    assert (
        "a.zip member folder/a.txt is damaged" in outcome.stderr and "b.zip is a web page" in outcome.stderr
    )
    assert not list((tmp_path / "data").glob("*.zip*"))


def test_contents_are_read_to_their_end(tmp_path):
    def problem(name: str, content: bytes) -> str | None:
        (tmp_path / name).write_bytes(content)
        return archives.problem(tmp_path / name)

    with tarfile.open(tmp_path / "right.tar.gz", "w:gz") as archive:
        (tmp_path / "member").write_bytes(np.random.default_rng(0).bytes(50_000))
        archive.add(tmp_path / "member")
    with h5py.File(tmp_path / "right.hdf5", "w") as file:
        file["v"] = np.zeros((100, 8))
    right = {
        "a.zip": zipped(a=b"12345" * 100),
        "a.gz": gzip.compress(np.random.default_rng(0).bytes(5000)),
        "a.json": b'{"a": [1, 2, 3]}',
        "a.jsonl": b'{"a": 1}\n\n{"a": 2}\n',
        "a.tar.gz": (tmp_path / "right.tar.gz").read_bytes(),
        "a.hdf5": (tmp_path / "right.hdf5").read_bytes(),
    }
    for name, content in right.items():
        assert problem(name, content) is None, name
        assert problem(name, content[: len(content) // 2 - 2]), name
        assert problem(name, b"") == "is empty"
        assert "web page" in problem(name, b"\n <HTML>")
    assert problem("a.pkl", b"anything") is None
    assert problem("bom.json", b"\xef\xbb\xbf[1]") is None


def test_contents_that_nobody_can_read_are_named_and_raise_nothing_else(tmp_path):
    flags, method = (bytearray(zipped(a=b"12345" * 100)) for _ in range(2))
    for start, byte, value in [(flags, 6, 1), (method, 8, 99)]:  # encrypted; a method that nobody knows
        start[byte] = value
        start[start.index(b"PK\1\2") + byte + 2] = value
    damaged = {
        "password.zip": bytes(flags),
        "method.zip": bytes(method),
        "short.hdf5": archives.HDF5,
        "shorter.hdf5": archives.HDF5 + bytes(20),
        "deep.json": b"[" * 100_000,
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        assert archives.problem(tmp_path / name).startswith(("cannot be read: ", "is cut off")), name
        if name.endswith("zip"):
            with pytest.raises(ValueError, match=f"{name}: cannot be read"):
                archives.unpack([tmp_path / name], "a.txt", tmp_path / "a.txt")


# archives


def test_an_archive_in_parts_is_unpacked_and_may_be_deleted_then(tmp_path, server):
    archive = zipped(captions=CONTENT, other=b"1")
    names = [f"a.part-0{number}" for number in range(3)]
    third = len(archive) // 3
    for number, name in enumerate(names):
        server.contents[name] = archive[number * third : (number + 1) * third if number < 2 else None]
    target = {
        "files": [row(f"c3d/{name}", [server.url(f"good/{name}")], None) for name in names],
        "kinds": {"": {"about": "parts", "unpack": {"captions.txt": "c3d/out/captions.txt"}}},
    }
    manifest = write_list(tmp_path, set=target)
    outcome = download(tmp_path / "data", "--manifest", manifest, "set")
    assert outcome.returncode == 0, outcome.stderr
    assert "unpacked c3d/out/captions.txt" in outcome.stdout
    unpacked = tmp_path / "data/c3d/out/captions.txt"
    assert unpacked.read_bytes() == CONTENT
    for name in names:
        (tmp_path / "data/c3d" / name).unlink()
    again = download(tmp_path / "data", "--manifest", manifest, "set")
    assert again.returncode == 0 and len(server.requests) == 3
    unpacked.write_bytes(CONTENT[:-1] + b"x")
    assert download(tmp_path / "data", "--manifest", manifest, "--verify").returncode == 1


def test_parts_that_do_not_fit_together_are_named(tmp_path, server):
    archive = bytearray(zipped(captions=np.random.default_rng(0).bytes(9000)))
    archive[4000] ^= 1
    server.contents |= {"a.part-00": bytes(archive[:5000]), "a.part-01": bytes(archive[5000:])}
    target = {
        "files": [row(f"a.part-0{n}", [server.url(f"good/a.part-0{n}")], None) for n in range(2)],
        "kinds": {"": {"about": "parts", "unpack": {"captions.txt": "captions.txt"}}},
    }
    outcome = download(tmp_path / "data", "--manifest", write_list(tmp_path, set=target), "set")
    assert outcome.returncode == 1 and "a.part-00: cannot be read" in outcome.stderr
    assert not (tmp_path / "data/captions.txt").exists()


def test_a_member_comes_out_of_a_tar_archive(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name in ("x/one.json", "x/two.json"):
            information = tarfile.TarInfo(name)
            information.size = 5
            archive.addfile(information, io.BytesIO(name[2:5].encode() + b"\n\n"))
    archives.unpack([tmp_path / "a.tar.gz"], "two.json", tmp_path / "out" / "two.json")
    assert (tmp_path / "out/two.json").read_bytes() == b"two\n\n"
    with pytest.raises(ValueError, match=r"a\.tar\.gz: has no member three\.json"):
        archives.unpack([tmp_path / "a.tar.gz"], "three.json", tmp_path / "three.json")


# files that are fetched by hand


def test_what_no_program_can_fetch_is_explained_then_checked(tmp_path, server):
    path = "features/tacos/c3d.hdf5"
    manifest = write_list(tmp_path, tacos_features=by_hand(path))
    for arguments in (["tacos-features"], ["--dry-run", "tacos-features/c3d"]):
        missing = download(tmp_path / "data", "--manifest", manifest, *arguments)
        assert missing.returncode == 1
        assert f"missing, to be fetched by hand: {path}" in missing.stderr
        told = missing.stdout
        assert "open    https://box.example/1" in told and "take    the file (1 GB)" in told
        assert f"to      {tmp_path / 'data' / path}\n" in told
        assert "check   bash data_download.sh tacos-features/c3d" in told and "2D-TAN" in told
    assert not (tmp_path / "data").exists()
    file = tmp_path / "data" / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"<html>Sign in</html>")
    wrong = download(tmp_path / "data", "--manifest", manifest, "tacos-features")
    assert wrong.returncode == 1 and f"{path} is a web page" in wrong.stderr
    with h5py.File(file, "w") as content:
        content["v"] = np.zeros(5)
    right = download(tmp_path / "data", "--manifest", manifest, "tacos-features")
    assert right.returncode == 0, right.stderr
    assert path in Record(tmp_path / "data").files
    file.write_bytes(file.read_bytes() + b"x")
    changed = download(tmp_path / "data", "--manifest", manifest, "--verify")
    assert changed.returncode == 1 and f"damaged, to be fetched by hand: {path}" in changed.stderr
    assert server.requests == []


def test_features_that_are_there_are_compared_with_the_annotations(tmp_path, monkeypatch, capsys):
    path = "features/tacos/tall_c3d_features.hdf5"
    manifest = write_list(tmp_path, tacos_features=by_hand(path, features=path))
    data = tmp_path / "data"
    (data / "annotations/tacos").mkdir(parents=True)
    (data / "features/tacos").mkdir(parents=True)
    video = {"timestamps": [[10, 200]], "sentences": ["He cuts."], "fps": 29.4, "num_frames": 294}
    (data / "annotations/tacos/train.json").write_text(json.dumps({"s1.avi": video, "s2.avi": video}))
    with h5py.File(data / path, "w") as file:
        file["s1.avi"] = np.zeros((20, 4096), "f4")
    monkeypatch.setenv("VMRLIB_DATA", str(data))
    monkeypatch.delenv("VMRLIB_MIRROR", raising=False)
    assert download_steps.main("end", str(manifest), "fetch", str(data), "0", "tacos-features") == 1
    told = capsys.readouterr().out
    assert "tacos/c3d (4096 numbers a row): incomplete: 1 missing of 2 (s2)" in told


def test_a_failed_download_that_has_pages_too_shows_them(tmp_path, server):
    kind = {"about": "C3D", "links": ["https://box.example/2"], "take": "c3d.hdf5", "source": "2D-TAN"}
    kind["unpack"] = {"c3d.hdf5": "c3d.hdf5"}
    target = {"files": [row("a.zip", [server.url("absent/a")], None)], "kinds": {"": kind}}
    manifest = write_list(tmp_path, set=target)
    outcome = download(tmp_path / "data", "--manifest", manifest, "set")
    assert outcome.returncode == 1 and "could not be fetched: a.zip" in outcome.stderr
    assert (
        "https://box.example/2" in outcome.stdout
        and f"to      {tmp_path / 'data/c3d.hdf5'}" in outcome.stdout
    )
    with h5py.File(tmp_path / "data/c3d.hdf5", "w") as file:
        file["v"] = np.zeros(5)
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 0


# groups, kinds and what is asked for later


def test_groups_and_kinds_stand_for_targets(tmp_path, server):
    files = [row(f"{kind}.mp4", [server.url(f"good/{kind}")], kind=kind) for kind in ("small", "large")]
    kinds = {kind: {"about": kind} for kind in ("small", "large")}
    videos = {"files": files, "kinds": kinds, "default": ["small"]}
    groups = {"all": ["one", "videos"]}
    manifest = write_list(
        tmp_path, one=[row("one.txt", [server.url("good/one")])], videos=videos, groups=groups
    )
    assert download(tmp_path / "data", "--manifest", manifest, "all", "one").returncode == 0
    assert files_below(tmp_path / "data") == ["one.txt", "small.mp4"]
    assert download(tmp_path / "data", "--manifest", manifest, "videos/large").returncode == 0
    listed = download(tmp_path / "data", "--manifest", manifest, "--list").stdout
    assert "videos alone means /small" in listed and "all: one, videos" in listed


def test_verify_names_damaged_and_missing_files(tmp_path):
    manifest = write_manifest(tmp_path, a=["http://x/a"], b=["http://x/b"], c=["http://x/c"])
    videos = tmp_path / "data/videos"
    nothing = download(tmp_path / "data", "--manifest", manifest, "--verify")
    assert nothing.returncode == 0 and "nothing" in nothing.stdout
    videos.mkdir(parents=True)
    (videos / "a.mp4").write_bytes(CONTENT)
    (videos / "b.mp4").write_bytes(CONTENT[:-1] + b"x")
    outcome = download(tmp_path / "data", "--manifest", manifest, "--verify")
    assert outcome.returncode == 1
    assert outcome.stderr.splitlines() == ["damaged: videos/b.mp4", "missing: videos/c.mp4"]
    for name in "bc":
        (videos / f"{name}.mp4").write_bytes(CONTENT)
    assert download(tmp_path / "data", "--manifest", manifest, "--verify").returncode == 0


def test_verify_remembers_what_was_asked_for_in_vain(tmp_path, server):
    files = {name: [row(f"{name}.txt", [server.url(f"good/{name}")])] for name in ("one", "two", "three")}
    manifest = write_list(tmp_path, **files)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/one.txt").write_bytes(CONTENT)
    mirror = {"VMRLIB_MIRROR": str(tmp_path / "mirror")}
    assert download(tmp_path / "data", "--manifest", manifest, "one", "two", **mirror).returncode == 1
    outcome = download(tmp_path / "data", "--manifest", manifest, "--verify")
    assert outcome.returncode == 1 and outcome.stderr.splitlines() == ["missing: two.txt"]
    assert download(tmp_path / "data", "--manifest", manifest, "two").returncode == 0
    assert download(tmp_path / "data", "--manifest", manifest, "--verify").returncode == 0
    assert files_below(tmp_path / "data") == ["one.txt", "two.txt"]


def test_a_local_mirror_replaces_the_network(tmp_path, server):
    files = [row(f"videos/{name}.mp4", [server.url(f"good/{name}")]) for name in ("a", "b", "c")]
    files.append(row("annotations/d.json", [server.url("good/d")], None, mirror="elsewhere/d.json"))
    manifest = write_list(tmp_path, set=files)
    mirror = tmp_path / "mirror"
    (mirror / "videos").mkdir(parents=True)
    (mirror / "elsewhere").mkdir(parents=True)
    (mirror / "videos/a.mp4").write_bytes(CONTENT)
    (mirror / "videos/b.mp4").write_bytes(CONTENT[:-1] + b"x")
    (mirror / "videos/a.mp4").chmod(0o444)
    (mirror / "elsewhere/d.json").write_text("{}")
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", VMRLIB_MIRROR=str(mirror))
    assert outcome.returncode == 1
    assert "videos/b.mp4: wrong checksum" in outcome.stderr
    assert "not in the mirror: videos/c.mp4" in outcome.stderr
    assert files_below(tmp_path / "data") == ["annotations/d.json", "downloads-record.json", "videos/a.mp4"]
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tacso"], "no target 'tacso'; there are tacos"),
        (["tacos-features/c4d"], "no target 'tacos-features/c4d'; there are tacos-features/c3d"),
        (["--nonsense"], "unknown option --nonsense"),
        (["--manifest", "absent.json", "set"], "absent.json"),
        (["VMRLIB_STALL_SECONDS=abc"], "VMRLIB_STALL_SECONDS is abc, wanted whole seconds"),
        (["VMRLIB_STALL_SECONDS=0.5"], "VMRLIB_STALL_SECONDS is 0.5, wanted whole seconds"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, arguments, message):
    settings = dict(each.split("=") for each in arguments if "=" in each)
    outcome = download(tmp_path / "data", *[each for each in arguments if "=" not in each], **settings)
    assert outcome.returncode == 2
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_the_steps_run_with_the_standard_library_alone(tmp_path):
    """The script runs before anything is installed; only features cannot be compared then."""
    path = "features/tacos/c3d.zip"
    manifest = write_list(tmp_path, tacos_features=by_hand(path, features=path))
    (tmp_path / "data/features/tacos").mkdir(parents=True)
    (tmp_path / "data" / path).write_bytes(zipped(a=b"1"))
    step = [sys.executable, "-S", "-m", "vmrlib.data.download_steps"]
    for name, other in (("begin", ""), ("end", "0")):
        outcome = subprocess.run(
            [*step, name, manifest, "fetch", tmp_path / "data", other, "tacos-features"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
    assert "not compared with the annotations" in outcome.stdout


# the list itself


def test_a_git_blob_id_and_md5_settle_a_file_as_well(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    blob = "git_blob:ce013625030ba8dba906f756967f9e9ca394464a"  # printf 'hello\n' | git hash-object --stdin
    md5 = "md5:b1946ac92492d2347c6235b4d2611184"
    assert checksum(tmp_path / "a.txt", "git_blob") == blob and checksum(tmp_path / "a.txt", "md5") == md5
    assert state(File("a.txt", 6, blob, "MIT", ()), tmp_path) == "right"
    assert state(File("a.txt", None, md5, "MIT", ()), tmp_path) == "right"
    assert state(File("a.txt", None, None, "MIT", ()), tmp_path) == "unrecorded"
    (tmp_path / "a.txt").write_bytes(b"hallo\n")
    assert state(File("a.txt", 6, blob, "MIT", ()), tmp_path) == "damaged"
    assert state(File("b.txt", 6, blob, "MIT", ()), tmp_path) == "missing"


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "downloads-record.json").write_text("{")
    with pytest.raises(DownloadError, match=r"downloads-record\.json: damaged .* delete it"):
        Record(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"urls": "http://x/a"}, "urls is 'http://x/a', wanted a list of texts"),
        ({"urls": ["http://x/a", ""]}, "urls is '', wanted a text of one line"),
        ({"bytes": "12"}, "bytes is '12', wanted a number of bytes or null"),
        ({"bytes": 0}, "bytes is 0, wanted"),
        ({"sha256": "abc"}, "sha256 is 'abc', which is none"),
        ({"mirror": ""}, "mirror is '', wanted"),
        ({"path": "../x"}, r"path is '\.\./x', wanted a path in the data folder"),
        ({"path": "/abs"}, "path is '/abs', wanted a path in the data folder"),
        ({"path": "folder/"}, "a folder cannot have urls"),
        ({"licence": "a\tb"}, "licence is 'a.*b', wanted a text of one line"),
        ({"kind": "x"}, r"its files are of the kinds \['x'\], and it has \[\]"),
        ({"url": "http://x/a"}, "unknown field 'url'"),
        ({"path": None}, "path is None, wanted"),
    ],
)
def test_a_mistake_in_the_list_is_named(tmp_path, fields, message):
    with pytest.raises(
        DownloadError, match=rf"downloads\.json: target 'set'(, file 1( \(.*\))?)?: {message}"
    ):
        read_manifest(write_list(tmp_path, set=[row("a.txt", ["http://x/a"]) | fields]))


def test_a_mistake_in_a_target_or_group_is_named(tmp_path):
    files = {"files": [row("a.txt", [], None)]}
    for target, message in [
        (files | {"notice": "Name the source."}, "notice is 'Name the source.', wanted a list"),
        (files | {"kinds": {"": {"about": "x", "unpack": {"a": "../a"}}}}, "a is '../a', wanted a path"),
        (files | {"kinds": {"": {"about": "x", "links": "http://x"}}}, "links is 'http://x', wanted a list"),
        ({"files": []}, "its files are of the kinds [], and it has []"),
    ]:
        with pytest.raises(DownloadError, match=re.escape(message)):
            read_manifest(write_list(tmp_path, set=target))
    with pytest.raises(DownloadError, match="group 'all': no target 'b'"):
        read_manifest(write_list(tmp_path, a=files, groups={"all": ["b"]}))
    upper = row("a.txt", []) | {"sha256": "A" * 64}
    del upper["bytes"], upper["urls"]
    (file,) = read_manifest(write_list(tmp_path, a=[upper])).targets["a"].files
    assert file.checksum == f"sha256:{'a' * 64}" and file.bytes is None and file.urls == ()


def test_the_list_is_sound():
    manifest = read_manifest()
    lengths = {"sha256": 64, "git_blob": 40, "md5": 32}
    for name, target in manifest.targets.items():
        assert target.notice and target.files and target.about and target.section, name
        assert len({file.path for file in target.files}) == len(target.files)
        kinds = dict(target.kinds)
        assert set(target.default) <= set(kinds)
        assert {file.kind for file in target.files} == set(kinds or {""}), name
        for file in target.files:
            assert ".." not in file.path and not file.path.startswith("/")
            assert file.licence and (file.bytes is None or file.bytes > 0), file.path
            assert all(re.fullmatch(r"https?://[^\s\"'<>]+", url) for url in file.urls), file.path
            if file.checksum is not None:
                kind, _, digits = file.checksum.partition(":")
                assert re.fullmatch(rf"[0-9a-f]{{{lengths[kind]}}}", digits), file.path
            if file.urls and file.urls[0].startswith("http:"):
                assert file.checksum or file.bytes is None, file.path
            if not file.urls:
                assert kinds[file.kind].links and kinds[file.kind].take and kinds[file.kind].source, file.path
                assert file.checksum is None and file.bytes is None
    for name, members in manifest.groups.items():
        assert name not in manifest.targets and set(members) <= set(manifest.targets)


def test_every_dataset_has_its_targets():
    manifest = read_manifest()
    assert set(DATASETS) == set(manifest.groups["all-annotations"])
    for dataset in DATASETS:
        for file in manifest.targets[dataset].files:
            assert file.path.startswith(f"annotations/{dataset}/") and file.mirror.startswith(
                f"mirror/{dataset}/"
            )
        known = {*manifest.targets, *manifest.groups}
        assert f"{dataset}-videos" in known
        assert f"{dataset}-features" in known or dataset in ("msrvtt", "msvd", "vatex"), dataset


def test_list_names_every_target_and_licence(tmp_path):
    outcome = download(tmp_path / "data", "--list")
    assert outcome.returncode == 0
    for name, target in read_manifest().targets.items():
        assert f"{name}: {target.about}" in outcome.stdout
        assert all(file.licence in outcome.stdout for file in target.files)
    assert "all-annotations: tacos, " in outcome.stdout and "size unknown" in outcome.stdout


def test_the_labels_of_the_free_clips_belong_to_fetched_videos():
    queries = read_jsonl(ROOT / "vmrlib/data/free_clips_labels.jsonl")
    videos = {Path(file.path).stem for file in read_manifest().targets["clips"].files}
    assert len(queries) == 18
    assert {query.video_id for query in queries} <= videos
    assert all(end <= query.duration for query in queries for _, end in query.moments)


def test_what_the_real_mirror_has_is_fetched_right_and_the_rest_is_named(tmp_path, mirror):
    manifest = read_manifest()
    direct = [name for name, target in manifest.targets.items() if all(file.urls for file in target.files)]
    units = manifest.choose(direct)
    files = {file.path: file for unit in units for file in unit.files}.values()
    there = [file for file in files if (mirror / file.mirror).is_file()]
    outcome = download(tmp_path / "data", *direct, VMRLIB_MIRROR=str(mirror))
    assert outcome.returncode == 1
    assert len(there) >= 90 and f"{len(there)} of {len(files)} files are right" in outcome.stdout
    assert all(state(file, tmp_path / "data") == "right" for file in there)
    absent = {file.path for file in files} - {file.path for file in there}
    named = {line.rpartition(": ")[2] for line in outcome.stderr.splitlines()}
    assert named == absent
    verified = download(tmp_path / "data", "--verify")
    assert verified.returncode == 1
    assert {line.rpartition(": ")[2] for line in verified.stderr.splitlines()} == absent
