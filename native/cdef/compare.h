/* Which pages are equal, at the speed of memory. */

/* equal[n] = whether page n of `a` and of `b` hold the same bytes. Returns how many do. */
int64_t lm_compare_pages(const uint8_t *a, const uint8_t *b, uint64_t pages, uint64_t page_size, uint8_t *equal);
/* The same for `count` stretches of two open files: sizes[n] bytes, whole pages, at a_offsets[n] of `a` and b_offsets[n] of `b`. `equal` has
   one entry for each page, in the order of the stretches; `buffer` is warm memory of `room` bytes, at least two pages.
   Fails if a file cannot be read, or ends before a stretch does: err->object is the descriptor. */
int64_t lm_compare_files(int a, const uint64_t *a_offsets, int b, const uint64_t *b_offsets, const uint64_t *sizes, uint64_t count,
                         uint64_t page_size, uint8_t *buffer, uint64_t room, uint8_t *equal, lm_error *err);
