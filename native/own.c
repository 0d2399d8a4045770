#include "own.h"

#include <linux/keyctl.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEEP_POLICY 0x08ULL

/* linux/sched/types.h, restated because glibc gives it only since 2.41 and the kernel's header clashes with it then. */
struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};

static int set_slice(struct attr attr, uint64_t slice)
{
    attr.flags |= KEEP_POLICY;
    attr.runtime = slice;
    return (int)syscall(SYS_sched_setattr, 0, &attr, 0);
}

int64_t lm_base_slice(lm_error *err)
{
    struct attr own, base;

    memset(&own, 0, sizeof own);
    if (syscall(SYS_sched_getattr, 0, &own, sizeof own, 0) < 0)
        return lm_fail(err, "sched_getattr", 0, "of this thread");
    /* No slice: an older kernel, or a real-time thread. */
    if (!own.runtime || own.priority)
        return 0;
    /* 0 takes a thread back to the kernel's own slice, which is the only way to learn it without debugfs. */
    if (set_slice(own, 0) < 0)
        return lm_fail(err, "sched_setattr", 0, "of this thread");
    base = own;
    if (syscall(SYS_sched_getattr, 0, &base, sizeof base, 0) < 0)
        return lm_fail(err, "sched_getattr", 0, "of this thread");
    if (base.runtime != own.runtime && set_slice(own, own.runtime) < 0)
        return lm_fail(err, "sched_setattr", 0, "of this thread");
    return (int64_t)base.runtime;
}

int lm_landlock_abi(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1U /* LANDLOCK_CREATE_RULESET_VERSION */);
}

int64_t lm_session_keyring(void)
{
    long serial = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);

    return serial > 0 ? serial : 0;
}
