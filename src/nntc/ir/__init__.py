"""The typed graph, its operators, and its forms on disk."""
