"""Hot loops: cpu.py (Numba), gpu.py (Triton)."""
