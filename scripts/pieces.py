"""Files too large to be carried somewhere, in pieces, and together again.

    python scripts/pieces.py split --mb 40 FILE...    leaves FILE.piece-000, FILE.piece-001, ... and FILE.pieces
    python scripts/pieces.py join FOLDER OUT          puts those of FOLDER together in OUT

FILE.pieces holds the whole file's SHA-256 and size: what comes out is what went in, or is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

BLOCK = 1 << 20


def split(file: Path, most: int) -> list[Path]:
    """Pieces of at most ``most`` bytes beside the file, which stays as it is; the list of them comes last."""
    digest = hashlib.sha256()
    pieces = []
    with file.open("rb") as whole:
        while block := whole.read(most):
            digest.update(block)
            pieces.append(file.with_name(f"{file.name}.piece-{len(pieces):03d}"))
            pieces[-1].write_bytes(block)
    listing = file.with_name(f"{file.name}.pieces")
    facts = {"sha256": digest.hexdigest(), "bytes": file.stat().st_size, "pieces": [piece.name for piece in pieces]}
    listing.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return [*pieces, listing]


def join(listing: Path, out: Path) -> Path:
    """The whole file in the folder ``out``. Raises ``ValueError`` where a piece is missing or not what was split."""
    facts = json.loads(listing.read_text(encoding="utf-8"))
    pieces = [listing.parent / Path(name).name for name in facts["pieces"]]
    missing = [piece.name for piece in pieces if not piece.is_file()]
    if missing:
        raise ValueError(f"{listing.name}: expected {len(pieces)} pieces beside it, did not find {', '.join(missing)}")
    out.mkdir(parents=True, exist_ok=True)
    whole = out / listing.name.removesuffix(".pieces")
    digest = hashlib.sha256()
    with whole.open("wb") as target:
        for piece in pieces:
            with piece.open("rb") as source:
                while block := source.read(BLOCK):
                    digest.update(block)
                    target.write(block)
    if digest.hexdigest() != facts["sha256"]:
        found = f"{whole.stat().st_size} bytes with SHA-256 {digest.hexdigest()}"
        whole.unlink()
        expected = f"{facts['bytes']} bytes with {facts['sha256']}"
        raise ValueError(f"{listing.name}: expected {expected}, found {found}: carry the pieces again")
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    splitting = commands.add_parser("split")
    splitting.add_argument("files", type=Path, nargs="+")
    splitting.add_argument("--mb", type=int, default=40, help="at most, of a piece")
    joining = commands.add_parser("join")
    joining.add_argument("folder", type=Path)
    joining.add_argument("out", type=Path)
    given = parser.parse_args()
    if given.command == "split":
        made = [path for file in given.files for path in split(file, given.mb << 20)]
    else:
        made = [join(listing, given.out) for listing in sorted(given.folder.glob("*.pieces"))]
    print("\n".join(map(str, made)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
