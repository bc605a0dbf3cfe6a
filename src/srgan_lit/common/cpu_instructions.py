"""Which precisions the processor has instructions for. Torch emulates the others, ten times slower than float32."""

import torch

_INSTRUCTIONS = {
    torch.bfloat16: ("avx512_bf16", "amx_bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16"),
}


def emulates(dtype: torch.dtype) -> bool:
    """Whether torch emulates ``dtype`` on this processor; False where that is unknown (other processors than x86)."""
    tell = getattr(torch.cpu, "get_capabilities", None)
    has = tell() if tell else {}
    names = _INSTRUCTIONS.get(dtype, ())
    return has.get("architecture") == "x86_64" and bool(names) and not any(has.get(name) for name in names)
