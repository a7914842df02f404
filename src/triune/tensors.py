"""Whether something is a tensor of torch, for code that does without torch itself."""

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from torch import Tensor


def is_tensor(given: Any) -> TypeGuard["Tensor"]:
    """Whether it is a tensor: whoever has one has imported torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.Tensor)
