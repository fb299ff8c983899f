"""Instruction sequences for one tile of each operator family."""
