# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk and the kernel of the virtual machines: Debian with its stock kernel, built once a recipe from the machine's own
apt sources, for what the kernel of the machine that runs the tests may lack."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from crosshost_lab import rootfs
from crosshost_lab.layout import LabError
from crosshost_lab.system import last_line, remove_tree, run, words, write

CACHE = Path(__file__).resolve().parents[3] / ".lab" / "cache"
PACKAGES = words(
    [
        "systemd systemd-sysv udev dbus kmod procps openssh-server linux-image-cloud-amd64",
        "python3 python3-pyroute2 iproute2 nftables iputils-ping tcpdump netcat-openbsd lksctp-tools dnsmasq-base",
    ]
)
ADDRESS = "10.0.2.15"  # where QEMU's user network looks for the guest
FILES = {
    # eth0 is the way in; eth1, the machines' own wire, is left to the tests
    "etc/systemd/network/10-eth0.network": f"[Match]\nName=eth0\n[Network]\nAddress={ADDRESS}/24\nLinkLocalAddressing=no\n",
    "etc/ssh/sshd_config.d/vm.conf": "UseDNS no\nPasswordAuthentication no\nHostKey /etc/ssh/ssh_host_ed25519_key\n",
    "etc/systemd/journald.conf.d/vm.conf": "[Journal]\nStorage=volatile\n",
    "etc/fstab": "",
    "etc/hosts": "127.0.0.1 localhost\n",
}
# Emulated, every unit that starts costs part of a second.
MASKED = words(
    [
        "systemd-networkd-wait-online.service systemd-timesyncd.service systemd-logind.service systemd-pstore.service",
        "systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-random-seed.service",
        "systemd-binfmt.service systemd-remount-fs.service systemd-journal-flush.service systemd-sysusers.service",
        "systemd-firstboot.service systemd-hwdb-update.service systemd-journal-catalog-update.service",
        "systemd-update-done.service systemd-machine-id-commit.service systemd-boot-system-token.service",
        "systemd-network-generator.service systemd-modules-load.service kmod-static-nodes.service ldconfig.service",
        "modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service",
        "modprobe@fuse.service modprobe@loop.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer",
        "e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service getty.target serial-getty@ttyS0.service",
        "proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount",
        "dev-mqueue.mount sys-fs-fuse-connections.mount sys-kernel-config.mount",
    ]
)
# What the kernel needs to find its disk; all else is on the disk.
_DISK_MODULES = words(
    ["virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk"]
)
_SIZE = "2G"  # sparse
_UNWANTED = words(
    ["etc/ssh/ssh_host_rsa* etc/ssh/ssh_host_ecdsa* etc/apt/apt.conf.d/99mmdebstrap etc/resolv.conf"]
)
# Counts the changes of the code below, which the recipe's hash cannot see.
_REVISION = 1
_INIT = """#!/bin/sh
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /lib/$module.ko; done
count=0
while [ ! -b /dev/vda ] && [ $count -lt 200 ]; do /bin/busybox usleep 20000; count=$((count+1)); done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root || exec /bin/busybox poweroff -f
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""


class Image(NamedTuple):
    """A built image's folder: disk, kernel, initial file system, and the key that opens the machines."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def key(self) -> Path:
        return self.folder / "key"


def recipe_hash() -> str:
    """12 hex digits that change when what is in the image changes."""
    recipe = [_REVISION, rootfs.SUITE, PACKAGES, FILES, MASKED, _UNWANTED, _DISK_MODULES, _SIZE, _INIT]
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]


def ensure() -> Image:
    """The image; it is built when it is not there, which takes less than a minute. LabError when that fails."""
    image = Image(CACHE / f"vm-{recipe_hash()}")
    if image.folder.is_dir():
        return image
    with _lock():
        if not image.folder.is_dir():
            for rest in CACHE.glob("vm-*"):
                remove_tree(rest)
            _build(image)
    return image


@contextmanager
def _lock() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "vm.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(image: Image) -> None:
    draft = CACHE / f"vm-build-{os.getpid()}"
    log = CACHE / "vm.log"
    root = draft / "rootfs"
    try:
        draft.mkdir()
        with log.open("w") as output:
            rootfs.mmdebstrap(root, PACKAGES, output.fileno())
        _customize(root, draft)
        _kernel(root, draft)
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^metadata_csum,^64bit", "-d", str(root), str(draft / "disk.raw"), _SIZE])  # fmt: skip
        remove_tree(root)
        draft.rename(image.folder)
    except LabError as error:
        raise LabError(f"{error}: {last_line(log)}; see {log}") from None
    finally:
        remove_tree(draft)


def _customize(root: Path, draft: Path) -> None:
    run(["chroot", str(root), "systemctl", "enable", "systemd-networkd.service", "ssh.service"])
    run(["chroot", str(root), "systemctl", "mask", *MASKED])
    for name, text in FILES.items():
        write(root / name, text)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vm", "-f", str(draft / "key")])
    write(root / "root/.ssh/authorized_keys", (draft / "key.pub").read_text(), 0o600)
    (root / "root/.ssh").chmod(0o700)
    for path in [found for pattern in _UNWANTED for found in root.glob(pattern)]:
        path.unlink()
    for name in ("var/lib/apt/lists", "var/cache/apt"):
        remove_tree(root / name)


def _kernel(root: Path, draft: Path) -> None:
    """The kernel out of the image, and a file system in memory that knows how to get at the disk."""
    (modules,) = (root / "lib/modules").iterdir()
    shutil.copy(root / f"boot/vmlinuz-{modules.name}", draft / "vmlinuz")
    for path in root.glob("boot/initrd.img*"):
        path.unlink()
    files = {"init": (0o755, _INIT.format(modules=" ".join(_DISK_MODULES)).encode())}
    files["bin/busybox"] = (0o755, Path("/bin/busybox").read_bytes())
    for name in _DISK_MODULES:
        (found,) = modules.glob(f"kernel/**/{name}.ko")
        files[f"lib/{name}.ko"] = (0o644, found.read_bytes())
    folders = ["bin", "dev", "lib", "root"]
    entries = [(name, 0o040755, b"") for name in folders]
    entries += [(name, 0o100000 | mode, data) for name, (mode, data) in files.items()]
    entries.append(("bin/sh", 0o120777, b"busybox"))
    (draft / "initrd").write_bytes(_newc(entries))


def _newc(entries: list[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive in the form that kernels unpack (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    found = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        found += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        found += b"\0" * (-len(found) % 4) + data
        found += b"\0" * (-len(found) % 4)
    return bytes(found)


def missing() -> list[str]:
    """The programs that machines need and that are not installed."""
    programs = ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "ssh", "ssh-keygen", "busybox")
    return [
        name
        for name in programs
        if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None
    ]
