"""What a run is made of, for the record."""

import pytest
import torch

from pipeline.tracking.provenance import provenance, revision


def test_a_run_tells_what_it_was_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    told = provenance(b"index")
    assert len(told["data_index_sha256"]) == 64
    assert torch.__version__.split("+")[0] in told["packages"]
    monkeypatch.setenv("LHRNET_REVISION", "abc")
    assert revision() == "abc"
