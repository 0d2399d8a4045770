"""The messages of the images, under CRIU's names. The one place to import them from; generated code behind it."""

# ruff: noqa: I001  (a name on each line would make this table four times as long)

from lamina.core.image.schema.common_pb2 import fown_entry, lsmtype, plugins_entry, remap_type, rseq_entry, seccomp_mode, timeval
from lamina.core.image.schema.contents_pb2 import (
    bpfmap_data_entry, ghost_chunk_entry, ghost_file_entry, irmap_cache_entry, tcp_stream_entry,
)  # fmt: skip
from lamina.core.image.schema.core_pb2 import (
    core_entry, pstree_entry, seccomp_entry, seccomp_filter, task_core_entry, task_kobj_ids_entry, thread_core_entry,
    thread_sas_entry, timens_entry, timespec,
)  # fmt: skip
from lamina.core.image.schema.creds_pb2 import creds_entry, rlimit_entry, task_rlimits_entry
from lamina.core.image.schema.files_pb2 import (
    bpfmap_file_entry, eventfd_file_entry, eventpoll_file_entry, eventpoll_tfd_entry, ext_file_entry, fanotify_file_entry,
    fanotify_inode_mark_entry, fanotify_mark_entry, fanotify_mount_mark_entry, fd_types, fdinfo_entry, fh_entry, fifo_entry,
    file_entry, file_lock_entry, fs_entry, inotify_file_entry, inotify_wd_entry, mark_type, memfd_file_entry, memfd_inode_entry,
    ns_file_entry, pidfd_entry, pipe_data_entry, pipe_entry, reg_file_entry, remap_file_path_entry, signalfd_entry, timerfd_entry,
    tunfile_entry,
)  # fmt: skip
from lamina.core.image.schema.inventory_pb2 import (
    cg_controller_entry, cg_member_entry, cg_set_entry, cgroup_dir_entry, cgroup_entry, cgroup_perms, cgroup_prop_entry,
    inventory_entry,
)  # fmt: skip
from lamina.core.image.schema.machines_pb2 import (
    cpuinfo_entry, cpuinfo_ppc64_entry, cpuinfo_s390_entry, cpuinfo_x86_entry, pac_address_keys, pac_generic_keys, pac_keys,
    thread_info_arm, thread_info_loongarch64, thread_info_mips, thread_info_ppc64, thread_info_riscv64, thread_info_s390,
    user_arm_regs_entry, user_arm_vfpstate_entry, user_loongarch64_fpregs_entry, user_loongarch64_gpregs_entry,
    user_mips_fpregs_entry, user_mips_regs_entry, user_ppc64_fpstate_entry, user_ppc64_regs_entry, user_ppc64_tm_regs_entry,
    user_ppc64_vrstate_entry, user_ppc64_vsxstate_entry, user_riscv64_d_ext_entry, user_riscv64_regs_entry, user_s390_fpregs_entry,
    user_s390_gs_cb_entry, user_s390_regs_entry, user_s390_ri_entry, user_s390_vxrs_high_entry, user_s390_vxrs_low_entry,
)  # fmt: skip
from lamina.core.image.schema.memory_pb2 import aio_ring_entry, mm_entry, pagemap_entry, pagemap_head, vma_entry
from lamina.core.image.schema.namespaces_pb2 import (
    SysctlType, aa_namespace, aa_policy, apparmor_entry, autofs_entry, binfmt_misc_entry, fstype, ipc_desc_entry, ipc_msg,
    ipc_msg_entry, ipc_sem_entry, ipc_shm_entry, ipc_var_entry, macvlan_link_entry, mnt_entry, nd_type, net_device_entry, netns_entry,
    netns_id, pidns_entry, sit_entry, sysctl_entry, tun_link_entry, uid_gid_extent, userns_entry, utsns_entry,
)  # fmt: skip
from lamina.core.image.schema.registers_pb2 import (
    thread_info_aarch64, thread_info_x86, user_aarch64_fpsimd_context_entry, user_aarch64_regs_entry, user_desc_t, user_x86_cet_entry,
    user_x86_fpregs_entry, user_x86_regs_entry, user_x86_regs_mode, user_x86_xsave_entry,
)  # fmt: skip
from lamina.core.image.schema.signals_pb2 import (
    itimer_entry, posix_timer_entry, sa_entry, siginfo_entry, signal_queue_entry, task_timers_entry,
)  # fmt: skip
from lamina.core.image.schema.sockets_pb2 import (
    file_perms_entry, inet_sk_entry, ip_opts_entry, ip_opts_raw_entry, netlink_sk_entry, packet_mclist, packet_ring,
    packet_sock_entry, scm_entry, sk_opts_entry, sk_packet_entry, sk_shutdown, sk_ucred_entry, tcp_opts_entry, unix_sk_entry,
)  # fmt: skip
from lamina.core.image.schema.stats_pb2 import dump_stats_entry, restore_stats_entry, stats_entry
from lamina.core.image.schema.tty_pb2 import (
    TtyType, termios_entry, tty_data_entry, tty_file_entry, tty_info_entry, tty_pty_entry, winsize_entry,
)  # fmt: skip

