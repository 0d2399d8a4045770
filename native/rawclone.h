#ifndef LAMINA_RAWCLONE_H
#define LAMINA_RAWCLONE_H
/* A child in our memory and with our thread pointer, while our threads go on. It may call nothing of libc (errno is ours) and write nothing but
   what is its own: hence raw system calls. Block all signals around it, or our handlers run in it. */
#include <linux/sched.h>
#include <sys/syscall.h>

#if !defined(__x86_64__)
#error "lamina rebuilds processes on x86-64 only"
#endif

static inline long lm_raw(long nr, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}

/* clone3 whose child runs `entry(own)` on the stack in `args` and never comes back here. */
static inline long lm_clone_into(struct clone_args *args, void (*entry)(void *), void *own)
{
    register void (*r8)(void *) __asm__("r8") = entry;
    register void *r9 __asm__("r9") = own;
    long result;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r9, %%rdi\n\t"
                     "call *%%r8\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#endif
