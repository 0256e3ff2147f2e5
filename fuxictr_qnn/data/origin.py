"""Where a public dataset comes from and what is known about its files: `origin` and `expected` of its config.

Both are facts about the data, not settings: they change no id, so they are in no fingerprint and in no
run folder's name.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Split = Literal["train", "valid", "test"]


class Source(BaseModel):
    """One place to download from: exactly one of `huggingface`, `url` and `pypi`.

    Attributes:
        huggingface: a dataset repository, "owner/name".
        url: of a file, or, ending in /, of a folder.
        pypi: a requirement such as "recbole==1.2.1", whose wheel is fetched but not installed.
        file: the one file to take from the repository or the wheel.
        md5: of the downloaded file (the wheel), where it is published.
        unpack: what to take and what to call it; without `file`, the files of the repository, of the
            wheel or of the folder, else the members of the downloaded archive, each by its path or the
            end of it -> name under the dataset's folder, with a recipe under its raw/. Empty: the files
            that the config names, or before a recipe, everything; or the file itself if it is no archive.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    huggingface: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$")
    url: str | None = Field(None, pattern="^https?://.+")
    pypi: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*==[\w.+!]+$")
    file: str | None = None
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    unpack: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if sum(place is not None for place in (self.huggingface, self.url, self.pypi)) != 1:
            raise ValueError("a source is one of huggingface, url and pypi")
        if self.file is None and not self.unpack and (self.url is None or self.url.endswith("/")):
            raise ValueError("huggingface, pypi and a url that ends in / need file or unpack")
        return self

    def __str__(self) -> str:
        place = self.url or f"{'PyPI' if self.pypi else 'Hugging Face'}: {self.pypi or self.huggingface}"
        return f"{place}, {self.file}" if self.file else place


class Origin(BaseModel):
    """Where to get a dataset.

    Attributes:
        home: the page of whoever publishes it.
        licence: in the publisher's words, shortened; "not stated" where there is none.
        download: bytes to download, about.
        sources: places with the same data, tried in this order.
        recipe: name of the recipe that makes the benchmark files from the downloaded ones; None where
            they are downloaded ready.
        by_hand: what a user must do where nothing may be downloaded without an account.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: str
    licence: str
    download: int | None = Field(None, ge=1)
    sources: list[Source] = []
    recipe: str | None = None
    by_hand: str | None = None


class Expected(BaseModel):
    """What the dataset must look like.

    Attributes:
        rows: per split.
        positive_rate: per split, rounded as published.
        md5: of the files, by name under the dataset's folder.
        vocabulary: ids of each feature after the build, with padding and OOV.
        note: what is known about differences.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: dict[Split, int] = {}
    positive_rate: dict[Split, float] = {}
    md5: dict[str, str] = {}
    vocabulary: dict[str, int] = {}
    note: str | None = None
