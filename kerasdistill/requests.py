"""A request as JSON: in full to be read, canonical to be named by, and as older
versions of kerasdistill wrote it.

A request is a mapping or a frozen dataclass of plain values, tuples and further frozen
dataclasses. The canonical JSON leaves out fields at their default, so that a new field
with a default changes no name; a default itself can never change.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

# Metadata of a field that older versions did not have.
LATER: dict[str, bool] = {"later": True}


def plain(value: Any) -> Any:
    """All fields; a dataclass inside a mapping has its `kind` beside its fields."""
    return _in_full(value, older=False)


def older(value: Any) -> Any:
    """As `plain`, in the words of the versions that named runs by the whole JSON.

    Fields marked `LATER` are left out at their default. A dataclass whose fields had
    other names has a method `older_fields(fields)`, which gives those.
    """
    return _in_full(value, older=True)


def canonical(value: Any) -> Any:
    """What a request is named by.

    A dataclass is an object of its fields but for those at their default, within
    {"kind", "fields"} wherever it could be of another type.
    """
    if dataclasses.is_dataclass(value):
        hints = typing.get_type_hints(type(value))
        return {
            field.name: _tagged(item, hints[field.name])
            for field, item in _fields(value)
            if field.init and not _at_default(field, item)
        }
    if isinstance(value, Mapping):
        return {name: _tagged(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(item) for item in value]
    return value


def same(before: Any, value: Any, *, newer: bool = False) -> bool:
    """Whether JSON that some version wrote means the request `value`.

    Args:
        before: from `plain` or `older` of this version or another one. A field that it
            lacks had its default.
        value: the request.
        newer: whether fields that are not known here are at their default for sure.
    """
    return before == older(value) or _means(before, value, newer=newer)


def differences(before: Any, value: Any) -> list[tuple[str, Any, Any]]:
    """The fields that differ, such as ("dataset.name", "digits", "cifar10"): the value
    in the JSON `before` and the request's."""
    was = leaves(before)
    told = []
    for now in (leaves(plain(value)), leaves(older(value))):
        every = dict.fromkeys([*now, *was])
        names = [name for name in every if was.get(name) != now.get(name)]
        told.append([(name, was.get(name), now.get(name)) for name in names])
    return min(told, key=len)  # of the version that wrote it


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Nested JSON values as one dictionary: {"dataset.name": "cifar10", ...}."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {name: value}
    parts = [leaves(item, f"{name}.{key}".strip(".")) for key, item in value.items()]
    return {key: leaf for part in parts for key, leaf in part.items()}


def _in_full(value: Any, *, older: bool, inside: bool = False) -> Any:
    if dataclasses.is_dataclass(value):
        parts = {
            field.name: _in_full(item, older=older)
            for field, item in _fields(value)
            if not (older and field.metadata.get("later") and _at_default(field, item))
        }
        if older and hasattr(value, "older_fields"):
            parts = value.older_fields(parts)
        return {"kind": _kind(value), **parts} if inside else parts
    if isinstance(value, Mapping):
        inner = {"older": older, "inside": True}
        return {name: _in_full(item, **inner) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_in_full(item, older=older) for item in value]
    return value


def _means(before: Any, value: Any, *, newer: bool, inside: bool = False) -> bool:
    if dataclasses.is_dataclass(value):
        if not isinstance(before, dict):
            return False
        before = dict(before)
        if inside and before.pop("kind", None) != _kind(value):
            return False
        return all(
            _means(before.pop(field.name), item, newer=newer)
            if field.name in before
            else _at_default(field, item)
            for field, item in _fields(value)
        ) and (newer or not before)
    if isinstance(value, Mapping):
        return (
            isinstance(before, dict)
            and before.keys() == value.keys()
            and all(
                _means(before[name], item, newer=newer, inside=True)
                for name, item in value.items()
            )
        )
    if isinstance(value, list | tuple):
        return (
            isinstance(before, list)
            and len(before) == len(value)
            and all(map(lambda b, v: _means(b, v, newer=newer), before, value))
        )
    return before == value


def _tagged(value: Any, declared: Any = None) -> Any:
    told = canonical(value)
    if not dataclasses.is_dataclass(value):
        return told
    options = typing.get_args(declared) or (declared,)
    names = {each.__name__ for each in options if dataclasses.is_dataclass(each)}
    if names == {_kind(value)}:
        return told
    return {"kind": _kind(value), "fields": told}


def _kind(value: Any) -> str:
    """A name that the value has for good, in a field with init=False, or its type's."""
    fixed = [item for field, item in _fields(value) if not field.init]
    return fixed[0] if fixed else type(value).__name__


def _fields(value: Any) -> list[tuple[dataclasses.Field, Any]]:
    return [(each, getattr(value, each.name)) for each in dataclasses.fields(value)]


def _at_default(field: dataclasses.Field, value: Any) -> bool:
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return default is not dataclasses.MISSING and _tagged(value) == _tagged(default)
