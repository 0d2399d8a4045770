/* The standard (non-compacted) XSAVE layout of this machine, as CPUID leaf 0xD gives it: where each state component lies in what
   ptrace(PTRACE_GETREGSET, NT_X86_XSTATE) reads. It differs between processors, so images hold components, never offsets. */
typedef struct {
    uint64_t features;      /* XCR0: bit n = component n may be in use */
    uint32_t size;          /* bytes of the whole area, all components of `features` included */
    uint32_t offset[63];    /* of component n, from the start of the area; 0 for the legacy ones (0 and 1) and for absent ones */
    uint32_t bytes[63];     /* of component n; 0 as above */
} lm_xstate_layout;

/* Fails with ENOTSUP where there is no XSAVE. */
int lm_xstate_layout_read(lm_xstate_layout *layout, lm_error *err);
