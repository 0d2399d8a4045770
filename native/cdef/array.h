/* A growing array of regions, kept in memory that is touched before it is needed: it is filled inside a freeze, where a page fault costs
   more than the scan. (Named so that its declaration comes before those that use it: build.py reads them in order of their names.) */
typedef struct {
    uint64_t start, end;    /* bytes, end exclusive */
    uint64_t categories;    /* LM_PAGE_* */
} lm_region;

typedef struct {
    lm_region *regions;
    uint64_t count;         /* regions in use */
    uint64_t room;          /* regions there is memory for */
} lm_array;

/* Make room for at least `room` regions in all and touch the memory. Never shrinks. */
int lm_array_reserve(lm_array *array, uint64_t room, lm_error *err);
/* Append one region, grown into the last one if it continues it with the same categories. */
int lm_array_add(lm_array *array, uint64_t start, uint64_t end, uint64_t categories, lm_error *err);
/* Give the memory back. The array may be used again. */
void lm_array_free(lm_array *array);
