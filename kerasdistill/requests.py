"""A request as JSON: in full to be read, canonical to be named by, and as older
versions of kerasdistill wrote it.

A request is a mapping or a frozen dataclass of plain values, tuples and further frozen
dataclasses. The canonical JSON leaves out fields at their default, so that a new field
with a default changes no name; a default itself can never change.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any

# Metadata of a field that older versions did not have.
LATER: dict[str, bool] = {"later": True}


def plain(value: Any, *, later: bool = True) -> Any:
    """All fields; a dataclass inside a mapping, or of a type that its place does not
    name, has its `kind` beside its fields.

    Without `later`, fields marked `LATER` are left out at their default.
    """
    return _in_full(value, but=lambda field: not later and "later" in field.metadata)


def older(value: Any) -> Any:
    """As `plain`, in the words of the versions that named runs by the whole JSON.

    Fields marked `LATER` are left out at their default. A dataclass whose fields had
    other names has a method `older_fields(fields)`, which gives those.
    """
    return _in_full(value, but=lambda field: "later" in field.metadata, older=True)


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
        newer: whether unknown fields are certain to be at their default.
    """
    was, now = leaves(before), leaves(plain(value))
    needed = leaves(_in_full(value, but=lambda field: True))
    lacking, strange = now.keys() - was.keys(), was.keys() - now.keys()
    fits = all(was[name] == now[name] for name in now.keys() & was.keys())
    fits = fits and not (lacking & needed.keys()) and (newer or not strange)
    return fits or before == older(value)


def differences(before: Any, value: Any) -> list[tuple[str, Any, Any]]:
    """The fields that differ, such as ("dataset.name", "digits", "cifar10"): the value
    in the JSON `before` and the request's."""
    was, lists = leaves(before), []
    for now in (leaves(plain(value)), leaves(older(value))):
        rows = [(name, was.get(name), now.get(name)) for name in {**now, **was}]
        lists.append([row for row in rows if row[1] != row[2]])
    return min(lists, key=len)  # of the version that wrote it


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Nested JSON values as one dictionary: {"dataset.name": "cifar10", ...}."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {name: value}
    parts = [leaves(item, f"{name}.{key}".strip(".")) for key, item in value.items()]
    return {key: leaf for part in parts for key, leaf in part.items()}


def _in_full(
    value: Any,
    *,
    but: Callable[[dataclasses.Field], bool],
    older: bool = False,
    inside: bool = False,
) -> Any:
    """As `plain` but for fields at their default that `but` is true of."""
    how = {"but": but, "older": older}
    if dataclasses.is_dataclass(value):
        hints = typing.get_type_hints(type(value))
        parts = {
            field.name: _in_full(
                item, **how, inside=not older and _is_strange(item, hints[field.name])
            )
            for field, item in _fields(value)
            if not (but(field) and _at_default(field, item))
        }
        if older and hasattr(value, "older_fields"):
            parts = value.older_fields(parts)
        return {"kind": _kind(value), **parts} if inside else parts
    if isinstance(value, Mapping):
        return {
            name: _in_full(item, **how, inside=True) for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_in_full(item, **how) for item in value]
    return value


def _tagged(value: Any, declared: Any = None) -> Any:
    fields = canonical(value)
    if not dataclasses.is_dataclass(value) or _names(declared) == {_kind(value)}:
        return fields
    return {"kind": _kind(value), "fields": fields}


def _is_strange(value: Any, declared: Any) -> bool:
    """Whether a reader of the field could not know the value's type."""
    if not dataclasses.is_dataclass(value) or _kind(value) != type(value).__name__:
        return False
    return _kind(value) not in _names(declared)


def _names(declared: Any) -> set[str]:
    """The dataclasses that a field may hold."""
    options = typing.get_args(declared) or (declared,)
    return {each.__name__ for each in options if dataclasses.is_dataclass(each)}


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
