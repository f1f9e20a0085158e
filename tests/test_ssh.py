"""Measuring on a device at the end of an SSH connection, against a real SSH server."""

import os
import sys

import pytest

from netadapt.errors import DeviceError, UsageError
from netadapt.network import LayerShape
from netadapt.platforms import CANARY, OVERHEAD, Effort, Workload, open_platform
from netadapt.platforms.ort.probes import Probe, build
from netadapt.platforms.ort.saturation import this_machine_saturates
from netadapt.platforms.ssh import REMOTE_COMMAND
from tests import sshd

CONV = LayerShape("conv", 16, 32, (8, 8), (8, 8), bias=True, act="relu")
LAYERS = [OVERHEAD, *(LayerShape("conv", 16, 8 * n, (8, 8), (8, 8)) for n in range(1, 9))]
QUICK = Effort(warmups=1, passes=3, bursts=1, runs=2)
served = pytest.mark.skipif(
    sshd.MISSING and not os.environ.get("CI"), reason="OpenSSH's server is not installed"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if sshd.MISSING:
        pytest.fail("OpenSSH's client and server must be installed where CI is set.")
    with sshd.serving(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module")
def python():
    return sshd.bare_python()


def uri(server, python, host="device", more=""):
    return f"ssh://{host}?config={server.config}&python={python}{more}"


@served
def test_it_describes_and_measures_with_numpy_and_onnxruntime_alone(server, python):
    platform = open_platform(uri(server, python))
    info = platform.describe()
    assert info.platform == "ssh://device"
    assert info.runtime.startswith("onnxruntime ")
    assert open_platform(platform.uri).uri == platform.uri
    found = dict(platform.measure_layers([OVERHEAD, CONV], QUICK))
    assert set(found) == {OVERHEAD, CONV, CANARY}
    net = build(Probe("layer", CONV))
    [readings] = platform.measure_networks([Workload("net", net, (CONV,))], QUICK)
    measured = readings["latency"]
    assert len(measured.samples) == 6


@served
def test_threads_hold_there_too(server, python):
    info = open_platform(uri(server, python, more="&threads=2")).describe()
    assert info.threads == 2


@served
def test_it_tells_from_there_whether_integers_saturate(server, python):
    info = open_platform(uri(server, python, more="&precision=int8")).describe()
    assert info.saturates == this_machine_saturates()  # the same processor


@served
def test_a_connection_that_is_killed_midway_loses_and_repeats_nothing(server, python):
    platform = open_platform(uri(server, python))
    found, hung_up = [], 0

    def watch(done, total):
        nonlocal hung_up
        if not hung_up and done == total // 2:
            hung_up = server.hang_up()

    for shape, measurement in platform.measure_layers(LAYERS, QUICK, watch):
        found.append(shape)
        if shape != CANARY:
            assert len(measurement.samples) == QUICK.passes * QUICK.bursts * QUICK.runs
    assert hung_up
    assert sorted(map(str, found)) == sorted(map(str, [*LAYERS, CANARY]))


@served
def test_each_of_several_interruptions_is_survived(server, python):
    platform = open_platform(uri(server, python))
    interruptions = 0
    for _ in platform.measure_layers(LAYERS, Effort(passes=1, runs=1)):
        interruptions += bool(server.hang_up()) if interruptions < 3 else 0
    assert interruptions


@served
def test_no_such_python(server):
    with pytest.raises(DeviceError, match=r"has no such Python .*\?python="):
        open_platform(uri(server, "/nowhere/python3")).describe()


@served
def test_no_onnxruntime(server, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(DeviceError, match="pip install numpy onnxruntime"):
        open_platform(uri(server, bare)).describe()


@served
def test_a_host_key_that_is_not_the_known_one(server, python):
    with pytest.raises(DeviceError, match="does not accept the host key"):
        open_platform(uri(server, python, "impostor")).describe()


@served
def test_a_key_that_the_device_does_not_know(server, python):
    with pytest.raises(DeviceError, match="does not let this user in"):
        open_platform(uri(server, python, "closed")).describe()


@served
def test_an_absent_provider_is_told_with_those_present(server, python):
    with pytest.raises(DeviceError, match=r"present: .*cpu"):
        open_platform(uri(server, python, more="&provider=abacus")).describe()


@pytest.mark.skipif(sshd.MISSING, reason="OpenSSH is not installed")
def test_nobody_answers(tmp_path):
    (tmp_path / "config").write_text("Host *\n")
    with pytest.raises(DeviceError, match=r"cannot be reached .*check its address"):
        open_platform(f"ssh://127.0.0.1:1?config={tmp_path / 'config'}").describe()


@pytest.mark.parametrize(
    "address",
    ["pi@raspberrypi", "//", "//-oProxyCommand=x", "//-l@host", "//host;reboot", "//h:port",
     "//$(reboot)", "//pi:secret@host", "//host/path"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="write it like ssh://pi@raspberrypi"):
        open_platform(f"ssh:{address}")


def test_nothing_of_the_user_reaches_the_remote_shell():
    platform = open_platform("ssh://Pi@Berry:2222?python=/a b;reboot")
    command = platform.link.command
    assert command[-3:] == ("--", "Berry", REMOTE_COMMAND)
    assert not any("reboot" in part for part in command)
    assert command[command.index("-p") + 1] == "2222"
    assert command[command.index("-l") + 1] == "Pi"
