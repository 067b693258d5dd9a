"""A file system that only Beam knows: it is there once this is imported."""

import os

from apache_beam.io.filesystem import FileMetadata, FileSystem
from apache_beam.io.localfilesystem import LocalFileSystem

PREFIX = "testbucket://"


class Bucket(FileSystem):
    """testbucket:///a/path is /a/path, which nothing but Beam can know."""

    def __init__(self, pipeline_options=None):
        super().__init__(pipeline_options)
        self._local = LocalFileSystem(pipeline_options)

    @classmethod
    def scheme(cls):
        return PREFIX.removesuffix("://")

    def join(self, basepath, *paths):
        return PREFIX + os.path.join(_local(basepath), *paths)

    def split(self, path):
        head, tail = os.path.split(_local(path))
        return PREFIX + head, tail

    def mkdirs(self, path):
        self._local.mkdirs(_local(path))

    def has_dirs(self):
        return True

    def _list(self, dir_or_prefix):
        for found in self._local._list(_local(dir_or_prefix)):
            yield FileMetadata(PREFIX + found.path, found.size_in_bytes)

    def create(self, path, mime_type="", compression_type="auto"):
        return self._local.create(_local(path), mime_type, compression_type)

    def open(self, path, mime_type="", compression_type="auto"):
        return self._local.open(_local(path), mime_type, compression_type)

    def copy(self, source_file_names, destination_file_names):
        self._local.copy(*_locals(source_file_names, destination_file_names))

    def rename(self, source_file_names, destination_file_names):
        self._local.rename(*_locals(source_file_names, destination_file_names))

    def exists(self, path):
        return self._local.exists(_local(path))

    def size(self, path):
        return self._local.size(_local(path))

    def last_updated(self, path):
        return self._local.last_updated(_local(path))

    def checksum(self, path):
        return self._local.checksum(_local(path))

    def metadata(self, path):
        return self._local.metadata(_local(path))

    def delete(self, paths):
        self._local.delete(*_locals(paths))


def _local(path):
    assert path.startswith(PREFIX), path
    return path.removeprefix(PREFIX)


def _locals(*lists):
    return [[_local(path) for path in paths] for paths in lists]
