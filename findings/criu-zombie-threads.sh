#!/bin/bash
# criu 4.1.1 (Debian 13, x86-64): in pstree.img a zombie has one thread, and its id is whatever lay in memory.
#
# images/pstree.proto says `repeated uint32 threads`, the leader first, and every living task is written so. For a task that had exited and was not
# yet reaped, criu counts one thread and never fills in its id; 3.17.1 has 0 there (seen). A reader that holds thread ids
# against PID_MAX_LIMIT, or looks for core-TID.img by them, refuses a set that criu itself restores.
#
# Seen (4.1.1-1, Linux 6.18): "task 8: threads [8]" and "task 9 (zombie): threads [2868436384]"; the second number differs from run to run.
# Needs root, debootstrap, and a kernel that criu can dump on. CRIU_ROOT: a Debian 13 with criu in it, so that none has to be made.
set -euo pipefail
root=${CRIU_ROOT:-}
if [ -z "$root" ]; then
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=criu,python3-minimal trixie "$root" >/dev/null
fi
version=$(chroot "$root" dpkg-query -W -f '${Version}' criu)
case $version in 4.1.1-*) ;; *) echo "criu is $version, not 4.1.1"; exit 1 ;; esac

inside=$(cat <<'INSIDE'
set -eu
cat >/tmp/zombie.py <<'P'
import os, sys, time
child = os.fork()
if child == 0:
    os._exit(7)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)   # it has ended, and stays a zombie
open("/tmp/ready", "w").write(f"{os.getpid()} {child}\n")
time.sleep(60)
P
rm -rf /tmp/ready /tmp/images; mkdir /tmp/images
python3 -c 'import os
if os.fork() == 0:
    os.setsid(); os.closerange(0, 256); os.open("/dev/null", os.O_RDWR); os.dup(0); os.dup(0)
    os.execvp("python3", ["python3", "/tmp/zombie.py"])'
for _ in $(seq 100); do [ -s /tmp/ready ] && break; sleep 0.1; done
read -r pid child </tmp/ready
criu dump -t "$pid" -D /tmp/images -v1 >/tmp/images/log 2>&1 </dev/null || { cat /tmp/images/log; exit 1; }
python3 - "$child" <<'P'
import struct, sys
data, at = open("/tmp/images/pstree.img", "rb").read(), 8   # two magics, then records: length, protobuf
zombie, wrong = int(sys.argv[1]), False
while at < len(data):
    (length,) = struct.unpack_from("<I", data, at)
    record, at = data[at + 4 : at + 4 + length], at + 4 + length
    values, place = [], 0
    def varint():
        global place
        shift = value = 0
        while True:
            byte = record[place]; place += 1
            value |= (byte & 127) << shift; shift += 7
            if byte < 128:
                return value
    while place < len(record):
        values.append((varint() >> 3, varint()))
    pid, threads = dict(values)[1], [value for field, value in values if field == 5]
    print(f"task {pid}{' (zombie)' if pid == zombie else ''}: threads {threads}")
    wrong |= pid == zombie and len(threads) == 1 and threads[0] != pid
sys.exit(not wrong)
P
INSIDE
)
export ROOT="$root" INSIDE="$inside"
# criu must see its root as a mount, and pids of its own.
unshare --mount --pid --fork bash -c '
    mount --make-rprivate /; mount --bind "$ROOT" "$ROOT"; cd "$ROOT"; mkdir -p old
    mount -t proc proc proc; mount -t sysfs sys sys; mount -t tmpfs run run; mount -t tmpfs tmp tmp; mount --rbind /dev dev
    pivot_root . old; umount -l /old; cd /; unset ROOT; exec bash -c "$INSIDE"
' && echo "criu $version: the thread id of the zombie is not its pid" || { echo "criu $version: that has changed"; exit 1; }
