#include "trial.h"

#include <errno.h>
#include <linux/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int lm_try_map(int fd, uint64_t size, int prot, int final_prot, int flags, uint64_t offset, const int *advice, int advised, lm_error *err)
{
    void *place = mmap(NULL, size, prot, flags, fd, (off_t)offset);
    int failed = 0;

    if (place == MAP_FAILED)
        return lm_fail(err, "mmap", 0, "it cannot be mapped");
    for (int at = 0; at < advised && !failed; at++)
        if (madvise(place, size, advice[at]) < 0)
            failed = lm_fail(err, "madvise", advice[at], "it cannot be advised (%d)", advice[at]);
    if (!failed && final_prot != prot && mprotect(place, size, final_prot) < 0)
        failed = lm_fail(err, "mprotect", -1, "it cannot be protected");
    munmap(place, size);
    return failed;
}

int lm_try_mm(const uint64_t addresses[11], int auxv_words, lm_error *err)
{
    struct prctl_mm_map map = {
        .start_code = addresses[0], .end_code = addresses[1], .start_data = addresses[2], .end_data = addresses[3],
        .start_brk = addresses[4], .brk = addresses[5], .start_stack = addresses[6], .arg_start = addresses[7],
        .arg_end = addresses[8], .env_start = addresses[9], .env_end = addresses[10],
        .auxv = (void *)-4096L, .auxv_size = 8 * (uint32_t)(auxv_words > 0 ? auxv_words : 2), .exe_fd = (uint32_t)-1,
    };

    if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) < 0 && errno == EFAULT)
        return 0;
    return lm_fail(err, "prctl", 0, "the memory descriptor cannot be set");
}

int lm_try_timer(int clock, lm_error *err)
{
    struct sigevent nobody = {.sigev_notify = SIGEV_NONE};
    int timer;

    if (syscall(SYS_timer_create, clock, &nobody, &timer) < 0)
        return lm_fail(err, "timer_create", clock, "no timer can be made by clock %d", clock);
    syscall(SYS_timer_delete, timer);
    return 0;
}
