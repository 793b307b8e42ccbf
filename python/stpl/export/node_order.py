"""The order of an ONNX graph's nodes, which the format asks for and converters leave behind in disarray."""

from __future__ import annotations

import onnx


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Puts every node after those it needs, and else leaves them as they stand."""
    waiting = list(graph.node)
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    ordered: list[onnx.NodeProto] = []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ValueError("expected a graph without a circle")
        for node in ready:
            known.update(node.output)
        ordered.extend(ready)
        done = set(map(id, ready))
        waiting = [node for node in waiting if id(node) not in done]
    del graph.node[:]
    graph.node.extend(ordered)
