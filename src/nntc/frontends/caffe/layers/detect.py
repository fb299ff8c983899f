"""Boxes: Caffe-SSD's layers, and pooling of regions."""

from __future__ import annotations
