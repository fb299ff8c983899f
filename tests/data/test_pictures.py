"""Folders and lists of pictures as datasets."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from nntc.core.errors import UserError
from nntc.data import CorruptSampleError, Dataset, Preprocess, open_dataset
from tests.data.samples import PICTURE_INPUT, TREATMENT, folder, pixels, refused, save


@pytest.fixture
def five(tmp_path: Path) -> Path:
    return folder(tmp_path / "five")


def opened(path: Path, treatment: str = TREATMENT) -> Dataset:
    return open_dataset(path, PICTURE_INPUT, treatment)


def test_a_folder(five: Path) -> None:
    (five / "notes.md").write_text("not a picture")
    (five / ".hidden").mkdir()
    save(five / ".hidden" / "no.png", pixels())
    save(five / "class0" / "._p0.png", pixels())
    data = opened(five)
    assert len(data) == 5
    names = [Path(data.name(i)).relative_to(five).as_posix() for i in range(5)]
    assert names == [
        "class0/p0.png",
        "class0/p2.bmp",
        "class0/p4.JPEG",
        "class1/p1.jpg",
        "class1/p3.webp",
    ]
    samples = list(data)
    assert all(sample["x"].shape == (1, 3, 8, 12) for sample in samples)
    assert all(sample["x"].dtype == np.float32 for sample in samples)
    np.testing.assert_array_equal(samples[1]["x"], Preprocess.parse(TREATMENT).apply(pixels(2)))
    np.testing.assert_array_equal(data[1]["x"], samples[1]["x"])
    np.testing.assert_array_equal(data[-1]["x"], samples[4]["x"])
    assert data.skipped == []
    with pytest.raises(IndexError):
        data[5]


def test_a_batch_of_four_gets_single_pictures(five: Path) -> None:
    data = open_dataset(five, {"x": (4, 3, 8, 12)}, TREATMENT)
    assert data[0]["x"].shape == (1, 3, 8, 12)


def test_one_picture(five: Path) -> None:
    data = opened(five / "class0" / "p0.png")
    assert len(list(data)) == 1


def test_corrupt_pictures_are_named_skipped_and_keep_their_numbers(five: Path) -> None:
    sound = opened(five)[3]["x"]
    (five / "class0" / "p2.bmp").write_bytes(b"")
    jpeg = five / "class0" / "p4.JPEG"
    jpeg.write_bytes(jpeg.read_bytes()[:300])
    (five / "class1" / "z.heic").write_text("hello")
    data = opened(five)
    assert len(data) == 6
    assert len(list(data)) == 3
    assert [(Path(name).name, reason.partition(":")[0]) for name, reason in data.skipped] == [
        ("p2.bmp", "the file is empty"),
        ("p4.JPEG", "damaged picture"),
        ("z.heic", "not a picture of a known format"),
    ]
    np.testing.assert_array_equal(data[3]["x"], sound)
    with pytest.raises(CorruptSampleError, match="empty"):
        data[1]
    fresh = opened(five)
    with pytest.raises(CorruptSampleError):
        fresh[5]
    assert [Path(name).name for name, _ in fresh.skipped] == ["z.heic"]
    assert len(list(fresh)) == 3
    assert len(fresh.skipped) == 3


def test_nothing_readable(five: Path) -> None:
    for file in five.rglob("p*"):
        file.write_text("x")
    problems = refused(opened(five).check)
    assert problems[0] == f"{five}: not one of 5 samples can be read"
    assert len(problems) == 6
    assert all("not a picture" in problem for problem in problems[1:])


def test_a_file_that_goes_away(five: Path) -> None:
    data = opened(five)
    (five / "class1" / "p1.jpg").unlink()
    assert len(list(data)) == 4
    assert data.skipped == [(str(five / "class1" / "p1.jpg"), "no such file")]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="no file is unreadable here")
def test_a_file_without_permission(five: Path) -> None:
    (five / "class1" / "p1.jpg").chmod(0)
    data = opened(five)
    assert len(list(data)) == 4
    assert "Permission denied" in data.skipped[0][1]


def test_lists(five: Path, tmp_path: Path) -> None:
    save(five / "a name 7.png", pixels(7))
    listing = five / "list.txt"
    listing.write_text(
        "# a comment\n\nclass1/p1.jpg 12\nclass0/p0.png\na name 7.png -1\r\nnone.png\t3\n", "utf-8"
    )
    data = opened(listing)
    assert [Path(data.name(i)).name for i in range(4)] == [
        "p1.jpg",
        "p0.png",
        "a name 7.png",
        "none.png",
    ]
    assert data.labels == [12, None, -1, 3]
    assert len(list(data)) == 3
    assert data.skipped == [(str(five / "none.png"), "no such file")]
    listing.write_text("class0/p0.png\nnotes.md 3\nno suffix\n")
    problems = refused(opened, listing)
    assert problems == [
        f"{listing}: line 2: 'notes.md' is no picture, .npy or .npz file",
        f"{listing}: line 3: 'no suffix' is no picture, .npy or .npz file",
    ]
    listing.write_bytes(b"\xff\xfe\xff")
    assert "is not UTF-8 text" in refused(opened, listing)[0]
    listing.write_text("")
    assert "holds no pictures" in refused(opened, listing)[0]


def test_links_are_followed_once(five: Path, tmp_path: Path) -> None:
    try:
        (five / "loop").symlink_to(five, target_is_directory=True)
        other = folder(tmp_path / "other", 1)
        (five / "zlink").symlink_to(other, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert len(opened(five)) == 6


def test_preprocessing_has_to_be_said(five: Path) -> None:
    problem = refused(open_dataset, five, {"x": (1, 3, 224, 224)})[0]
    assert "need preprocessing, the one that the network was trained with; for example" in problem
    for shape in ((1, 3, 224, 224), (1, 3, 64, 96), (1, 64, 96, 3), (1, 1, 28, 28)):
        problem = refused(open_dataset, five, {"x": shape})[0]
        example = problem.split("'")[1]
        assert open_dataset(five, {"x": shape}, example)[0]["x"].shape == shape


def test_what_does_not_fit(five: Path) -> None:
    problems = refused(open_dataset, five, {"a": (1, 3, 8, 12), "b": (1, 2)})
    assert "the network has 2: a [1, 3, 8, 12], b [1, 2]; use .npz files" in problems[0]
    assert "need preprocessing" in problems[1]
    problems = refused(open_dataset, five, PICTURE_INPUT, "crop=8x9,order=gray")
    assert "order=gray gives 1" in problems[0]
    assert "which gives 8x9" in problems[1]
    assert "no input to feed" in refused(open_dataset, five, {}, TREATMENT)[0]


def test_sizes_that_only_some_pictures_have_are_all_named(five: Path) -> None:
    save(five / "small.png", pixels(0, 8, 12))
    data = opened(five, "div=255")
    with pytest.raises(UserError) as caught:
        list(data)
    problems = caught.value.problems
    assert len(problems) == 5
    assert "class0/p0.png: input x of shape [1, 3, 8, 12]" in problems[0].replace(os.sep, "/")
    assert "gives [1, 3, 20, 30]; end it with a resize" in problems[0]
    assert not isinstance(caught.value, CorruptSampleError)
    problems = refused(opened(five, "crop=18x12,resize=8x12").check)
    assert problems == [f"{five / 'small.png'}: crop=18x12 does not fit in 8x12 (height x width)"]


def test_no_such_place(tmp_path: Path) -> None:
    assert "there is no such file or folder; a dataset is" in refused(opened, tmp_path / "no")[0]
    (tmp_path / "notes.md").write_text("x")
    assert refused(opened, tmp_path) == [
        f"{tmp_path}: holds no pictures, .npz or .npy files (there is notes.md)"
    ]
    assert "is of no known kind" in refused(opened, tmp_path / "notes.md")[0]
    save(tmp_path / "a.png", pixels())
    np.save(tmp_path / "b.npy", np.zeros(3))
    assert "holds 1 pictures and 1 array files; keep one kind" in refused(opened, tmp_path)[0]


def test_the_digest(five: Path, tmp_path: Path) -> None:
    digest = opened(five).digest
    assert len(digest) == 64
    moved = shutil.copytree(five, tmp_path / "moved")
    assert opened(moved).digest == digest
    assert opened(five, TREATMENT.replace("255", "254")).digest != digest
    assert open_dataset(five, {"y": (1, 3, 8, 12)}, TREATMENT).digest != digest
    assert opened(five).spread(3).digest != digest
    assert opened(five).spread(5).digest == digest
    picture = moved / "class0" / "p0.png"
    sound = picture.read_bytes()
    picture.write_bytes(sound[:-1] + b"x")
    assert opened(moved).digest != digest
    picture.write_bytes(sound)
    picture.rename(moved / "class0" / "p00.png")
    assert opened(moved).digest != digest


def test_parts(five: Path) -> None:
    (five / "class0" / "p2.bmp").write_bytes(b"")
    data = opened(five)
    some, others = data.split(2)
    assert [Path(some.name(i)).name for i in range(2)] == ["p0.png", "p4.JPEG"]
    assert [Path(others.name(i)).name for i in range(3)] == ["p2.bmp", "p1.jpg", "p3.webp"]
    assert len(list(others)) == 2
    assert some.skipped == []
    assert len(others.skipped) == len(data.skipped) == 1
    assert len(data.spread(99)) == 5
    np.testing.assert_array_equal(data.subset([4, 0])[1]["x"], data[0]["x"])
    for count in (0, 5):
        assert "cannot be split off 5" in refused(data.split, count)[0]
    with pytest.raises(IndexError):
        data.subset([7])


def test_another_process_opens_it_again(five: Path) -> None:
    data = opened(five).spread(2)
    copy = pickle.loads(pickle.dumps(data))
    assert copy.digest == data.digest
    np.testing.assert_array_equal(copy[1]["x"], data[1]["x"])
