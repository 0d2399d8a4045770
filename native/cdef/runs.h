/* Sets of pages as two columns of addresses (core/dirty/runs.py): sorted, disjoint, no run beginning where another ends. */

enum { LM_RUNS_UNION = 0, LM_RUNS_INTERSECTION = 1, LM_RUNS_DIFFERENCE = 2 };

/* Combine two such sets in one pass. The result, which is such a set again, goes to `to_starts` and `to_ends`, each with room for
   a_count + b_count runs. Returns how many runs it has. */
int64_t lm_runs_combine(const uint64_t *a_starts, const uint64_t *a_ends, uint64_t a_count, const uint64_t *b_starts,
                        const uint64_t *b_ends, uint64_t b_count, int how, uint64_t *to_starts, uint64_t *to_ends);
