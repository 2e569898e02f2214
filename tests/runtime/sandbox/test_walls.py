"""What code must not reach, tried from inside: in each backend, as root and as an ordinary user.

Each probe's `result` is true when it got through. Those of OPEN_WITHOUT get through where there are no walls, which
shows that they try what they say.
"""

import pytest

from tests.runtime.sandbox.confinement import SECRET, Confinement, Driver

HEAD = """
import ctypes, os, platform, socket, mmap
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
def call(number_x86, number_arm, *arguments):
    ctypes.set_errno(0)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return libc.syscall(ctypes.c_long(number_x86 if X86 else number_arm), *wide)
def works(attempt):
    try:
        return bool(attempt())
    except OSError:
        return False
def calls(number_x86, number_arm, *arguments):
    return call(number_x86, number_arm, *arguments) >= 0
def reads(path):
    return works(lambda: bool(open(path, "rb").read(64)) or True)
def writes(path):
    return works(lambda: open(path, "wb").close() is None)
"""
PROBES = {
    # files and the environment
    "environment of its own": f"result = any('{SECRET}' in value for value in os.environ.values())",
    "environment of pid 1 and all others": """
try:
    listed = [entry for entry in os.listdir("/proc") if entry.isdigit()]
except OSError:
    listed = []
found = []
for pid in [*listed, *range(1, 99), inputs["driver"], inputs["victim"], "self"]:
    try:
        found.append(open(f"/proc/{pid}/environ", "rb").read())
    except OSError:
        pass
result = any(b"SECRET" in one for one in found)
""".replace("SECRET", SECRET),
    "a file that everybody may read": "result = reads(inputs['secret'])",
    "a file by way of a link": """
os.symlink(inputs["secret"], os.environ["TMPDIR"] + "/link")
result = reads(os.environ["TMPDIR"] + "/link")
""",
    "a file by way of a hard link": """
result = works(lambda: os.link(inputs["secret"], os.environ["TMPDIR"] + "/hard") is None)
""",
    "/etc/passwd and /etc/shadow": "result = reads('/etc/passwd') or reads('/etc/shadow')",
    "memory of a process as a file": """
result = reads(f"/proc/{inputs['victim']}/mem") or reads(f"/proc/{inputs['driver']}/maps")
""",
    "the folders of others": "result = works(lambda: os.listdir(inputs['folder']) or True)",
    "writing to /": "result = writes('/written') or writes('/usr/lib/written') or writes('/etc/written')",
    "writing to /dev": "result = writes('/dev/written') or works(lambda: os.mkdir('/dev/folder') is None)",
    "writing beside its own folder": "result = writes(inputs['folder'] + '/written') or writes('/var/tmp/written')",
    "writing to what it runs from": "result = writes(os.__file__) or writes(os.path.dirname(os.__file__) + '/x.py')",
    "emptying a file that its account may write": """
result = works(lambda: os.truncate(inputs["full"], 0) is None)
""",
    "emptying it by opening it": """
ways = [os.O_RDONLY | os.O_TRUNC, 3 | os.O_TRUNC, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC]
result = [way for way in ways if works(lambda: os.open(inputs["full"], way))]
""",
    "emptying it by newer and older doors": """
how, path = (ctypes.c_uint64 * 3)(os.O_RDONLY | os.O_TRUNC, 0, 0), inputs["full"].encode()
result = calls(437, 437, -100, path, how, 24) or (X86 and calls(85, 0, path, 0o600))
""",
    "a file without a right to it": "result = works(lambda: os.open(inputs['secret'], 3) or True)",
    "emptying what it runs from": """
ways = [os.O_RDONLY | os.O_TRUNC, 3 | os.O_TRUNC]
spare = os.path.dirname(os.__file__) + "/this.py"
result = [way for way in ways if works(lambda: os.open(spare, way))] or works(lambda: os.truncate(spare, 0) is None)
""",
    "making a device": "result = works(lambda: os.mknod(os.environ['TMPDIR'] + '/k', 0o020666, 0x103) is None)",
    "raw memory and disks": "result = any(map(reads, ['/dev/mem', '/dev/kmsg', '/dev/vda', '/dev/sda']))",
    "settings of the kernel": "result = writes('/proc/sys/kernel/core_pattern') or writes('/proc/sysrq-trigger')",
    "handles that ask no path": "result = calls(304, 265, -100, ctypes.create_string_buffer(128), 0)",
    # the network and other processes' sockets
    "TCP to this machine": "result = works(lambda: socket.create_connection(('127.0.0.1', inputs['port']), 1))",
    "TCP to elsewhere": "result = works(lambda: socket.create_connection(('192.0.2.1', 80), 0.3) or True)",
    "listening": "result = works(lambda: socket.create_server(('127.0.0.1', 0)))",
    "UDP": "result = works(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))",
    "IPv6, netlink, packets, vsock": """
kinds = [(10, 1), (16, 3), (17, 3), (40, 1), (38, 5)]
result = [kind for kind in kinds if works(lambda: socket.socket(*kind))]
""",
    "a unix socket that everybody may open": """
def attempt():
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(inputs["socket"])
        return True
result = works(attempt)
""",
    "an abstract unix socket": """
def attempt():
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect("\\0" + inputs["abstract"])
        return True
result = works(attempt)
""",
    "more room in a socket": """
one, _ = socket.socketpair()
result = [kind for kind in (7, 8, 32, 33) if works(lambda: one.setsockopt(socket.SOL_SOCKET, kind, 1 << 22) is None)]
""",
    "more room in a pipe": """
import fcntl
result = works(lambda: fcntl.fcntl(os.pipe()[0], 1031, 1 << 20))
""",
    "hiding from who watches": "result = calls(157, 167, 4, 0)",
    "a datagram sent from a pair": """
def attempt():
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"out", inputs["datagram"]) > 0
result = works(attempt)
""",
    "connecting a pair's end elsewhere": """
def attempt():
    one, _ = socket.socketpair()
    one.connect(inputs["socket"])
    return True
result = works(attempt)
""",
    "descriptors it should not have": """
def names(number):
    try:
        return os.read(number, 4) if number > 2 and number == inputs["inherited"] else b""
    except OSError:
        return b""
try:
    result = bool(names(inputs["inherited"])) or os.fstat(inputs["inherited"]).st_size == 19
except OSError:
    result = False
""",
    # other processes
    "a signal to a stranger": """
result = works(lambda: os.kill(inputs["victim"], 0) is None) or works(lambda: os.kill(inputs["victim"], 9) is None)
""",
    "a signal to whoever started it": "result = works(lambda: os.kill(inputs['driver'], 0) is None)",
    "a signal by tgkill": "result = calls(234, 131, inputs['victim'], inputs['victim'], 19)",
    "a signal by pidfd": """
result = works(lambda: __import__("signal").pidfd_send_signal(os.pidfd_open(inputs["victim"]), 19) is None)
""",
    "a signal by owning a descriptor": """
import fcntl
one, other = socket.socketpair()
result = works(lambda: fcntl.fcntl(one, fcntl.F_SETOWN, inputs["victim"]) == 0)
""",
    "a signal to everybody": "result = calls(62, 129, -1, 0) and inputs['victim'] == 0",
    "limits of a stranger": """
import resource
result = works(lambda: bool(resource.prlimit(inputs["victim"], resource.RLIMIT_NOFILE)))
""",
    "priority of a stranger": "result = works(lambda: os.setpriority(os.PRIO_PROCESS, inputs['victim'], 19) is None)",
    "a priority as others have": """
import resource
ways = [lambda n=n: os.setpriority(os.PRIO_PROCESS, 0, n) is None for n in (9, 0, -20)]
fair = (ctypes.c_uint32 * 12)(48)
result = os.getpriority(os.PRIO_PROCESS, 0) < 10 or any(map(works, ways)) or calls(314, 274, 0, fair, 0)
result = result or resource.getrlimit(resource.RLIMIT_NICE) != (0, 0)
""",
    "ptrace": "result = calls(101, 117, 16, inputs['victim'], 0, 0)",
    "ptrace of a child": """
child = os.fork()
if child == 0:
    __import__("time").sleep(5)
    os._exit(0)
result = calls(101, 117, 16, child, 0, 0)
os.kill(child, 9)
""",
    "memory of a stranger": """
buffer = ctypes.create_string_buffer(64)
vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
result = calls(310, 270, inputs["victim"], vector, 1, vector, 1, 0)
ours = os.getpid()
result = result or calls(310, 270, ours, vector, 1, vector, 1, 0)
""",
    # the kernel's doors
    "io_uring": "result = calls(425, 425, 8, ctypes.create_string_buffer(256))",
    "keys": "result = calls(250, 219, 0, -3, 1) or calls(248, 217, b'user', b'name', b'data', 4, -3)",
    "a user namespace": "result = calls(272, 97, 0x10000000)",
    "a mount namespace": "result = calls(272, 97, 0x00020000)",
    "a user namespace by clone": """
child = call(56, 220, 0x10000000 | 17, 0, 0, 0, 0)
if child == 0:
    os._exit(0)
result = child > 0
""",
    "a user namespace by clone3": """
import struct
arguments = ctypes.create_string_buffer(struct.pack("=11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)
child = call(435, 435, arguments, 88)
if child == 0:
    os._exit(0)
result = child > 0
""",
    "somebody else's namespace": """
result = works(lambda: os.open(f"/proc/{inputs['victim']}/ns/net", 0) and True) or calls(308, 268, 0, 0)
""",
    "mounting": "result = calls(165, 40, b'none', os.environ['TMPDIR'].encode(), b'tmpfs', 0, None)",
    "mounting the new way": "result = calls(430, 430, b'tmpfs', 0) or calls(428, 428, -100, b'/', 1)",
    "another root": "result = calls(161, 51, os.environ['TMPDIR'].encode())",
    "bpf": "result = calls(321, 280, 0, ctypes.create_string_buffer(128), 48)",
    "userfaultfd": "result = calls(323, 282, 1)",
    "perf": "result = calls(298, 241, ctypes.create_string_buffer(128), 0, -1, -1, 0)",
    "the kernel's log": "result = calls(103, 116, 3, ctypes.create_string_buffer(64), 64)",
    "modules": "result = calls(175, 105, b'', 0, b'') or calls(313, 273, 0, b'', 0)",
    "the clock": "result = calls(227, 112, 0, ctypes.create_string_buffer(16))",
    "another personality": "result = calls(135, 92, 0x0040000)",
    "calls that nobody has judged": """
ctypes.set_errno(0)
buffer = ctypes.create_string_buffer(64)
result = [n for n in range(451, 475) if call(n, n, buffer, 0, 0, 0) >= 0 or ctypes.get_errno() != 38]
""",
    "calls by the second door": "result = X86 and calls(0x40000000 | 39, 0)",
    "its own limits": """
import resource
most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
try:
    resource.setrlimit(resource.RLIMIT_NPROC, (most + 1, most + 1))
    result = True
except (ValueError, OSError):
    result = most == -1
""",
    "all processors": """
one = os.sched_getaffinity(0)
result = len(one) != 1 or works(lambda: os.sched_setaffinity(0, range(os.cpu_count())) is None)
""",
    # memory and queues of no process
    "memory as a file": "result = works(lambda: os.memfd_create('m') and True)",
    "memory that is shared by key": "result = calls(29, 194, 0, 4096, 0o1600)",
    "semaphores and queues by key": "result = calls(64, 190, 0, 1, 0o1600) or calls(68, 186, 0, 0o1600)",
    "queues by name": "result = calls(240, 180, b'stagedoor', 0o102, 0o600, None)",
    # the terminal
    "a terminal": "result = works(lambda: os.open('/dev/tty', os.O_RDWR))",
    "typing into a terminal": """
import fcntl
try:
    main, side = os.openpty()
    fcntl.ioctl(side, 0x5412, b"x")
    result = True
except OSError as error:
    result = False
""",
    # who it is
    "being somebody": """
result = os.getuid() == 0 or os.geteuid() == 0 or bool(set(os.getgroups()) - {os.getgid(), 65534})
""",
    "rights of root": """
head, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
call(125, 90, head, data)
result = any(data)
""",
    "gaining rights": "result = libc.prctl(39, 0, 0, 0, 0) != 1",
}
OPEN_WITHOUT = (
    "environment of pid 1 and all others",
    "memory of a process as a file",
    "a file that everybody may read",
    "a file by way of a link",
    "/etc/passwd and /etc/shadow",
    "emptying a file that its account may write",
    "emptying it by opening it",
    "emptying it by newer and older doors",
    "the folders of others",
    "writing beside its own folder",
    "TCP to this machine",
    "listening",
    "UDP",
    "IPv6, netlink, packets, vsock",
    "a unix socket that everybody may open",
    "an abstract unix socket",
    "more room in a socket",
    "more room in a pipe",
    "hiding from who watches",
    "a datagram sent from a pair",
    "a signal to whoever started it",
    "a signal by owning a descriptor",
    "limits of a stranger",
    "priority of a stranger",
    "a priority as others have",
    "ptrace of a child",
    "memory of a stranger",
    "a user namespace",
    "a user namespace by clone",
    "a user namespace by clone3",
    "calls that nobody has judged",
    "all processors",
    "memory as a file",
    "memory that is shared by key",
    "semaphores and queues by key",
    "queues by name",
    "another personality",
    "gaining rights",
)


