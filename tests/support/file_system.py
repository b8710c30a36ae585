#!/usr/bin/env python3
"""A file system with the habits of others, for tests: file_system.py DIRECTORY MOUNTPOINT HABITS

HABITS, with commas: any-case (names are found in any case), no-links (no hard links; no file system of this kind can rename
without replacing, either), no-colons."""
import errno
import os
import sys

try:
    from fuse import FUSE, FuseOSError, Operations
except ImportError:  # Debian's package has both names, and `fuse` may be another one.
    from fusepy import FUSE, FuseOSError, Operations


class Odd(Operations):
    def __init__(self, root, habits):
        self.root, self.habits = root, habits

    def real(self, path):
        found = self.root
        for part in filter(None, path.split("/")):
            exact = os.path.join(found, part)
            if "any-case" in self.habits and not os.path.lexists(exact) and os.path.isdir(found):
                same = [name for name in os.listdir(found) if name.lower() == part.lower()]
                exact = os.path.join(found, same[0]) if same else exact
            found = exact
        return found

    def new(self, path):
        if "no-colons" in self.habits and any(c in ':?*<>|"\\' for c in path):
            raise FuseOSError(errno.EINVAL)
        return self.real(path)

    def getattr(self, path, fh=None):
        stat = os.lstat(self.real(path))
        return {key: getattr(stat, key) for key in dir(stat) if key.startswith("st_")}

    def readdir(self, path, fh):
        return [".", ".."] + os.listdir(self.real(path))

    def mkdir(self, path, mode):
        os.mkdir(self.new(path), mode)

    def rmdir(self, path):
        os.rmdir(self.real(path))

    def unlink(self, path):
        os.unlink(self.real(path))

    def chmod(self, path, mode):
        os.chmod(self.real(path), mode)

    def chown(self, path, uid, gid):
        os.chown(self.real(path), uid, gid)

    def rename(self, old, new):
        os.rename(self.real(old), self.new(new))

    def link(self, target, source):
        if "no-links" in self.habits:
            raise FuseOSError(errno.EPERM)
        os.link(self.real(source), self.new(target))

    def open(self, path, flags):
        return os.open(self.real(path), flags)

    def create(self, path, mode, fi=None):
        return os.open(self.new(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self.real(path), length)

    def flush(self, path, fh):
        return 0

    def release(self, path, fh):
        os.close(fh)

    def fsync(self, path, datasync, fh):
        return 0

    def utimens(self, path, times=None):
        os.utime(self.real(path), times)

    def statfs(self, path):
        stat = os.statvfs(self.real(path))
        return {key: getattr(stat, key) for key in dir(stat) if key.startswith("f_") and key != "f_fsid"}


FUSE(Odd(sys.argv[1], sys.argv[3].split(",")), sys.argv[2], foreground=True, nothreads=True,
     attr_timeout=0, entry_timeout=0, negative_timeout=0)
