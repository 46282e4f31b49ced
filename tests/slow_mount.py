#!/usr/bin/env python3
"""A FUSE mount that shows a folder, and of which a test decides what it does not answer.

    slow_mount.py FOLDER MOUNTPOINT CONTROL

CONTROL is a file with words: kinds of requests (read, lookup, ...; or all) that are taken and not answered while they stand there, so that
whoever asks can be neither interrupted nor killed. What is held is named in CONTROL.held, one word a line. When the words are gone it is
answered. CONTROL.ready is there when it is mounted; CONTROL.why says why it cannot be.

Protocol: linux/fuse.h, 7.31.
"""
import ctypes
import errno
import os
import select
import signal
import stat
import struct
import sys

folder, point, control = sys.argv[1:]
KINDS = {1: "lookup", 2: "forget", 3: "getattr", 4: "setattr", 8: "mknod", 9: "mkdir", 10: "unlink", 11: "rmdir", 12: "rename",
         14: "open", 15: "read", 16: "write", 17: "statfs", 18: "release", 20: "fsync", 25: "flush", 26: "init", 27: "opendir",
         28: "readdir", 29: "releasedir", 30: "fsyncdir", 35: "create", 36: "interrupt", 42: "batch_forget", 45: "rename2"}
SILENT = ("forget", "interrupt", "batch_forget")
NODEV_NOSUID, PR_SET_PDEATHSIG = 6, 1

paths, nodes = {1: ""}, {"": 1}  # below FOLDER; a node stays when its name goes, and follows a rename


def node_of(path):
    if path not in nodes:
        nodes[path] = max(paths) + 1
        paths[nodes[path]] = path
    return nodes[path]


def full(node, name=None):
    path = paths[node] + ("/" + os.fsdecode(name.split(b"\0")[0]) if name is not None else "")
    return path, folder + path


def attr(st):
    def ns(t):
        return t // 10**9, t % 10**9
    (a, an), (m, mn), (c, cn) = ns(st.st_atime_ns), ns(st.st_mtime_ns), ns(st.st_ctime_ns)
    return struct.pack("<6Q10I", st.st_ino, st.st_size, st.st_blocks, a, m, c, an, mn, cn, st.st_mode, st.st_nlink, st.st_uid, st.st_gid,
                       0, 4096, 0)


def entry(path):
    st = os.lstat(folder + path)
    return struct.pack("<4Q2I", node_of(path), 0, 0, 0, 0, 0) + attr(st)


def moved(old, new):
    node = nodes.pop(old, None)
    if node:
        nodes[new] = node
        paths[node] = new


def listing(fd_path, offset, size):
    out = b""
    names = [".", ".."] + sorted(os.listdir(fd_path))
    for i in range(offset, len(names)):
        name = os.fsencode(names[i])
        mode = os.lstat(fd_path + "/" + names[i]).st_mode
        one = struct.pack("<2Q2I", i + 1, i + 1, len(name), stat.S_IFMT(mode) >> 12) + name
        one += b"\0" * (-len(one) % 8)
        if len(out) + len(one) > size:
            break
        out += one
    return out


def init(node, body):
    return struct.pack("<4I2H2I2HI7I", 7, 31, 65536, 0, 12, 9, 131072, 1, 32, 0, 0, *[0] * 7)


def setattr_(node, body):
    valid, _, _, size, _, atime, mtime = struct.unpack_from("<2I5Q", body)
    mode = struct.unpack_from("<I", body, 68)[0]
    path = full(node)[1]
    if valid & 1:
        os.chmod(path, mode & 0o7777)
    if valid & 8:
        os.truncate(path, size)
    return struct.pack("<Q2I", 0, 0, 0) + attr(os.lstat(path))


def mkdir(node, body):
    path, real = full(node, body[8:])
    os.mkdir(real, struct.unpack_from("<I", body)[0] & 0o7777)
    return entry(path)


def create(node, body):
    flags, mode = struct.unpack_from("<2I", body)
    path, real = full(node, body[16:])
    fd = os.open(real, flags & ~os.O_NOFOLLOW | os.O_CREAT, mode & 0o7777)
    return entry(path) + struct.pack("<QII", fd, 0, 0)


