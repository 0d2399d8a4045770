"""Image files as bytes: which types there are, their records, and the blobs that follow some of them (docs/image-format.md)."""

# ruff: noqa: I001  (a name on each line would make this table four times as long)

from lamina.core.image.format.catalogue import (
    COMMON_MAGIC, CORE, CREDS, FDINFO, FILES, FS, IDS, IMAGES, INVENTORY, ITIMERS, MAGIC, MM, PAGEMAP, PIPES_DATA, POSIX_TIMERS, PSTREE,
    RLIMIT, SERVICE_MAGIC, SIGACTS, SIGNAL_P, SIGNAL_S, STATS_DUMP, STATS_RESTORE, TTY_INFO, VMAS, Head, ImageKind, kind_of_file,
    kind_of_head,
)  # fmt: skip
from lamina.core.image.format.flags import PageFlag, TaskState, VmaStatus
from lamina.core.image.format.records import (
    MAX_FILE, MAX_RECORDS, decode, decode_blobs, decode_image, decode_one, encode_image, head_size, read_file, records_of,
)  # fmt: skip

__all__ = [
    "COMMON_MAGIC", "CORE", "CREDS", "FDINFO", "FILES", "FS", "IDS", "IMAGES", "INVENTORY", "ITIMERS", "MAGIC", "MAX_FILE", "MAX_RECORDS",
    "MM", "PAGEMAP", "PIPES_DATA", "POSIX_TIMERS", "PSTREE", "RLIMIT", "SERVICE_MAGIC", "SIGACTS", "SIGNAL_P", "SIGNAL_S", "STATS_DUMP",
    "STATS_RESTORE", "TTY_INFO", "VMAS", "Head", "ImageKind", "PageFlag", "TaskState", "VmaStatus", "decode", "decode_blobs",
    "decode_image", "decode_one", "encode_image", "head_size", "kind_of_file", "kind_of_head", "read_file", "records_of",
]  # fmt: skip
