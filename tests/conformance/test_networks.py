"""Trained networks, compiled here, on a real input: every path, and close to the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from nntc import bmodel
from tests.conformance.agree import FAST, REFERENCE, assert_agreement, outputs_on_every_path
from tests.models.runners import Agreement, Reference, compile_network
from tests.models.zoo import NETWORKS, photos


@pytest.mark.cmodel
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network(shared_dir: Path, cmodel_libs: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("onnxruntime")
    network = NETWORKS[name]
    inputs = network.sample(photos(shared_dir))
    file = tmp_path / "net.bmodel"
    bmodel.write(compile_network(shared_dir, name, inputs), file)
    without = () if network.quick else (REFERENCE,)
    found = outputs_on_every_path(
        file, cmodel_libs, inputs, judge=shared_dir / "judge", without=without
    )
    print(f"{name}: equal bytes on {', '.join(found)}")
    assert_agreement(found)
    agreement = Agreement(network.is_loose)
    agreement.add(Reference(shared_dir)(name, inputs), found[FAST])
    assert agreement.holds, str(agreement)
