#include "runs.h"

/* The edges of a set in order: its run i begins at edge 2i and ends at edge 2i + 1. */
struct edges {
    const uint64_t *starts, *ends;
    uint64_t count, next;
};

static uint64_t peek(const struct edges *edges)
{
    uint64_t run = edges->next / 2;

    if (run >= edges->count)
        return UINT64_MAX;
    return edges->next % 2 ? edges->ends[run] : edges->starts[run];
}

int64_t lm_runs_combine(const uint64_t *a_starts, const uint64_t *a_ends, uint64_t a_count, const uint64_t *b_starts,
                        const uint64_t *b_ends, uint64_t b_count, int how, uint64_t *to_starts, uint64_t *to_ends)
{
    struct edges a = { a_starts, a_ends, a_count, 0 }, b = { b_starts, b_ends, b_count, 0 };
    int64_t found = 0;
    int open = 0;

    while (a.next < 2 * a_count || b.next < 2 * b_count) {
        uint64_t at_a = peek(&a), at_b = peek(&b), at = at_a < at_b ? at_a : at_b;
        int in_a, in_b, keep;

        a.next += at_a == at && a.next < 2 * a_count;
        b.next += at_b == at && b.next < 2 * b_count;
        in_a = a.next % 2;
        in_b = b.next % 2;
        keep = how == LM_RUNS_UNION ? in_a | in_b : how == LM_RUNS_INTERSECTION ? in_a & in_b : in_a & !in_b;
        if (keep == open)
            continue;
        if (keep)
            to_starts[found] = at;
        else
            to_ends[found++] = at;
        open = keep;
    }
    return found;
}
