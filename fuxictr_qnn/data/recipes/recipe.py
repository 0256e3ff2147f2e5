"""What a recipe is: from a publisher's raw files to a benchmark's files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.errors import RequestError

ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".7z", ".bz2", ".xz")


@dataclass(frozen=True)
class Counts:
    """What a written file holds: rows, and how many of them are positive (None: it has no label)."""

    rows: int
    positives: int | None = None

    def __str__(self) -> str:
        if self.positives is None or not self.rows:
            return f"{self.rows:,} rows"
        return f"{self.rows:,} rows, {100 * self.positives / self.rows:.2f} % positive"


@dataclass(frozen=True)
class Recipe:
    """How one dataset is made.

    Attributes:
        source: what the raw files are and who publishes them, for messages.
        needs: each raw file: a key -> the names it goes by, the usual one first.
        makes: names of the files it writes.
        write: called with (raw file of each key, folder to write into, log); returns what each written
            file holds, by name. It refuses raw files of another dataset by RequestError.
        uses: raw files that are taken where they are there, as in `needs`.
        may_make: files that depend on those.
    """

    source: str
    needs: dict[str, tuple[str, ...]]
    makes: tuple[str, ...]
    write: Callable[[dict[str, Path], Path, Log], dict[str, Counts]]
    uses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    may_make: tuple[str, ...] = ()

    def find(self, raw: Path) -> dict[str, Path]:
        """The raw files in `raw` or in one folder below it, as archives unpack; by key.

        Raises:
            RequestError: no such folder, or every file that is missing or there twice.
        """
        if not raw.is_dir():
            kind = "is a file: name the folder it lies in" if raw.exists() else "no such folder"
            raise RequestError(f"'{raw}': {kind}; needed is {self.source}")
        found, missing, problems = {}, [], []
        for key, names in (self.needs | self.uses).items():
            places = _places(raw, names)
            if len(places) > 1:
                there = " and ".join(f"'{place}'" for place in places)
                problems.append(f"'{raw}': {names[0]} is there more than once ({there}): name one's folder")
            elif places:
                found[key] = places[0]
            elif key in self.needs:
                missing.append(" or ".join(names))
        if missing:
            problems.append(f"'{raw}' lacks {', '.join(missing)}; needed is {self.source}{_packed(raw)}")
        if problems:
            raise RequestError(problems)
        return found


def _places(raw: Path, names: tuple[str, ...]) -> list[Path]:
    """Files of one of these names, the nearest ones: in `raw` itself, else one folder below."""
    for folders in ([raw], sorted(path for path in raw.iterdir() if path.is_dir())):
        places = [folder / name for folder in folders for name in names if (folder / name).is_file()]
        if places:
            return places
    return []


def _packed(raw: Path) -> str:
    names = sorted(path.name for path in raw.iterdir() if path.name.lower().endswith(ARCHIVES))
    return f". {', '.join(names[:3])} lies there packed: unpack it first" if names else ""
