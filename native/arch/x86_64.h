/* What x86-64 alone knows: the batch as machine code and its control block. Data only. */
#ifndef LAMINA_ARCH_X86_64_H
#define LAMINA_ARCH_X86_64_H
#include <stddef.h>
#include <stdint.h>

#define LM_ARCH_REGS_BYTES 216 /* sizeof(struct user_regs_struct) */
/* Segments of user mode (arch/x86/include/asm/segment.h), and the flag that traps after every instruction. */
#define LM_CS_64 0x33
#define LM_CS_32 0x23
#define LM_SS 0x2b
#define LM_EFLAGS_TF 0x100u

/* The head of a slice; the code follows it. Offsets are written out in x86_64.c. */
struct lm_batch_control {
    uint64_t done;              /* 0: set to 1 by the code after the last call */
    uint64_t count;             /* 8 */
    uint64_t records;           /* 16: address of the first lm_call */
    uint64_t tgid, tid, signal; /* 24, 32, 40; signal 0: wait for the tracer instead */
    uint64_t mask;              /* 48: put back by the code when nobody watches */
    uint64_t rip;               /* 56: and where the thread goes then */
    uint64_t direction;         /* 64: 1 if DF was set */
    uint64_t overflow;          /* 72: 1 if OF was set */
    uint64_t low_flags;         /* 80: CF PF AF ZF SF, as in eflags */
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15; /* 88 … 200 */
    uint64_t lease[2];          /* 208: seconds and µs that it waits for the tracer */
    uint64_t unused[4];
};
_Static_assert(sizeof(struct lm_batch_control) == 256, "the code begins at 256");
_Static_assert(offsetof(struct lm_batch_control, lease) == 208, "x86_64.c counts on it");

#define LM_BATCH_OVERHEAD 768
extern const uint8_t lm_batch_blob[] __attribute__((visibility("hidden")));
extern const uint8_t lm_batch_blob_end[] __attribute__((visibility("hidden")));
#endif
