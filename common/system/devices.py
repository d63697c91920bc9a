"""Whether the device that a setting names is there, asked before anything is trained on it."""

import re

import torch


def device_problem(name: str) -> str:
    """Why the device ``name`` cannot be used, as the end of a sentence; empty if it can.

    >>> device_problem("cpu"), device_problem("gpu0")
    ('', 'a device is cpu, cuda or cuda:<index>')
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        return "a device is cpu, cuda or cuda:<index>"
    if name == "cpu":
        return ""
    if not torch.cuda.is_available():
        return "there is no CUDA here; install its driver, or set device: cpu"
    found = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= found:
        return f"there are {found} CUDA devices here"
    return ""
