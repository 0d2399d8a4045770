"""No file of the engine imports itself by way of others, also where the import is meant for type checkers alone.

The contract in pyproject.toml says the same of what runs, between rooms as well.
"""

from graphlib import TopologicalSorter

import grimp


def test_no_circle_of_imports() -> None:
    graph = grimp.build_graph("lamina", cache_dir=None, exclude_type_checking_imports=False)
    engine = [module for module in graph.modules if module.startswith("lamina.core.")]
    assert len(engine) > 300
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in engine}).prepare()
