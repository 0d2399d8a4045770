/* What waits in the receive queue of a unix socket, read without consuming any of it. */

/* One message; of a stream what one writer wrote, or what came together with descriptors. */
typedef struct {
    uint64_t at;                    /* where its bytes lie in `bytes` */
    uint32_t length;
    int32_t pid;                    /* who sent it (SCM_CREDENTIALS); 0 if it does not say */
    uint32_t uid, gid;
    int32_t first_fd, fd_count;     /* the descriptors in flight with it (SCM_RIGHTS), in `fds` */
} lm_message;

typedef struct {
    lm_message *messages;
    int32_t *fds;                   /* descriptors of ours now, close-on-exec; the caller closes them */
    char *bytes;
    uint64_t message_count, fd_count, byte_count;
    uint64_t message_room, fd_room, byte_room;      /* bytes that are mapped for each */
} lm_queue;

/* Read `count` queues: of fds[n], copies of descriptors of frozen processes, into queues[n]. streams[n]: messages have no borders, and no
   out-of-band data waits; else no error waits to be reported, for any look would take that (net/core/datagram.c).
   It peeks at ascending offsets (SO_PEEK_OFF), and asks for the sender of each message (SO_PASSCRED). Both are state of the socket, so all is
   done by a process that a SIGKILL of lamina does not reach, and they are put back. What cannot be put back: an empty datagram that was peeked
   at counts as seen, and is passed over when somebody peeks at an offset again (net/core/datagram.c, skb->peeked).
   Returns -1 with nothing in any of `queues` if a call fails, or if descriptors do not fit into our table. */
int lm_queues_read(const int32_t *fds, const int32_t *streams, int count, lm_queue *queues, lm_error *err);
/* Unmap what `lm_queues_read` filled. The descriptors are not closed. */
void lm_queue_free(lm_queue *queue);
