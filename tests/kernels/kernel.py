"""Debian kernels for the tests: downloaded and unpacked into build/kernels, never installed (that would run hooks of the boot loader)."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build/kernels"


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot.

    Attributes:
        name: how it is asked for.
        package: Debian's meta package of it; the newest image that it depends on is taken.
    """

    name: str
    package: str

    def image_package(self) -> str:
        """The package with the image itself.

        Raises:
            LookupError: apt knows none (its lists may be missing).
        """
        asked = subprocess.run(["apt-cache", "depends", "--important", self.package], capture_output=True, text=True, check=False)
        for word in asked.stdout.split():
            if word.startswith("linux-image-") and word != self.package:
                return word
        raise LookupError(f"apt knows no kernel {self.package} (apt-get update; it is in bookworm-security)")

    def unpacked(self) -> Path:
        """Where vmlinuz is, beside its modules; downloaded (about 100 MB) if it is not there yet."""
        package = self.image_package()
        version = package.removeprefix("linux-image-")
        root = CACHE / version
        image = root / "boot" / f"vmlinuz-{version}"
        if not image.exists():
            print(f"kernels: downloading {package} into {root.relative_to(ROOT)}", flush=True)
            root.mkdir(parents=True, exist_ok=True)
            subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], cwd=root, check=True)
            [archive] = root.glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", archive, root], check=True)
            archive.unlink()
        return image


KERNELS = {kernel.name: kernel for kernel in (Kernel("6.12", "linux-image-6.12-amd64"), Kernel("6.1", "linux-image-amd64"))}
DEFAULT = ("6.12",)
