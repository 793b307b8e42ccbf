"""What a digest of code depends on, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest
from code_digest import FOR_CUDA, CodeIndex, digest_of_files


def index(folder: Path, **files: str) -> CodeIndex:
    package = folder / "p"
    package.mkdir(parents=True, exist_ok=True)
    for name, text in {"__init__": "", **files}.items():
        (package / f"{name}.py").write_text(text)
    return CodeIndex(folder, ("p",))


def digest(code: CodeIndex, module: str, name: str, stop: tuple[str, ...] = ()) -> str:
    return code.digest(code.reached([(module, name)], stop))


BASE = "from p.b import used\nLIMIT = 3\n\ndef f(x):\n    return used(x) + LIMIT\n\ndef other():\n    return 0\n"
USED = "def used(x):\n    return x\n\ndef unused(x):\n    return -x\n"


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        pytest.param(BASE.replace("def f", "# why\ndef f"), USED, True, id="a comment"),
        pytest.param(BASE.replace("return used", '"""A."""\n    return  used'), USED, True, id="a docstring, a space"),
        pytest.param(BASE.replace("return 0", "return 1"), USED, True, id="a function that is not called"),
        pytest.param(BASE, USED.replace("-x", "+x"), True, id="one not called in another module"),
        pytest.param(BASE.replace("LIMIT = 3", "LIMIT = 4"), USED, False, id="a constant"),
        pytest.param(BASE, USED.replace("return x", "return x + 1"), False, id="a function of another module"),
        pytest.param(BASE.replace("+ LIMIT", "- LIMIT"), USED, False, id="the function itself"),
        pytest.param(BASE + "print(LIMIT)\n", USED, False, id="what runs at import"),
        pytest.param(BASE + "LIMIT = 5\n", USED, False, id="a constant bound again"),
    ],
)
def test_only_what_runs_counts(tmp_path, a, b, same):
    before = digest(index(tmp_path / "before", a=BASE, b=USED), "p.a", "f")
    after = digest(index(tmp_path / "after", a=a, b=b), "p.a", "f")
    assert (before == after) == same


def test_imports_inside_functions_methods_and_quoted_annotations_are_followed(tmp_path):
    code = index(
        tmp_path,
        a="def f(x: 'Kind'):\n    from p.b import lazy\n    return lazy(x)\n\nclass Kind:\n    pass\n",
        b="import p.c\n\ndef lazy(x):\n    return p.c.deep(x)\n",
        c="class Base:\n    pass\n\nclass deep(Base):\n    def go(self):\n        return helper()\n\ndef helper(): 0\n",
    )
    reached = code.reached([("p.a", "f")])
    assert {("p.a", "Kind"), ("p.b", "lazy"), ("p.c", "deep"), ("p.c", "Base"), ("p.c", "helper")} <= set(reached)


def test_relative_imports_and_names_passed_on_by_a_package_are_followed(tmp_path):
    code = index(tmp_path, __init__="from .b import used\n", a="from . import used\n\nf = used\n", b=USED)
    assert ("p.b", "used") in code.reached([("p.a", "f")])


def test_a_closed_module_is_entered_by_its_roots_alone(tmp_path):
    code = index(
        tmp_path,
        a="def f(kind):\n    from p.b import used, unused\n    return (used, unused)[kind]\n",
        b=USED.replace("return x", "return half(x)") + "\ndef half(x): ...\n",
    )
    assert code.reached([("p.a", "f")], stop=["p.b"]) == [("p.a", "f")]
    assert code.reached([("p.a", "f"), ("p.b", "used")], stop=["p.b"]) == [
        ("p.a", "f"),
        ("p.b", "half"),
        ("p.b", "used"),
    ]


def test_files_count_with_every_byte(tmp_path):
    (tmp_path / "cpp").mkdir()
    (tmp_path / "cpp" / "a.cpp").write_text("int a;")
    before = digest_of_files(tmp_path, ("cpp",))
    (tmp_path / "cpp" / "a.cpp").write_text("int a; //")
    assert digest_of_files(tmp_path, ("cpp",)) != before


@pytest.mark.parametrize("name", ["a_cuda.cu", "a_cuda.h", "a_cuda.cpp", "cuda/a.h", "kernel.cu"])
def test_what_only_a_build_with_cuda_compiles_does_not_count(tmp_path, name):
    (tmp_path / "cpp" / "cuda").mkdir(parents=True)
    (tmp_path / "cpp" / "a.cpp").write_text("int a;")
    before = digest_of_files(tmp_path, ("cpp",))
    (tmp_path / "cpp" / name).write_text("int b;")
    assert digest_of_files(tmp_path, ("cpp",)) == before
    (tmp_path / "cpp" / "barracuda.h").write_text("int b;")
    assert digest_of_files(tmp_path, ("cpp",)) != before


def test_the_kernels_that_training_uses_count(root):
    named = {path.name for path in root.glob("cpp/*/*") if not FOR_CUDA.search(path.name)}
    assert {"dis.cpp", "dis_arithmetic.h", "preprocess.cpp", "sample_argmax.cpp", "thread_pool.cpp"} <= named
