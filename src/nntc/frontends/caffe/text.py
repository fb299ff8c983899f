"""Caffe's networks are text in protobuf's format."""

from __future__ import annotations

from nntc.core.textformat import Message, Token, parse

__all__ = ["Message", "Token", "parse"]
