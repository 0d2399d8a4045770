#include "cpu.h"

#include <errno.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { LEAF_FEATURES = 1, LEAF_XSTATE = 0xd, BIT_OSXSAVE = 1 << 27, LEGACY_AND_HEADER = 512 + 64 };

static uint64_t read_xcr0(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

int lm_xstate_layout_read(lm_xstate_layout *layout, lm_error *err)
{
    uint32_t eax, ebx, ecx, edx;

    memset(layout, 0, sizeof *layout);
    if (!__get_cpuid(LEAF_FEATURES, &eax, &ebx, &ecx, &edx) || !(ecx & BIT_OSXSAVE)) {
        errno = ENOTSUP;
        return lm_fail(err, "cpuid(1)", 0, "this processor or kernel has no XSAVE");
    }
    layout->features = read_xcr0();
    layout->size = LEGACY_AND_HEADER;
    /* Not the size of subleaf 0: it says what is enabled for this thread, and the kernel's regset is that of all of XCR0. */
    for (uint32_t component = 2; component < 63; component++) {
        if (!(layout->features >> component & 1) || !__get_cpuid_count(LEAF_XSTATE, component, &eax, &ebx, &ecx, &edx) || !eax)
            continue;
        layout->offset[component] = ebx;
        layout->bytes[component] = eax;
        if (ebx + eax > layout->size)
            layout->size = ebx + eax;
    }
    return 0;
}
#else
int lm_xstate_layout_read(lm_xstate_layout *layout, lm_error *err)
{
    memset(layout, 0, sizeof *layout);
    errno = ENOTSUP;
    return lm_fail(err, "cpuid", 0, "not an x86-64 machine");
}
#endif
