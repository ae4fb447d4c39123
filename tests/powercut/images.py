"""What a power cut may leave of the files that a trace tells of.

A write that was synced is there. One that was not may be there, or not, or in part: disks keep sectors of 512 bytes whole,
and write them in any order. A new file is there once it, or its folder, was synced; before that it may be.
"""

import os
import pathlib
import random
import struct

HEAD = struct.Struct("<BQqI")
SECTOR = 512


def entries(file):
    """The entries of a trace: the offset behind each, kind, inode, number, bytes."""
    with open(file, "rb") as trace:
        while True:
            head = trace.read(HEAD.size)
            if len(head) < HEAD.size:
                return
            kind, inode, number, count = HEAD.unpack(head)
            data = trace.read(count)
            if len(data) < count:
                return
            yield trace.tell(), chr(kind), inode, number, data


class Content:
    """One file: what is durable, and what came after that."""

    def __init__(self):
        self.durable = bytearray()
        self.pending = []  # (offset of the entry in the trace, "W" or "T", number, bytes)
        self.exists = False  # whether its name is durable

    def sync(self, before):
        """All that stood in the trace before an offset is durable."""
        while self.pending and self.pending[0][0] <= before:
            _, kind, number, data = self.pending.pop(0)
            apply(self.durable, kind, number, data)
        self.exists = True


def apply(content, kind, number, data):
    if kind == "T":
        if number < len(content):
            del content[number:]
        else:
            content.extend(bytes(number - len(content)))
        return
    if len(content) < number:
        content.extend(bytes(number - len(content)))
    content[number : number + len(data)] = data


def torn(draw, number, data):
    """The sectors of a write that reached the disk, each as a write of its own."""
    kept = draw.random()
    at = 0
    while at < len(data):
        end = min(len(data), (number + at) // SECTOR * SECTOR + SECTOR - number)
        if draw.random() < kept:
            yield number + at, data[at:end]
        at = end


class Disk:
    """The files of a folder, as the trace leads from one state to the next."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.names = {}  # path -> inode
        self.files = {}  # inode -> Content
        self.unsynced_names = []  # (offset, "R" or "U", undo): names that a cut may bring back

    def take(self, at, kind, inode, number, data):
        if kind == "O":
            path = data.decode()
            if number or path not in self.names:
                self.names[path] = inode
                if number or inode not in self.files:
                    self.files[inode] = Content()
        elif kind in "WT":
            self.files[inode].pending.append((at, kind, number, data))
        elif kind == "S":
            self.files[inode].sync(number)
        elif kind == "D":
            folder = data.decode()
            for path, of in self.names.items():
                if os.path.dirname(path) == folder.rstrip("/"):
                    self.files[of].exists = True
            self.unsynced_names = [name for name in self.unsynced_names if name[0] > number]
        elif kind == "R":
            old, new = data.decode().split("\0")
            self.unsynced_names.append((at, old, self.names.get(old), new, self.names.get(new)))
            if old in self.names:
                self.names[new] = self.names.pop(old)
        elif kind == "U":
            path = data.decode()
            if path in self.names:
                self.unsynced_names.append((at, path, self.names.pop(path), None, None))

    def image(self, folder, draw):
        """Writes the files as a cut now may leave them; `draw` decides. With None: everything as it was written."""
        names = dict(self.names)
        if draw:
            # Names that were not synced may still be the old ones, from some moment on.
            keep = draw.randint(0, len(self.unsynced_names))
            for _, old, old_inode, new, new_inode in reversed(self.unsynced_names[keep:]):
                if old_inode is not None:
                    names[old] = old_inode
                if new is not None:
                    names.pop(new, None)
                    if new_inode is not None:
                        names[new] = new_inode
        # A disk in a hurry, one that wrote nothing, and all between.
        mood = draw.choice(["none", "all", "first", "torn", "torn"]) if draw else "all"
        for path, inode in names.items():
            content = self.files[inode]
            if draw and not content.exists and draw.random() < 0.5:
                continue
            target = pathlib.Path(folder) / pathlib.Path(path).relative_to(self.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.content(content, mood, draw))

    @staticmethod
    def content(content, mood, draw):
        result = bytearray(content.durable)
        pending = content.pending
        if mood == "none":
            return result
        if mood == "first":
            pending = pending[: draw.randint(0, len(pending))]
        for _, kind, number, data in pending:
            if mood != "torn":
                apply(result, kind, number, data)
            elif kind == "T":
                if draw.random() < 0.5:
                    apply(result, kind, number, data)
            else:
                for part_number, part in torn(draw, number, data):
                    apply(result, "W", part_number, part)
        return result


def images(trace, root, cuts, seed):
    """For each offset of `cuts`, which rise: the disk as it was there, with a source of chance."""
    disk, wanted = Disk(root), list(cuts)
    for at, kind, inode, number, data in entries(trace):
        while wanted and at > wanted[0]:
            yield wanted.pop(0), disk, random.Random(f"{seed}/{len(wanted)}")
        disk.take(at, kind, inode, number, data)
    while wanted:
        yield wanted.pop(0), disk, random.Random(f"{seed}/{len(wanted)}")
