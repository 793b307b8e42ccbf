"""Plans inside a bundle, for whoever gets it and trusts its maker: a plan is code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from stpl.export.bundle import MANIFEST, as_text
from stpl.export.plan_facts import read_facts, sidecar_of
from stpl.export.tensorrt import Plan

PLANS = "plans"
"""Folder inside the bundle."""


def embed_plans(bundle: Path, plans: Sequence[Plan]) -> None:
    """Puts plans and sidecars into a bundle and names them in its manifest, beside those that are there.

    The manifest is replaced last, in one step: a bundle that is read meanwhile is the old one or the new one.
    """
    folder = bundle / PLANS
    folder.mkdir(exist_ok=True)
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    for plan in plans:
        # Two targets of one network differ in the cache's folders alone, which a bundle does not have.
        name = f"{plan.identity.target}-{plan.identity.library}-{plan.identity.library_version}-{plan.file.name}"
        for source in (plan.file, sidecar_of(plan.file)):
            suffix = source.name.removeprefix(plan.file.name)
            _copy(source, folder / (name + suffix))
        file = f"{PLANS}/{name}"
        entries = manifest["networks"][plan.network].setdefault("plans", [])
        entries[:] = [entry for entry in entries if entry["file"] != file]
        entries.append({"file": file, "sha256": read_facts(plan.file).plan_sha256})
    temporary = bundle / f".{MANIFEST}.{os.getpid()}.tmp"
    try:
        temporary.write_text(as_text(manifest), encoding="utf-8")
        temporary.replace(bundle / MANIFEST)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
