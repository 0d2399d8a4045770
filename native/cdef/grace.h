/* A grace period: time for writes to land that go past the page tables (docs/tracking.md, "Pinned pages").

   O_DIRECT reads and process_vm_writev(2) pin pages, and write through the pin. A page that was pinned when it was write-protected is
   written later without a fault, so no scan reports it. Once every thread was seen outside such a call, pins from before are gone. */

typedef struct {
    int32_t threads;        /* seen */
    int32_t interrupted;    /* of these, stopped for a moment, one by one; the others slept in a call that pins nothing */
    int32_t late;           /* of these, not seen outside the call they are in */
    int32_t late_tid;       /* one of the late, and the call it was in when it was last looked at; 0 and -1 if there is none */
    int64_t late_call;
} lm_grace;

/* Wait until every thread of the running processes pids[count] was seen outside any call that can pin memory to write to it, at most
   `patience_ns`. A process that ends meanwhile has nothing pinned. Each interrupted thread goes on at once; late ones are never held: they do
   not even notice. Calls that stops would show as EINTR are begun anew, as in a freeze. */
int lm_grace_period(const int32_t *pids, int count, uint64_t patience_ns, lm_grace *grace, lm_error *err);
