"""Sample data: pictures, arrays and the historical LMDB, and what is done to pictures."""

from __future__ import annotations

from nntc.data.dataset import Dataset, open_dataset
from nntc.data.decode import CorruptSampleError
from nntc.data.historical import from_cali_text, from_transform_ops
from nntc.data.preprocess import Preprocess

__all__ = [
    "CorruptSampleError",
    "Dataset",
    "Preprocess",
    "from_cali_text",
    "from_transform_ops",
    "open_dataset",
]
