"""Weight files in the forms that people have: each is read right, or refused in one sentence."""

import argparse
import collections
import json
import logging
import os
import pathlib
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from netadapt.errors import ModelError
from netadapt.models import load_weights


def net(value: float | None = None) -> nn.Sequential:
    """A small network with a normalization; all tensors have the value, if one is given."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    if value is not None:
        for tensor in model.state_dict().values():
            tensor.fill_(value)
    return model


def state(value: float, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in net(value).state_dict().items()}


def loaded(path: pathlib.Path, content: object = None) -> float:
    """The one value that all tensors have once the file is loaded."""
    if content is not None:
        torch.save(content, path)
    model = net(0)
    load_weights(model, path)
    values = {float(v) for tensor in model.state_dict().values() for v in tensor.flatten()}
    assert len(values) == 1
    return values.pop()


def averaged(value: float) -> dict[str, torch.Tensor]:
    model = AveragedModel(net(value), multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    return dict(model.state_dict())


def profiled(value: float) -> dict[str, torch.Tensor]:
    """As thop leaves it: two buffers in every module."""
    modules = ("", "0.", "1.", "2.", "3.")
    zero = torch.zeros(1, dtype=torch.float64)
    return state(value) | {f"{m}total_{n}": zero for m in modules for n in ("ops", "params")}


@pytest.mark.parametrize("key", ["state_dict", "net", "network", "params", "model_state", "any"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "net.module._orig_mod."])
def test_weights_are_found_below_any_key_and_any_prefix(tmp_path, key, prefix):
    assert loaded(tmp_path / "w.pt", {key: state(2, prefix), "epoch": 3}) == 2
    assert loaded(tmp_path / "w.pt", state(2, prefix)) == 2


FORMS = {
    "averaged model": averaged(2),
    "only an average": {"model_ema": averaged(2), "epoch": 1},
    "deeper": {"checkpoint": {"model": {"state_dict": state(2)}}},
    "thop": profiled(2),
    "thop below a key": {"net": {f"module.{k}": v for k, v in profiled(2).items()}},
    "half precision": {"model": {k: v.half() for k, v in state(2).items()}},
    "lightning": {
        "state_dict": state(2, "model.") | {"criterion.weight": torch.ones(2)},
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}],
    },
    "part by part": {"0": {"weight": state(2)["0.weight"], "bias": state(2)["0.bias"]},
                     **{k: v for k, v in state(2).items() if k[0] != "0"}},
    "optimizer beside": {**state(2), "optimizer": {"state": {0: {"momentum": torch.ones(2)}}}},
    "compiled inside": {k.replace("0.", "0._orig_mod."): v for k, v in state(2).items()},
    "numpy": {"sd": {k: v.numpy() for k, v in state(2).items()}},
    "numpy of another order": {k: v.numpy().astype(v.numpy().dtype.newbyteorder(">"))
                               for k, v in state(2).items()},
    "arguments": {"model": state(2), "args": argparse.Namespace(lr=0.1, path=pathlib.Path("x"))},
    "bookkeeping": {"model": state(2), "best": np.float64(0.9), "when": collections.Counter("ab"),
                    "seen": collections.defaultdict(list, {1: [2]})},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [True, False])  # PyTorch before 1.6 did not
def test_the_forms_that_people_have_are_read(tmp_path, form, zipped):
    torch.save(FORMS[form], tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    assert loaded(tmp_path / "w.pt") == 2


@pytest.mark.parametrize(
    "average",
    [{"state_dict_ema": state(2)}, {"ema_state_dict": state(2)}, {"ema": averaged(2)},
     {"params_ema": state(2)}, {"model_ema": averaged(2)}, {"swa_model": state(2, "module.")}],
)  # fmt: skip
def test_averaged_weights_go_before_the_last_ones_and_it_is_said(tmp_path, caplog, average):
    (key,) = average
    assert loaded(tmp_path / "w.pt", {"model": state(1), **average}) == 2
    assert f"below '{key}" in caplog.text
    assert "are taken, not those below 'model'" in caplog.text
    model = net()
    found = load_weights(model, tmp_path / "w.pt")
    assert found.place.startswith(f"{key}.")
    assert found.passed_over == ("model.",)


def test_nothing_is_said_where_there_is_no_choice(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert loaded(tmp_path / "w.pt", {"model": state(2)}) == 2
    assert not caplog.records


def test_a_usual_key_goes_before_an_unusual_one(tmp_path):
    assert loaded(tmp_path / "w.pt", {"teacher": state(1), "model": state(2)}) == 2


def test_state_dicts_of_equal_rank_that_differ_are_not_chosen_from(tmp_path):
    with pytest.raises(ModelError, match=r"fit and differ, at 'student' and at 'teacher'"):
        loaded(tmp_path / "w.pt", {"student": state(1), "teacher": state(2)})
    assert loaded(tmp_path / "w.pt", {"student": state(2), "teacher": state(2)}) == 2


def test_a_file_is_what_its_content_says(tmp_path):
    save_file(state(2), tmp_path / "safetensors.pt")
    assert loaded(tmp_path / "safetensors.pt") == 2
    assert loaded(tmp_path / "torch.safetensors", {"state_dict": state(3)}) == 3


def test_several_safetensors_are_read_by_their_index(tmp_path):
    whole = state(2)
    parts = {"w-00001-of-00002.safetensors": list(whole)[:3],
             "w-00002-of-00002.safetensors": list(whole)[3:]}  # fmt: skip
    for file, names in parts.items():
        save_file({name: whole[name] for name in names}, tmp_path / file)
    index = tmp_path / "w.safetensors.index.json"
    weight_map = {name: file for file, names in parts.items() for name in names}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert loaded(index) == 2
    with pytest.raises(ModelError, match=r"one part of several; give the \.index\.json"):
        loaded(tmp_path / "w-00001-of-00002.safetensors")
    (tmp_path / "w-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no weight file .*w-00002-of-00002"):
        loaded(index)
    index.write_text(json.dumps({"weight_map": {"0.weight": "../secret.safetensors"}}))
    with pytest.raises(ModelError, match="no file beside it"):
        loaded(index)
    index.write_text("{}")
    with pytest.raises(ModelError, match="JSON, but no index of weight files"):
        loaded(index)


class Runs:
    def __reduce__(self):
        return os.system, ("touch code_was_run",)


class Bag(dict):
    """A dictionary of a class of its own, as configuration packages have."""


def test_a_whole_model_is_refused_in_our_words(tmp_path):
    for zipped in (True, False):
        torch.save(net(), tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ModelError) as caught:
            loaded(tmp_path / "w.pt")
        assert "torch.nn.modules." in str(caught.value)
        assert "torch.save(model.state_dict(), path)" in str(caught.value)
        assert "\x1b" not in str(caught.value)
        assert "weights_only" not in str(caught.value)
    torch.save({"model": net(), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        loaded(tmp_path / "w.pt")


def test_what_needs_code_is_named_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"only code could load \(posix\.system\)"):
        loaded(tmp_path / "w.pt", {"model": state(2), "args": Runs()})
    with pytest.raises(ModelError, match=r"only code could load \(tests\.test_weights\.Bag\)"):
        loaded(tmp_path / "w.pt", {"model": state(2), "args": Bag(a=1)})
    assert not (tmp_path / "code_was_run").exists()


OTHER_FILES = {
    "empty": (b"", "it is empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "page": (b"<!DOCTYPE html><html>", "web page"),
    "compressed": (b"\x1f\x8b\x08\x00", "gzip"),
    "noise": (bytes(range(200)), "damaged, was cut off, or is no weight file"),
    "json": (b'{"a": 1}', "no index of weight files"),
    "long header": (b"\xff\x00\x00\x00\x00\x00\x00\x00{", "safetensors"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_other_files_are_told_for_what_they_are(tmp_path, kind, suffix):
    content, says = OTHER_FILES[kind]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    if kind == "long header" and suffix == ".pt":
        says = "no weight file"
    with pytest.raises(ModelError, match=says) as caught:
        loaded(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_cut_file_is_refused(tmp_path, suffix, share):
    whole = tmp_path / "whole"
    if suffix == ".pt":
        torch.save(state(2), whole)
    else:
        save_file(state(2), whole)
    data = whole.read_bytes()
    (tmp_path / f"w{suffix}").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"cannot be read as weights: it is (a )?damaged"):
        loaded(tmp_path / f"w{suffix}")


def test_programs_and_folders_are_no_weights(tmp_path):
    program = torch.export.export(net().eval(), (torch.zeros(1, 3, 3, 3),))
    torch.export.save(program, tmp_path / "w.pt2")
    with pytest.raises(ModelError, match=r"a program of torch\.export"):
        loaded(tmp_path / "w.pt2")
    with pytest.raises(ModelError, match="a folder; name a file in it"):
        loaded(tmp_path)
    np.savez(tmp_path / "w.npz", a=np.ones(2))
    with pytest.raises(ModelError, match="an archive of another kind"):
        loaded(tmp_path / "w.npz")


def test_tensors_without_data_are_refused(tmp_path):
    nothing = {name: tensor.to("meta") for name, tensor in state(2).items()}
    with pytest.raises(ModelError, match="cannot be copied"):
        loaded(tmp_path / "w.pt", nothing)


def test_another_architecture_is_told_with_the_place_that_came_nearest(tmp_path):
    wrong = state(2, "module.") | {"module.9.weight": torch.ones(2)}
    with pytest.raises(ModelError, match=r"below 'net.module' holds .*1 unexpected \(9\.weight"):
        loaded(tmp_path / "w.pt", {"net": wrong})
    wider = state(2) | {"3.weight": torch.ones(5, 4)}
    with pytest.raises(ModelError, match=r"3\.weight \[5, 4\] in the file, \[2, 4\] in the model"):
        loaded(tmp_path / "w.pt", {"state_dict": wider})


def test_a_name_that_no_class_can_have_is_not_pondered(tmp_path, monkeypatch):
    torch.save(net().state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "w.pt").read_bytes()
    long = content.replace(b"\n_rebuild_tensor_v2\n", b"\n_" + b"a." * 20_000 + b"\n")
    assert len(long) > len(content) + 30_000
    (tmp_path / "w.pt").write_bytes(long)
    monkeypatch.setattr(torch, "load", pytest.fail)  # it would search the name for minutes
    with pytest.raises(ModelError, match="it is damaged"):
        load_weights(net(), tmp_path / "w.pt")


def test_an_archive_that_says_to_span_several_disks_is_refused(tmp_path):
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    (tmp_path / "w.pt").write_bytes(locator + end)
    with pytest.raises(ModelError, match="it is damaged"):
        load_weights(net(), tmp_path / "w.pt")