__all__ = [
    "SysctlType", "TtyType", "aa_namespace", "aa_policy", "aio_ring_entry", "apparmor_entry", "autofs_entry", "binfmt_misc_entry",
    "bpfmap_data_entry", "bpfmap_file_entry", "cg_controller_entry", "cg_member_entry", "cg_set_entry", "cgroup_dir_entry",
    "cgroup_entry", "cgroup_perms", "cgroup_prop_entry", "core_entry", "cpuinfo_entry", "cpuinfo_ppc64_entry", "cpuinfo_s390_entry",
    "cpuinfo_x86_entry", "creds_entry", "dump_stats_entry", "eventfd_file_entry", "eventpoll_file_entry", "eventpoll_tfd_entry",
    "ext_file_entry", "fanotify_file_entry", "fanotify_inode_mark_entry", "fanotify_mark_entry", "fanotify_mount_mark_entry",
    "fd_types", "fdinfo_entry", "fh_entry", "fifo_entry", "file_entry", "file_lock_entry", "file_perms_entry", "fown_entry",
    "fs_entry", "fstype", "ghost_chunk_entry", "ghost_file_entry", "inet_sk_entry", "inotify_file_entry", "inotify_wd_entry",
    "inventory_entry", "ip_opts_entry", "ip_opts_raw_entry", "ipc_desc_entry", "ipc_msg", "ipc_msg_entry", "ipc_sem_entry",
    "ipc_shm_entry", "ipc_var_entry", "irmap_cache_entry", "itimer_entry", "lsmtype", "macvlan_link_entry", "mark_type",
    "memfd_file_entry", "memfd_inode_entry", "mm_entry", "mnt_entry", "nd_type", "net_device_entry", "netlink_sk_entry",
    "netns_entry", "netns_id", "ns_file_entry", "pac_address_keys", "pac_generic_keys", "pac_keys", "packet_mclist", "packet_ring",
    "packet_sock_entry", "pagemap_entry", "pagemap_head", "pidfd_entry", "pidns_entry", "pipe_data_entry", "pipe_entry",
    "plugins_entry", "posix_timer_entry", "pstree_entry", "reg_file_entry", "remap_file_path_entry", "remap_type",
    "restore_stats_entry", "rlimit_entry", "rseq_entry", "sa_entry", "scm_entry", "seccomp_entry", "seccomp_filter", "seccomp_mode",
    "siginfo_entry", "signal_queue_entry", "signalfd_entry", "sit_entry", "sk_opts_entry", "sk_packet_entry", "sk_shutdown",
    "sk_ucred_entry", "stats_entry", "sysctl_entry", "task_core_entry", "task_kobj_ids_entry", "task_rlimits_entry",
    "task_timers_entry", "tcp_opts_entry", "tcp_stream_entry", "termios_entry", "thread_core_entry", "thread_info_aarch64",
    "thread_info_arm", "thread_info_loongarch64", "thread_info_mips", "thread_info_ppc64", "thread_info_riscv64", "thread_info_s390",
    "thread_info_x86", "thread_sas_entry", "timens_entry", "timerfd_entry", "timespec", "timeval", "tty_data_entry", "tty_file_entry",
    "tty_info_entry", "tty_pty_entry", "tun_link_entry", "tunfile_entry", "uid_gid_extent", "unix_sk_entry",
    "user_aarch64_fpsimd_context_entry", "user_aarch64_regs_entry", "user_arm_regs_entry", "user_arm_vfpstate_entry", "user_desc_t",
    "user_loongarch64_fpregs_entry", "user_loongarch64_gpregs_entry", "user_mips_fpregs_entry", "user_mips_regs_entry",
    "user_ppc64_fpstate_entry", "user_ppc64_regs_entry", "user_ppc64_tm_regs_entry", "user_ppc64_vrstate_entry",
    "user_ppc64_vsxstate_entry", "user_riscv64_d_ext_entry", "user_riscv64_regs_entry", "user_s390_fpregs_entry",
    "user_s390_gs_cb_entry", "user_s390_regs_entry", "user_s390_ri_entry", "user_s390_vxrs_high_entry", "user_s390_vxrs_low_entry",
    "user_x86_cet_entry", "user_x86_fpregs_entry", "user_x86_regs_entry", "user_x86_regs_mode", "user_x86_xsave_entry",
    "userns_entry", "utsns_entry", "vma_entry", "winsize_entry",
]  # fmt: skip
