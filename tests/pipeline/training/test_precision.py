"""A processor's own word decides whether bf16 is worth asking for."""

from typing import Any

import pytest
import torch

from pipeline.training.precision import cpu_computes_bf16


@pytest.mark.parametrize(
    ("capabilities", "computes"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_f": True}, False),
        ({"architecture": "x86_64", "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "amx_bf16": True, "avx512_bf16": False}, True),
        ({"architecture": "aarch64"}, True),
    ],
)
def test_bf16_is_computed_where_the_processor_says_so(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], computes: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert cpu_computes_bf16() == computes
