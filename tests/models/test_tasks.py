"""Trained networks, compiled and simulated, do on real data what they do in their reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.runners import Compiled, Reference, SideBySide
from tests.models.tasks import TASKS, Task


def check(task: Task, shared: Path, few: bool) -> str:
    """Do the task in the reference and simulated; returns the result's text."""
    reference = Reference(shared)
    simulated = SideBySide(Compiled(shared), reference)
    expected = task.work(reference, shared, few)
    found = task.work(simulated, shared, few)
    assert not found.differs(expected)
    for network in task.networks:
        agreement = simulated.agreement[network]
        print(f"{network}: {agreement.runs} runs, {agreement}")
        assert agreement.holds, f"{network}: {agreement}"
    return found.text


@pytest.fixture(autouse=True)
def _needs() -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("onnxruntime")


each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name.replace(" ", "_"))


@each_task
def test_a_sample(task: Task, shared_dir: Path) -> None:
    check(task, shared_dir, few=True)


@pytest.mark.slow
@each_task
def test_all_of_it(task: Task, shared_dir: Path) -> None:
    assert check(task, shared_dir, few=False) == task.expected
