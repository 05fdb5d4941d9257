"""The parsers of what strangers send let only their own errors out, and take neither long nor much memory.

A coverage-guided fuzzer changes the inputs of the kept corpus (`tests/security/corpus`); `tests/security/fuzzing` has
the targets and their bounds. `--soak` is the long form.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.security.fuzzing import corpus

TARGETS = (
    *("access_list", "api_request", "aws_chunked", "bucket_policy", "chunk_stream", "form_policy", "json_body"),
    *(
        "log_in_header",
        "post_form",
        "presigned_query",
        "s3_parameters",
        "signature_header",
        "ticket",
        "tokens",
        "webdav",
        "xml",
    ),
)
EVERYDAY_INPUTS, SOAK_SECONDS = 1500, 60
PATIENCE_SECONDS = 300

fuzzing = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed: it has no wheel for this system"
)


def fuzz(folder: Path, *options: str) -> None:
    command = [sys.executable, "-m", "tests.security.fuzzing", *options]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"TMPDIR": str(folder)},
        timeout=PATIENCE_SECONDS + len(TARGETS) * SOAK_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-8000:]
    assert [line.partition(":")[0] for line in ended.stdout.splitlines()] == list(TARGETS)


def test_every_target_has_a_corpus() -> None:
    """And no corpus is left of a target that is gone."""
    assert sorted(file.stem for file in corpus.FOLDER.iterdir()) == list(TARGETS)
    assert all(corpus.read(target) for target in TARGETS)


def test_an_input_is_kept_as_it_is(tmp_path: Path) -> None:
    """Whatever bytes it has, a corpus's line gives them back."""
    every = bytes(range(256)) + b"\n\\n"
    assert corpus.escaped(every).encode("ascii").decode("unicode_escape").encode("latin-1") == every
    corpus.unpack("xml", tmp_path / "xml")
    assert sorted(file.read_bytes() for file in (tmp_path / "xml").iterdir()) == sorted(corpus.read("xml"))


@fuzzing
def test_parsers_raise_only_their_own_errors(tmp_path: Path, seed: int) -> None:
    """A bounded number of inputs for each target."""
    fuzz(tmp_path, "--runs", str(EVERYDAY_INPUTS), "--seed", str(seed % 2**31))


@fuzzing
@pytest.mark.soak
def test_parsers_raise_only_their_own_errors_for_long(tmp_path: Path, seed: int) -> None:
    """A minute for each target."""
    fuzz(tmp_path, "--seconds", str(SOAK_SECONDS), "--seed", str(seed % 2**31))
