"""YAML files as plain data: numbers written like 1e-5 are numbers, tags and repeated keys are refused.

What is written is what will be read: text that looks like such a number, as some hashes do, is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from fuxictr_qnn.errors import RequestError

_Safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same loader on libyaml, ten times as fast


class _Loader(_Safe):
    """SafeLoader that knows where it is, reads 1e-5 as YAML 1.2 does, and keeps no key twice."""

    file = ""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise RequestError(f"{_place(self.file, key_node.start_mark)}: a key must be plain text")
            if key in seen:
                raise RequestError(f"{_place(self.file, key_node.start_mark)}: the key '{key}' stands twice")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def refuse_tag(self, node: yaml.Node) -> None:
        raise RequestError(
            f"{_place(self.file, node.start_mark)}: the tag {_readable(node.tag)} would run or build Python "
            "objects; a config holds plain values only, so write the value itself"
        )


_Loader.add_constructor(None, _Loader.refuse_tag)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that knows the numbers of the loader."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


def _place(file: str, mark: yaml.Mark | None) -> str:
    return f"{file}, line {mark.line + 1}" if mark else file


def _readable(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def to_yaml(value: Any, **options: Any) -> str:
    """Plain data as YAML, in its own order of keys; `parse_yaml` gives it back."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, **options)


def parse_yaml(text: str, file: str) -> Any:
    """The value of a YAML text; `file` is what messages call it."""
    try:
        loader = _Loader(text)
        loader.file = file
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise RequestError(f"{_place(file, error.problem_mark)}: not valid YAML: {reason}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RequestError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping; an empty file is an empty mapping."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RequestError(f"{path}: cannot be read: {reason}") from None
    data = parse_yaml(text, str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise RequestError(f"{path}: expected `name: {{key: value}}` entries, found a {type(data).__name__}")
    return {str(key): value for key, value in data.items()}
