/* How every C function reports a failure: it returns -1 and fills the caller's lm_error; 0 or a count means success.
   lamina.core.ffi.check() turns it into one NativeError. */
typedef struct {
    int32_t errnum;     /* errno, or 0 where the failure is not a system call's */
    int64_t object;     /* what it concerns: a tid, a descriptor, an address; 0 if nothing */
    char where[40];     /* the call that failed, as in "ptrace(SEIZE)" */
    char detail[200];   /* one sentence for people, or "" */
} lm_error;
