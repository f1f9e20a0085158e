"""What doctor finds, and what it advises."""

import json

import pytest

from netadapt import doctor
from netadapt.cli import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return stop.value.code, capsys.readouterr().out


def test_this_machine_can_measure(capsys):
    code, out = run(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["ok"]
    checks = {check["name"]: check for check in found["checks"]}
    assert "cpu" in checks["providers"]["found"]
    assert {"python", "onnxruntime", "layout", "load", "governor", "disk space"} <= set(checks)


def test_a_device_that_does_not_answer_fails_with_its_remedy(capsys):
    code, out = run(capsys, "doctor", "--on", "ort:abacus")
    assert code == 1
    assert "FAIL  device" in out
    assert "-> This machine has no such execution provider" in out


def test_of_hardware_on_paper_no_runtime_layout_or_cache_is_told(capsys):
    code, out = run(capsys, "doctor", "--on", "optical:?kind=link", "--json")
    found = {check["name"]: check["found"] for check in json.loads(out)["checks"]}
    assert code == 0
    assert found["device"].endswith("convolutions and linear layers alone; energy by formulas")
    assert not {"runtime", "layout", "cache"} & set(found)


def test_disturbances_are_told_one_by_one_and_do_not_fail():
    found = {"load": 9.0, "processors": 2, "governor": "powersave", "temperature_c": 91.0,
             "providers": ["cpu"]}  # fmt: skip
    checks = {check.name: check for check in doctor._conditions(found, 4)}
    assert doctor.passed(list(checks.values()))
    for name, word in (("load", "stop other"), ("governor", "cpupower"), ("temperature", "cool"),
                       ("threads", "4 threads on 2")):  # fmt: skip
        assert not checks[name].ok
        assert word in checks[name].remedy


def test_a_package_that_is_missing():
    check = doctor._package("no-such-package-netadapt")
    assert not check.ok
    assert check.remedy == "python3 -m pip install no-such-package-netadapt"
