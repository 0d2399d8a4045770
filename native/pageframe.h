#ifndef LAMINA_PAGEFRAME_H
#define LAMINA_PAGEFRAME_H
/* One frame of CRIU's page server as bytes, in both forms (docs/page-server.md). Host order, which is little-endian on x86-64 and arm64. */
#include <stdint.h>
#include <string.h>

#include "error.h"

#include "cdef/pageframe.h"

/* Returns how many bytes it takes. The 24-byte form holds at most 2^32-1 pages. */
static inline uint32_t lm_frame_put(uint8_t *to, int form, const lm_frame *frame)
{
    uint32_t pages = (uint32_t)frame->pages, none = 0;

    memcpy(to, &frame->cmd, 4);
    if (form == LM_FRAME_24) {
        memcpy(to + 4, &pages, 4);
        memcpy(to + 8, &frame->vaddr, 8);
        memcpy(to + 16, &frame->dst_id, 8);
        return 24;
    }
    memcpy(to + 4, &none, 4);
    memcpy(to + 8, &frame->pages, 8);
    memcpy(to + 16, &frame->vaddr, 8);
    memcpy(to + 24, &frame->dst_id, 8);
    return 32;
}

static inline void lm_frame_get(const uint8_t *from, int form, lm_frame *frame)
{
    uint32_t pages;

    memcpy(&frame->cmd, from, 4);
    if (form == LM_FRAME_24) {
        memcpy(&pages, from + 4, 4);
        frame->pages = pages;
        memcpy(&frame->vaddr, from + 8, 8);
        memcpy(&frame->dst_id, from + 16, 8);
    } else {
        memcpy(&frame->pages, from + 8, 8);
        memcpy(&frame->vaddr, from + 16, 8);
        memcpy(&frame->dst_id, from + 24, 8);
    }
}
#endif
