/* avx_threads DIR: eight threads hold known values in their vector, x87 and general registers while they wait.
 *
 * Each thread loads its registers once and then stays in one stretch of assembly that only sleeps (by a plain system call, which changes rax, rcx
 * and r11) until `release` is asked. Then it stores what it holds and compares.
 *
 *   release    → wrong registers per thread, and the widest vectors that were held
 *   state      → sleeps each thread has made so far */
#include <pthread.h>
#include <stddef.h>

#include "control.h"

#define THREADS 8
struct held {
    uint8_t vector[32][64];
    uint64_t general[6]; /* r12 r13 r14 r15 r10, and what k1 held */
    double st0;
    uint32_t mxcsr;
    uint16_t x87;
} __attribute__((aligned(64)));
struct task {
    struct held want, got;
    volatile uint64_t rounds, let_go;
    struct timespec nap;
    int wide;
    pthread_t thread;
};

static struct task tasks[THREADS];

#define EACH16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH32(X) EACH16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define WANT(n) "%c[want]+" #n "*64(%%rbx)"
#define GOT(n)  "%c[got]+" #n "*64(%%rbx)"
#define XIN(n)  "movups " WANT(n) ", %%xmm" #n ";"
#define XOUT(n) "movups %%xmm" #n ", " GOT(n) ";"
#define YIN(n)  "vmovups " WANT(n) ", %%ymm" #n ";"
#define YOUT(n) "vmovups %%ymm" #n ", " GOT(n) ";"
#define ZIN(n)  "vmovups " WANT(n) ", %%zmm" #n ";"
#define ZOUT(n) "vmovups %%zmm" #n ", " GOT(n) ";"
#define GIN(n, r)  "mov %c[want_general]+" #n "*8(%%rbx), %%" #r ";"
#define GOUT(n, r) "mov %%" #r ", %c[got_general]+" #n "*8(%%rbx);"

/* rbx = the task. The loop sleeps by a plain system call and leaves when `let_go` is set. */
#define HOLD(LOAD, STORE)                                                                                            \
    __asm__ volatile(                                                                                                \
        "fninit; fldcw %c[want_x87](%%rbx); fldl %c[want_st0](%%rbx); ldmxcsr %c[want_mxcsr](%%rbx);"                \
        GIN(0, r12) GIN(1, r13) GIN(2, r14) GIN(3, r15) GIN(4, r10) LOAD                                             \
        "1: mov $35, %%eax; lea %c[nap](%%rbx), %%rdi; xor %%esi, %%esi; syscall;"                                   \
        "incq %c[rounds](%%rbx); cmpq $0, %c[let_go](%%rbx); je 1b;"                                                 \
        GOUT(0, r12) GOUT(1, r13) GOUT(2, r14) GOUT(3, r15) GOUT(4, r10) STORE                                       \
        "fnstcw %c[got_x87](%%rbx); fstpl %c[got_st0](%%rbx); fninit; stmxcsr %c[got_mxcsr](%%rbx);"                 \
        :                                                                                                            \
        : "b"(t), [want_general] "i"(offsetof(struct task, want.general)), [got_general] "i"(offsetof(struct task, got.general)), [want_x87] "i"(offsetof(struct task, want.x87)), [got_x87] "i"(offsetof(struct task, got.x87)), [want_st0] "i"(offsetof(struct task, want.st0)), [got_st0] "i"(offsetof(struct task, got.st0)),           \
          [want_mxcsr] "i"(offsetof(struct task, want.mxcsr)), [got_mxcsr] "i"(offsetof(struct task, got.mxcsr)), [want] "i"(offsetof(struct task, want.vector)),                             \
          [got] "i"(offsetof(struct task, got.vector)), [nap] "i"(offsetof(struct task, nap)),                       \
          [rounds] "i"(offsetof(struct task, rounds)), [let_go] "i"(offsetof(struct task, let_go))                   \
        : "rax", "rcx", "rdi", "rsi", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc", EACH_XMM)
#define EACH_XMM                                                                                                     \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",       \
        "xmm13", "xmm14", "xmm15"

static void *hold(void *arg)
{
    struct task *t = arg;
    uint32_t usual;
    __asm__ volatile("stmxcsr %0" : "=m"(usual));
    if (t->wide == 64)
        HOLD(EACH32(ZIN) "kmovw %%r13d, %%k1;", "kmovw %%k1, %%eax; mov %%rax, %c[got_general]+40(%%rbx);" EACH32(ZOUT) "vzeroupper;");
    else if (t->wide == 32)
        HOLD(EACH16(YIN), EACH16(YOUT) "vzeroupper;");
    else
        HOLD(EACH16(XIN), EACH16(XOUT));
    __asm__ volatile("ldmxcsr %0" : : "m"(usual));
    return NULL;
}

static void prepare(struct task *t, uint64_t number, int wide)
{
    t->wide = wide;
    t->nap.tv_nsec = 2000000;
    for (int v = 0; v < 32; v++)
        for (int b = 0; b < 64; b++)
            t->want.vector[v][b] = mix(number << 16 | v << 8 | b);
    for (int g = 0; g < 5; g++)
        t->want.general[g] = mix(number << 32 | g);
    t->want.st0 = 1.0 / (number + 3);
    t->want.x87 = 0x037f ^ (number & 3) << 10;           /* rounding mode */
    t->want.mxcsr = 0x1f80 | (uint32_t)(number & 3) << 13; /* the same for SSE */
}

static int wrong(struct task *t)
{
    int bad = memcmp(t->want.general, t->got.general, 5 * 8) != 0;
    for (int v = 0; v < (t->wide == 64 ? 32 : 16); v++)
        bad += memcmp(t->want.vector[v], t->got.vector[v], t->wide) != 0;
    bad += t->wide == 64 && (t->got.general[5] & 0xffff) != (t->want.general[1] & 0xffff);
    /* The upper bits of mxcsr are flags that arithmetic may raise; there is none here. */
    return bad + (t->want.st0 != t->got.st0) + (t->want.x87 != t->got.x87) + (t->want.mxcsr != t->got.mxcsr);
}

static void reply(int with_wrong)
{
    char text[1024];
    int at = snprintf(text, sizeof text, "{\"wide\": %d, \"%s\": [", tasks[0].wide, with_wrong ? "wrong" : "rounds");
    for (int n = 0; n < THREADS; n++)
        at += snprintf(text + at, sizeof text - at, "%s%lu", n ? ", " : "", with_wrong ? (uint64_t)wrong(&tasks[n]) : tasks[n].rounds);
    control_reply("%s]}", text);
}

int main(int argc, char **argv)
{
    char line[256];
    int wide = __builtin_cpu_supports("avx512f") ? 64 : __builtin_cpu_supports("avx") ? 32 : 16;
    (void)argc;
    control_init(argv[1]);
    for (uint64_t n = 0; n < THREADS; n++) {
        prepare(&tasks[n], n, wide);
        pthread_create(&tasks[n].thread, NULL, hold, &tasks[n]);
    }
    for (;;) {
        if (control_question(line, sizeof line)) {
            if (!strcmp(line, "release")) {
                for (int n = 0; n < THREADS; n++)
                    tasks[n].let_go = 1;
                for (int n = 0; n < THREADS; n++)
                    pthread_join(tasks[n].thread, NULL);
                reply(1);
            } else
                reply(0);
        }
        control_rest(2000);
    }
}
