/* Where a pattern stands in memory (core/inspect/search.py). */

/* Find `pattern` in hay[0…size): byte i fits if (hay ^ pattern[i]) & mask[i] is 0, so mask 255 is a byte, 0 any byte. `length` bytes, at least 1.
   A hit begins at `from` or later, does not overlap the hit before it, and its position plus `phase` is a multiple of `align` (at least 1).
   Stores at most `room` positions, ascending, and returns how many: if `room`, look again from behind the last. */
int64_t lm_search_find(const uint8_t *hay, uint64_t size, uint64_t from, const uint8_t *pattern, const uint8_t *mask, uint64_t length,
                       uint64_t align, uint64_t phase, uint64_t *found, uint64_t room);
