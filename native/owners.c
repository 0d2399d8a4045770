#include "owners.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* Where the reading of one layer's map stands. */
struct cursor {
    const lm_owner_map *map;
    uint64_t run;      /* the run that the sweep is in, or the next one */
    uint64_t offset;   /* where that run begins in the pages file, if it has data */
    bool inside;
};

/* The layers in a heap, the one whose map changes next on top. `at` is the address of that change. */
struct turn {
    uint64_t at;
    uint32_t layer;
};

struct sweep {
    struct cursor *cursors;
    struct turn *heap;
    uint64_t *stops;   /* bit n: layer n does not leave the pages at hand to its parent */
    uint64_t layers, waiting, page_size;
};

struct piece {
    uint64_t start, offset;
    uint32_t owner;
    int kind;          /* -1: no piece is open */
};

static void sift_down(struct turn *heap, uint64_t count)
{
    struct turn moved = heap[0];
    uint64_t hole = 0;

    for (;;) {
        uint64_t child = 2 * hole + 1;

        if (child >= count)
            break;
        if (child + 1 < count && heap[child + 1].at < heap[child].at)
            child++;
        if (heap[child].at >= moved.at)
            break;
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = moved;
}

static void sift_up(struct turn *heap, uint64_t hole)
{
    struct turn moved = heap[hole];

    while (hole && heap[(hole - 1) / 2].at > moved.at) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = moved;
}

static uint32_t flags_of(const struct cursor *cursor)
{
    return cursor->map->flags[cursor->run];
}

static uint64_t end_of(const struct cursor *cursor, uint64_t page_size)
{
    return cursor->map->vaddr[cursor->run] + cursor->map->pages[cursor->run] * page_size;
}

/* Go past the change at `at`; returns the address of the next one, UINT64_MAX if there is none. */
static uint64_t step(struct sweep *sweep, uint32_t layer, uint64_t at)
{
    struct cursor *cursor = &sweep->cursors[layer];
    uint64_t bit = (uint64_t)1 << layer % 64;

    if (cursor->inside) {
        if (flags_of(cursor) & LM_PE_PRESENT)
            cursor->offset += cursor->map->pages[cursor->run] * sweep->page_size;
        cursor->run++;
    }
    cursor->inside = cursor->run < cursor->map->count && cursor->map->vaddr[cursor->run] == at;
    if (cursor->inside && flags_of(cursor) & LM_PE_PARENT)
        sweep->stops[layer / 64] &= ~bit;
    else
        sweep->stops[layer / 64] |= bit;
    if (cursor->run == cursor->map->count)
        return UINT64_MAX;
    return cursor->inside ? end_of(cursor, sweep->page_size) : cursor->map->vaddr[cursor->run];
}

/* What the pages from `at` on are, until the next change. */
static struct piece piece_at(const struct sweep *sweep, uint64_t at)
{
    struct piece piece = { at, 0, 0, LM_OWNED_MISSING };
    const struct cursor *cursor;
    uint64_t word = 0;

    while (!sweep->stops[word]) /* the bit behind the last layer is always set */
        word++;
    piece.owner = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(sweep->stops[word]);
    if (piece.owner == sweep->layers)
        return piece;
    cursor = &sweep->cursors[piece.owner];
    if (!cursor->inside) {
        if (piece.owner == 0) /* not a page of this layer */
            piece.kind = -1;
    } else if (flags_of(cursor) & LM_PE_PRESENT) {
        piece.kind = LM_OWNED_DATA;
        piece.offset = cursor->offset + (at - cursor->map->vaddr[cursor->run]);
    } else {
        piece.kind = LM_OWNED_NOWHERE;
    }
    return piece;
}

static int begin(struct sweep *sweep, const lm_owner_map *maps, uint64_t layers, uint64_t page_size, lm_error *err)
{
    uint64_t words = layers / 64 + 1;

    sweep->layers = layers;
    sweep->page_size = page_size;
    sweep->cursors = calloc(layers, sizeof(*sweep->cursors));
    sweep->heap = calloc(layers, sizeof(*sweep->heap));
    sweep->stops = calloc(words, sizeof(*sweep->stops));
    if (!sweep->cursors || !sweep->heap || !sweep->stops) {
        errno = ENOMEM;
        return lm_fail(err, "malloc", 0, "%s", "");
    }
    for (uint64_t i = 0; i <= layers; i++)
        sweep->stops[i / 64] |= (uint64_t)1 << i % 64;
    for (uint64_t i = 0; i < layers; i++) {
        sweep->cursors[i].map = &maps[i];
        if (!maps[i].count)
            continue;
        sweep->heap[sweep->waiting] = (struct turn){ maps[i].vaddr[0], (uint32_t)i };
        sift_up(sweep->heap, sweep->waiting++);
    }
    return 0;
}

int64_t lm_owners_resolve(const lm_owner_map *maps, uint64_t layers, uint64_t page_size, uint64_t room, uint64_t *starts, uint64_t *ends,
                          uint64_t *offsets, uint16_t *owners, uint8_t *kinds, lm_error *err)
{
    struct piece open = { 0, 0, 0, -1 };
    struct sweep sweep = { 0 };
    int64_t result = -1;
    uint64_t found = 0;

    if (!layers || layers > LM_OWNERS_MAX)
        return lm_refuse(err, "owners", (int64_t)layers, "a chain has 1 to %d layers", LM_OWNERS_MAX);
    if (begin(&sweep, maps, layers, page_size, err))
        goto out;
    while (sweep.waiting) {
        uint64_t at = sweep.heap[0].at;
        bool shown = false; /* something changed at or above the layer that stops: what lies behind it is not seen */
        struct piece next;

        while (sweep.waiting && sweep.heap[0].at == at) {
            uint32_t layer = sweep.heap[0].layer;

            shown |= open.kind < 0 || layer <= open.owner;
            sweep.heap[0].at = step(&sweep, layer, at);
            if (sweep.heap[0].at == UINT64_MAX)
                sweep.heap[0] = sweep.heap[--sweep.waiting];
            sift_down(sweep.heap, sweep.waiting);
        }
        if (!shown)
            continue;
        next = piece_at(&sweep, at);
        if (next.kind == open.kind && next.owner == open.owner)
            continue;
        if (open.kind >= 0) {
            if (found == room) {
                lm_refuse(err, "owners", (int64_t)room, "there are more pieces than there is room for");
                goto out;
            }
            starts[found] = open.start;
            ends[found] = at;
            offsets[found] = open.offset;
            owners[found] = (uint16_t)open.owner;
            kinds[found++] = (uint8_t)open.kind;
        }
        open = next;
    }
    result = (int64_t)found;
out:
    free(sweep.cursors);
    free(sweep.heap);
    free(sweep.stops);
    return result;
}

/* The address at which side `pieces` changes next, being at piece `at`; `inside` tells whether in it or before it. */
static uint64_t next_change(const lm_owner_pieces *pieces, uint64_t at, bool inside)
{
    if (at == pieces->count)
        return UINT64_MAX;
    return inside ? pieces->ends[at] : pieces->starts[at];
}

static void pass(const lm_owner_pieces *pieces, uint64_t *at, bool *inside, uint64_t here)
{
    if (next_change(pieces, *at, *inside) != here)
        return;
    if (*inside)
        ++*at;
    *inside = *at < pieces->count && pieces->starts[*at] == here;
}

int64_t lm_owners_compare(const lm_owner_pieces *a, const lm_owner_pieces *b, uint64_t room, uint64_t *starts, uint64_t *ends,
                          uint8_t *kinds, uint32_t *at_a, uint32_t *at_b, lm_error *err)
{
    uint64_t i = 0, j = 0, found = 0, here, open_start = 0, open_i = 0, open_j = 0;
    bool in_a = false, in_b = false;
    int open = -1;

    if (a->count > UINT32_MAX || b->count > UINT32_MAX)
        return lm_refuse(err, "owners", 0, "an address space has more than 2^32 pieces");
    for (;;) {
        uint64_t next_a = next_change(a, i, in_a), next_b = next_change(b, j, in_b);
        int kind = -1;

        here = next_a < next_b ? next_a : next_b;
        if (here == UINT64_MAX)
            break;
        pass(a, &i, &in_a, here);
        pass(b, &j, &in_b, here);
        if (in_a && in_b)
            kind = a->owners[i] == b->owners[j] && a->offsets[i] + (here - a->starts[i]) == b->offsets[j] + (here - b->starts[j])
                ? LM_PIECE_SAME : LM_PIECE_OTHER;
        else if (in_a || in_b)
            kind = in_a ? LM_PIECE_GONE : LM_PIECE_ADDED;
        if (kind == open && (kind != LM_PIECE_OTHER || (i == open_i && j == open_j)))
            continue;
        if (open >= 0) {
            if (found == room)
                return lm_refuse(err, "owners", (int64_t)room, "there are more pieces than there is room for");
            starts[found] = open_start;
            ends[found] = here;
            kinds[found] = (uint8_t)open;
            at_a[found] = (uint32_t)open_i;
            at_b[found++] = (uint32_t)open_j;
        }
        open = kind;
        open_start = here;
        open_i = i;
        open_j = j;
    }
    return (int64_t)found;
}
