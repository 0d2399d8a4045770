/* Runs of pages to a page server: a frame each, and behind it the pages, from a process, a file or memory. Up to 512 frames with their
   pages go out in one call, so that scattered pages cost no more calls than long runs. */

/* Where the pages of a run are. INHERITED and FORGOTTEN have none. */
enum { LM_SEND_PROCESS = 0, LM_SEND_FILE = 1, LM_SEND_MEMORY = 2, LM_SEND_INHERITED = 3, LM_SEND_FORGOTTEN = 4 };

/* What the runs come from. `mem` is a descriptor of /proc/PID/mem or -1, `fd` a file, `base` memory; `buffer` is for what goes through us. */
typedef struct {
    int pid, mem, fd;
    const uint8_t *base;
    uint8_t *buffer;
    uint64_t size;      /* bytes of `buffer`, at least a page */
} lm_send_source;

/* Send `count` runs of the object `dst_id`, in their order: [starts, ends) with their pages at `offsets` of the file or memory (of a
   process: at `starts`). Frames have `form` bytes. Pages of a process that cannot be read go as zeros and are added to `lost`.
   Returns bytes of pages sent. EAGAIN: nothing could be sent for as long as the socket's SO_SNDTIMEO allows. */
int64_t lm_pagesend(int sock, int form, uint64_t dst_id, const uint64_t *starts, const uint64_t *ends, const uint64_t *offsets,
                    const uint8_t *kinds, uint64_t count, const lm_send_source *source, lm_array *lost, lm_error *err);
