/* Two bytes of the pattern, rare ones in the memory of programs, are compared at all positions of a vector at once; only where both fit
   is the whole pattern compared. */
#include "search.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

struct wanted {
    const uint8_t *pattern, *mask;
    uint64_t length, align, phase;
    uint64_t first, second;     /* the two bytes: first <= second */
};

struct hits {
    uint64_t *found;
    uint64_t count, room, next;    /* next: where the next hit may begin */
};

/* How common a byte is in memory: zero and the bytes of small numbers and pointers most, then text. */
static int commonness(uint8_t byte)
{
    if (byte == 0)
        return 6;
    if (byte == 0xff || byte == 0x7f || byte == 0x01)
        return 5;
    if (byte == ' ' || byte == 'e' || byte == 't' || byte == 'a' || byte == 'o' || byte == 'i' || byte == 'n' || byte == 's' || byte == 'r')
        return 4;
    if ((byte >= 'a' && byte <= 'z') || byte < 0x10)
        return 3;
    if (byte >= 0x20 && byte < 0x7f)
        return 2;
    return 1;
}

/* Choose the two bytes; 0 if the pattern has no byte without wildcards. */
static int choose(struct wanted *w)
{
    int best = 99, next = 99, any = 0;

    for (uint64_t i = 0; i < w->length; i++) {
        int rate = commonness(w->pattern[i]);

        if (w->mask[i] != 0xff)
            continue;
        if (!any++)
            w->first = w->second = i;
        if (rate < best) {
            if (best < next) {
                next = best;
                w->second = w->first;
            }
            best = rate;
            w->first = i;
        } else if (rate < next || w->second == w->first) {
            next = rate;
            w->second = i;
        }
    }
    if (w->first > w->second) {
        uint64_t swap = w->first;
        w->first = w->second;
        w->second = swap;
    }
    return any;
}

/* Take the hit at `at` if it is one. Returns 1 when there is no room for another. */
static int take(const uint8_t *hay, const struct wanted *w, struct hits *hits, uint64_t at)
{
    if (at < hits->next || (w->align > 1 && (at + w->phase) % w->align))
        return 0;
    for (uint64_t i = 0; i < w->length; i++)
        if ((hay[at + i] ^ w->pattern[i]) & w->mask[i])
            return 0;
    hits->found[hits->count++] = at;
    hits->next = at + w->length;
    return hits->count == hits->room;
}

#if defined(__x86_64__)
__attribute__((target("avx2")))
static uint64_t find_avx2(const uint8_t *hay, uint64_t at, uint64_t end, const struct wanted *w, struct hits *hits)
{
    const __m256i a = _mm256_set1_epi8((char)w->pattern[w->first]), b = _mm256_set1_epi8((char)w->pattern[w->second]);

    for (; at + 32 <= end; at += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(hay + at + w->first));
        __m256i y = _mm256_loadu_si256((const __m256i *)(hay + at + w->second));
        uint32_t both = (uint32_t)_mm256_movemask_epi8(_mm256_and_si256(_mm256_cmpeq_epi8(x, a), _mm256_cmpeq_epi8(y, b)));

        for (; both; both &= both - 1)
            if (take(hay, w, hits, at + (uint64_t)__builtin_ctz(both)))
                return end;
    }
    return at;
}

static uint64_t find_sse2(const uint8_t *hay, uint64_t at, uint64_t end, const struct wanted *w, struct hits *hits)
{
    const __m128i a = _mm_set1_epi8((char)w->pattern[w->first]), b = _mm_set1_epi8((char)w->pattern[w->second]);

    for (; at + 16 <= end; at += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(hay + at + w->first));
        __m128i y = _mm_loadu_si128((const __m128i *)(hay + at + w->second));
        uint32_t both = (uint32_t)_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(x, a), _mm_cmpeq_epi8(y, b)));

        for (; both; both &= both - 1)
            if (take(hay, w, hits, at + (uint64_t)__builtin_ctz(both)))
                return end;
    }
    return at;
}
#endif

int64_t lm_search_find(const uint8_t *hay, uint64_t size, uint64_t from, const uint8_t *pattern, const uint8_t *mask, uint64_t length,
                       uint64_t align, uint64_t phase, uint64_t *found, uint64_t room)
{
    struct wanted w = { pattern, mask, length, align, phase, 0, 0 };
    struct hits hits = { found, 0, room, from };
    uint64_t at = from, end;

    if (!length || !align || !room || size < length)
        return 0;
    end = size - length + 1;    /* positions where the pattern can begin */
    if (choose(&w)) {
#if defined(__x86_64__)
        at = __builtin_cpu_supports("avx2") ? find_avx2(hay, at, end, &w, &hits) : find_sse2(hay, at, end, &w, &hits);
#endif
        while (at < end && hits.count < room) {
            const uint8_t *next = memchr(hay + at + w.first, w.pattern[w.first], end - at);

            if (!next)
                break;
            at = (uint64_t)(next - hay) - w.first;
            if (take(hay, &w, &hits, at++))
                break;
        }
    } else {
        for (; at < end; at++)
            if (take(hay, &w, &hits, at))
                break;
    }
    return (int64_t)hits.count;
}
