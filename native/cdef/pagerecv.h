/* Frames of a page server, received: the pages of each object go to its file as they come, and it is remembered which lies where.

   Nothing that arrives is trusted. Runs must be whole pages within 2^63 bytes, in ascending order, and what is inherited must be in the
   parent. Memory is bounded by LM_RECEIVE_RUNS, time by the limits given to `lm_receiver_new`, disk by the file system; a run that is longer
   than the file system has room is refused before its first page. */

enum {
    LM_RECEIVE_RUNS = 1 << 24,   /* runs of all objects together: 32 bytes each */
    LM_RECEIVE_ROUNDS = 64,      /* how often one object may begin again at a lower address */
    LM_RECEIVE_STEP = 16 << 20   /* bytes of pages between two looks at progress */
};
/* What lm_receiver_next came to. */
enum { LM_RECEIVED_END = 0, LM_RECEIVED_FRAME = 1, LM_RECEIVED_STEP = 2 };

typedef struct lm_receiver lm_receiver;

/* `sock` stays the caller's. `patience_ms`: within it at least 64 KiB of a frame that has begun must come. NULL if there is no memory. */
lm_receiver *lm_receiver_new(int sock, int64_t patience_ms);
void lm_receiver_free(lm_receiver *receiver);
/* From now on pages may come in any order and again: the last copy counts. Else addresses of an object ascend. */
void lm_receiver_any_order(lm_receiver *receiver);
/* 24 or 32; 0 before the first frame. */
int lm_receiver_form(const lm_receiver *receiver);
/* Bytes of pages so far. */
uint64_t lm_receiver_bytes(const lm_receiver *receiver);
/* The pages of `dst_id` go to the empty file `fd`. Its parent has the `count` runs [starts, ends): sorted, disjoint, merged, kept by the
   caller for as long as the receiver lives. Refuses an object that there is already. */
int lm_receiver_object(lm_receiver *receiver, uint64_t dst_id, int fd, const uint64_t *starts, const uint64_t *ends, uint64_t count,
                       lm_error *err);
/* Go on until a frame comes that carries no run (-> FRAME, in *frame), LM_RECEIVE_STEP bytes came (-> STEP), or the connection ends between
   two frames (-> END). Fails as recv(2) does (EAGAIN: silence), with `where` "frame" for what may not be sent, "pwrite" for the disk. */
int lm_receiver_next(lm_receiver *receiver, lm_frame *frame, lm_error *err);

/* What an object has, once everything came: runs with pages, their flags and their places in the file; inherited ones; forgotten ones. */
enum { LM_RUNS_PRESENT = 0, LM_RUNS_INHERITED = 1, LM_RUNS_FORGOTTEN = 2 };
int64_t lm_receiver_count(lm_receiver *receiver, uint64_t dst_id, int which, lm_error *err);
/* Into columns with room for lm_receiver_count. */
int lm_receiver_runs(lm_receiver *receiver, uint64_t dst_id, int which, uint64_t *starts, uint64_t *ends, uint64_t *offsets, uint32_t *flags,
                     lm_error *err);

/* Write `count` stretches of the file `from`, one behind the other, to the empty file `to`. What was copied is given back to the file system
   of `from`, at the latest when it is a sixteenth of all or 16 MiB: both together never take much more than one. Returns bytes. */
int64_t lm_receiver_rewrite(int from, int to, const uint64_t *offsets, const uint64_t *lengths, uint64_t count, lm_error *err);
