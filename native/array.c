#include "array.h"

#include <stddef.h>
#include <sys/mman.h>

int lm_array_reserve(lm_array *array, uint64_t room, lm_error *err)
{
    const uint64_t page = 4096;
    uint64_t old_bytes = (array->room * sizeof(lm_region) + page - 1) & ~(page - 1);
    uint64_t bytes;
    void *memory;

    if (room <= array->room)
        return 0;
    if (room > UINT64_MAX / 2 / sizeof(lm_region))
        return lm_refuse(err, "reserve", (int64_t)room, "too many regions");
    bytes = (room * sizeof(lm_region) + page - 1) & ~(page - 1);
    if (array->regions)
        memory = mremap(array->regions, old_bytes, bytes, MREMAP_MAYMOVE);
    else
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return lm_fail(err, "mmap", (int64_t)bytes, "no memory for the list of page regions");
    for (uint64_t at = old_bytes; at < bytes; at += page)
        ((volatile char *)memory)[at] = 0;
    array->regions = memory;
    array->room = bytes / sizeof(lm_region);
    return 0;
}

int lm_array_add(lm_array *array, uint64_t start, uint64_t end, uint64_t categories, lm_error *err)
{
    if (array->count) {
        lm_region *last = &array->regions[array->count - 1];

        if (last->end == start && last->categories == categories) {
            last->end = end;
            return 0;
        }
    }
    if (array->count == array->room && lm_array_reserve(array, array->room ? array->room * 2 : 512, err) < 0)
        return -1;
    array->regions[array->count++] = (lm_region){ start, end, categories };
    return 0;
}

void lm_array_free(lm_array *array)
{
    if (array->regions)
        munmap(array->regions, (array->room * sizeof(lm_region) + 4095) & ~4095UL);
    *array = (lm_array){ 0 };
}
