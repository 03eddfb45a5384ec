"""`python -m deploy.generate [--check] [part…]`: writes what follows from something else."""

import sys
from collections.abc import Callable
from pathlib import Path

from deploy.generate import golden, helm, manifests, readme, schema, settings, values
from ops.dashboards import files as dashboards

CHART = helm.CHART
OPS = golden.ROOT / "ops"

# What the chart carries of ops/.
COPIED = {"rules": "*.yaml", "alerts": "*.yaml", "dashboards": "*.json"}

Files = dict[Path, str]


def schema_file() -> Files:
    return {CHART / "values.schema.json": schema.text(values.read(CHART / "values.yaml"))}


def readme_file() -> Files:
    path = CHART / "README.md"
    tables = readme.with_tables(
        path.read_text(encoding="utf-8"),
        values.read(CHART / "values.yaml"),
        settings.own_settings(),
    )
    return {path: tables}


def ops_files() -> Files:
    return {
        CHART / "files" / folder / path.name: path.read_text(encoding="utf-8")
        for folder, pattern in COPIED.items()
        for path in sorted((OPS / folder).glob(pattern))
    }


def manifest_files() -> Files:
    return {
        manifests.FOLDER / name: text for name, text in manifests.files(helm.obtain(print)).items()
    }


def golden_files() -> Files:
    return {golden.GOLDEN / name: text for name, text in golden.files(helm.obtain(print)).items()}


# In this order: each may follow from the one before.
PARTS: dict[str, Callable[[], Files]] = {
    "dashboards": dashboards.files,
    "ops": ops_files,
    "schema": schema_file,
    "readme": readme_file,
    "manifests": manifest_files,
    "golden": golden_files,
}


def stale(part: str) -> list[Path]:
    """The files of a part that are not what would be written, and those nobody would write."""
    wanted = PARTS[part]()
    wrong = [p for p, text in wanted.items() if not p.exists() or p.read_text("utf-8") != text]
    return wrong + leftovers(part, wanted)


def leftovers(part: str, wanted: Files) -> list[Path]:
    folders = {
        "dashboards": [dashboards.FOLDER],
        "ops": [CHART / "files" / name for name in COPIED],
        "golden": [golden.GOLDEN],
    }
    pattern = "*.json" if part == "dashboards" else "*.*"
    found = [p for folder in folders.get(part, []) for p in sorted(folder.glob(pattern))]
    return [path for path in found if path not in wanted]


def main(arguments: list[str]) -> int:
    is_check = "--check" in arguments
    for part in [name for name in arguments if name != "--check"] or list(PARTS):
        if is_check and (wrong := stale(part)):
            print(f"error: not what `make chart` writes: {', '.join(map(str, wrong))}")
            return 1
        if not is_check:
            write(part)
    return 0


def write(part: str) -> None:
    wanted = PARTS[part]()
    for path in leftovers(part, wanted):
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"{part}: {len(wanted)} files")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
