"""The native block under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from formulas import SIZES, TARGETS, Sizes

from hrm_sweep.hrm.backends import toolchain

DRIVER = Path(__file__).with_name("block_driver.cpp")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
OPTIONS = "allocator_may_return_null=1"  # as without a sanitizer: the driver asks for too much
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}

Run = Callable[..., np.ndarray]


def compiled(folder: Path, source: Path, *flags: str) -> Path:
    program = folder / "program"
    own = [flag for flag in toolchain.FLAGS if flag not in ("-shared", "-fPIC")]
    block = f'-DKERNELS="{toolchain.KERNELS}"'
    command = [toolchain.compiler(), *own, *flags, block, str(source), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def results(program: Path, sizes: Sizes, *arguments: object) -> np.ndarray:
    batch, tokens, heads, head_size, width = sizes
    numbers = (batch, tokens, heads * head_size, heads, width, *arguments)
    environment = {**os.environ, "ASAN_OPTIONS": OPTIONS}
    command = [str(program), *map(str, numbers)]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, dtype=np.float32)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return compiled(tmp_path_factory.mktemp("plain"), DRIVER, "-O1")


@pytest.fixture(scope="module", params=TARGETS)
def sanitized(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    empty = folder / "empty.cpp"
    empty.write_text("int main() {}")
    try:
        compiled(folder, empty, *SANITIZERS)
    except AssertionError as error:
        pytest.skip(f"{toolchain.compiler()} has no sanitizers: {error}")
    return compiled(folder, DRIVER, *SANITIZERS, "-O1", "-g", f"-march={request.param}")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rotary", [1, 0], ids=["rotary", "no rotation"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
def test_sanitizers_find_nothing_and_the_results_are_the_same(
    plain, sanitized, sizes, precision, rotary, threads
):
    arguments = sizes, int(precision == "bf16"), threads, rotary
    expected, found = results(plain, *arguments), results(sanitized, *arguments)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[precision])


def test_the_sanitizers_are_at_work(tmp_path, sanitized):
    source = tmp_path / "overrun.cpp"
    source.write_text(
        "#include <vector>\nint main(int n, char**) { return std::vector<int>(n)[n]; }"
    )
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        results(compiled(tmp_path, source, *SANITIZERS), next(iter(SIZES.values())))
