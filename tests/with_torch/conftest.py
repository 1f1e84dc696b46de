"""What tests of `rewire.torch` share: each of them compiles as if it were the first."""

import sys

import pytest
import torch


@pytest.fixture(autouse=True)
def nothing_compiled():
    """Dynamo compiles a code object eight times in a process, `nn.Sequential` for all models together."""
    yield
    if "torch._dynamo" in sys.modules:  # which takes seconds to import
        torch.compiler.reset()