def rename(node, body, skip):
    old, new = body[skip:].split(b"\0")[:2]
    to = struct.unpack_from("<Q", body)[0]
    (a, real_a), (b, real_b) = full(node, old), full(to, new)
    os.rename(real_a, real_b)
    moved(a, b)
    return b""


def read(node, body):
    fd, offset, size = struct.unpack_from("<2QI", body)
    return os.pread(fd, size, offset)


def write(node, body):
    fd, offset, size = struct.unpack_from("<2QI", body)
    return struct.pack("<2I", os.pwrite(fd, body[40:40 + size], offset), 0)


def close(node, body):
    os.close(struct.unpack_from("<Q", body)[0])
    return b""


def statfs(node, body):
    st = os.statvfs(folder)
    return struct.pack("<5Q4I6I", st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree, st.f_bsize, st.f_namemax, st.f_frsize, 0,
                       *[0] * 6)


def nothing(node, body):
    return b""


ANSWERS = {
    "init": init, "setattr": setattr_, "mkdir": mkdir, "create": create, "read": read, "write": write, "release": close,
    "statfs": statfs, "flush": nothing, "fsync": nothing, "fsyncdir": nothing, "releasedir": nothing,
    "lookup": lambda n, b: entry(full(n, b)[0]),
    "getattr": lambda n, b: struct.pack("<Q2I", 0, 0, 0) + attr(os.lstat(full(n)[1])),
    "open": lambda n, b: struct.pack("<QII", os.open(full(n)[1], struct.unpack_from("<I", b)[0] & 3), 0, 0),
    "opendir": lambda n, b: struct.pack("<QII", 0, 0, 0),
    "readdir": lambda n, b: listing(full(n)[1], *struct.unpack_from("<QI", b, 8)),
    "unlink": lambda n, b: os.unlink(full(n, b)[1]) or b"",
    "rmdir": lambda n, b: os.rmdir(full(n, b)[1]) or b"",
    "rename": lambda n, b: rename(n, b, 8),
    "rename2": lambda n, b: rename(n, b, 16),
}


def answer(dev, kind, unique, node, body):
    error, out = 0, b""
    if kind in SILENT:
        return
    try:
        out = ANSWERS[kind](node, body) if kind in ANSWERS else b""
        error = 0 if kind in ANSWERS else -errno.ENOSYS
    except OSError as e:
        error, out = -e.errno, b""
    try:
        os.write(dev, struct.pack("<IiQ", 16 + len(out), error, unique) + out)
    except OSError as e:
        if e.errno != errno.ENOENT:  # it was given up meanwhile
            raise


def is_held(kind):
    try:
        with open(control) as f:
            words = f.read().split()
    except FileNotFoundError:
        return False
    return kind not in SILENT and (kind in words or ("all" in words and kind != "init"))


def cannot(why):
    with open(control + ".why", "w") as f:
        f.write(why)
    sys.exit(1)


def main():
    try:
        dev = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
    except OSError as e:
        cannot(str(e))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # who is held goes free with the test
    options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % dev
    if libc.mount(b"slow", point.encode(), b"fuse", NODEV_NOSUID, options):
        cannot(os.strerror(ctypes.get_errno()))
    open(control + ".ready", "w").close()
    held = []
    while True:
        select.select([dev], [], [], 0.05 if held else None)
        try:
            request = os.read(dev, 1 << 20)
        except BlockingIOError:
            request = None
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.EINTR):
                continue
            sys.exit(0)  # unmounted
        if request:
            size, opcode, unique, node = struct.unpack_from("<2I2Q", request)
            held.append((KINDS.get(opcode, str(opcode)), unique, node, request[40:size]))
            if is_held(held[-1][0]):
                with open(control + ".held", "a") as f:
                    f.write(held[-1][0] + "\n")
        for one in [h for h in held if not is_held(h[0])]:
            held.remove(one)
            answer(dev, *one)


main()