@pytest.mark.parametrize("probe", PROBES)
def test_the_walls_stand(confinement: Confinement, probe: str) -> None:
    told = confinement.run(HEAD + PROBES[probe])
    assert told.bound is None, told
    assert not told.late, told
    assert "result" in told.answer, (told.answer, told.stderr)
    assert not told.result, told.result
    assert told.victim == "S"


EACH = """
for name, probe in PROBES.items():
    names = dict(globals())
    try:
        exec(probe, names)
    except OSError:
        pass
    if names["result"]:
        found[name] = repr(names["result"])
result = found
"""


@pytest.mark.parametrize("account", ["root", "ordinary"])
@pytest.mark.parametrize("abi", range(1, 6))
def test_the_walls_stand_on_older_kernels(request: pytest.FixtureRequest, abi: int, account: str) -> None:
    driver: Driver = request.getfixturevalue(f"{account}_driver")
    told = driver.run(f"landlock-abi{abi}", f"{HEAD}\nPROBES, found, result = {PROBES!r}, {{}}, None\n{EACH}")
    assert told.answer.get("result") == {}, (told.answer, told.stderr, told.bound)
    assert told.victim == "S"


@pytest.mark.parametrize("probe", OPEN_WITHOUT)
def test_without_walls_the_same_probes_get_through(ordinary_driver: Driver, probe: str) -> None:
    own = "import os, shutil, tempfile; os.environ['TMPDIR'] = tempfile.mkdtemp(dir='/tmp')"
    tidy = "shutil.rmtree(os.environ['TMPDIR'], ignore_errors=True)"
    told = ordinary_driver.run("bare", f"{own}\n{HEAD}{PROBES[probe]}\n{tidy}")
    assert told.result, told.answer
