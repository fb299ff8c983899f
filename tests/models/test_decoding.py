"""What turns outputs of networks into results, on made-up outputs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models import faces, text
from tests.models.boxes import overlaps, suppress
from tests.models.runners import Agreement
from tests.models.tasks import Result


def test_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [5, 5, 15, 15]], float)
    np.testing.assert_allclose(overlaps(boxes[0], boxes), [1, 0.9, 0, 25 / 175])
    scores = np.array([0.8, 0.9, 0.5, 0.7])
    assert suppress(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert suppress(boxes, scores, 0.1).tolist() == [1, 2]
    assert suppress(boxes[:0], scores[:0], 0.1).tolist() == []


def test_boxes_without_offsets_are_the_priors() -> None:
    found = faces.rfb_decode(np.zeros((1, 4420, 4), np.float32))[0]
    np.testing.assert_allclose((found[0, :2] + found[0, 2:]) / 2, [4 / 320, 4 / 240], atol=1e-7)
    np.testing.assert_allclose(found[-1, 2:] - found[-1, :2], [0.8, 1.0], atol=1e-6)


def test_crops_beyond_the_photo_are_black() -> None:
    photo = np.full((20, 30, 3), 255, np.uint8)
    boxes = np.array([[-8, 0, 8, 16], [40, 40, 50, 50], [26, 16, 34, 24]], np.float32)
    found = faces.crops(photo, boxes, 16)
    black, white = -127.5 / 128, 127.5 / 128
    assert found.shape == (3, 16, 16, 3)
    np.testing.assert_array_equal(found[0, :8], black)  # rows are columns of the photo
    np.testing.assert_array_equal(found[0, 8:], white)
    np.testing.assert_array_equal(found[1], black)
    assert (found[2] == white).any()
    assert (found[2] == black).any()


def test_text_is_read_without_repetitions() -> None:
    columns = np.eye(4, dtype=np.float32)[[0, 1, 1, 0, 1, 2, 2, 3, 0]]
    assert text.read(columns[None], ["", "a", "b", " "]) == "aab "


def test_long_lines_are_cut_between_words() -> None:
    line = np.full((48, 900, 3), 255, np.uint8)
    for start in range(20, 880, 100):
        line[10:40, start : start + 80] = 0
    shown = text.pieces(line)
    assert [piece.shape for piece in shown] == [(1, 3, 48, 320)] * 3
    # Each piece holds whole words: as many dark columns as three or two words have.
    assert [int((p[0, 0].min(0) < 0).sum()) for p in shown] == [240, 240, 240]


@pytest.mark.parametrize(
    ("found", "holds"), [([0, 1.0001, 3], True), ([0, 1.0004, 3], False), ([np.nan, 1, 3], False)]
)
def test_agreement(found: list[float], holds: bool) -> None:
    agreement = Agreement()
    agreement.add({"y": np.array([0, 1, 3], np.float32)}, {"y": np.array(found)})
    assert agreement.holds is holds


def test_differences_of_results() -> None:
    boxes = [np.array([[1.0, 2, 3, 4]])]
    same = Result("1 face", [7], boxes)
    assert not same.differs(Result("1 face", [7], [boxes[0] + 0.01]))
    assert "instead of" in same.differs(Result("2 faces", [7], boxes))
    assert same.differs(Result("1 face", [8], boxes)) == "item 0: 7 instead of 8"
    assert same.differs(Result("1 face", [7], [boxes[0] + 1])).startswith("photo 0: ")
    assert same.differs(Result("1 face", [7], [np.zeros((2, 4))])).startswith("photo 0: ")
