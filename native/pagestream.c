#include "pagestream.h"

#include <string.h>

/* Field numbers of pagemap_entry. All are varints, so a tag is number << 3, one byte. */
enum { VADDR = 1, COMPAT_NR_PAGES = 2, IN_PARENT = 3, FLAGS = 4, NR_PAGES = 5, FIELDS = 6 };
/* Those that CRIU after 4.2 added say how its compressed pages lie in the pages file; tags of any wire type. */
enum { FIRST_OF_COMPRESSION = 6, LAST_OF_COMPRESSION = 8 };

static uint32_t read_length(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int refuse(lm_error *err, uint64_t offset, const char *why)
{
    return lm_refuse(err, "pagemap entry", (int64_t)offset, "%s", why);
}

/* The bytes of the record at `offset`, or NULL (with *err) if it does not fit into `size`. */
static const uint8_t *record_at(const uint8_t *data, uint64_t size, uint64_t offset, uint32_t *length, lm_error *err)
{
    if (size - offset < 4) {
        refuse(err, offset, "the file ends inside a record length");
        return NULL;
    }
    *length = read_length(data + offset);
    if (*length > size - offset - 4) {
        refuse(err, offset, "the record is longer than what is left of the file");
        return NULL;
    }
    return data + offset + 4;
}

/* Returns the byte behind the varint, or NULL if it does not end before `end` or exceeds 64 bits. */
static const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;

    for (unsigned shift = 0; at < end && shift < 64; shift += 7) {
        uint8_t byte = *at++;

        if (shift == 63 && byte > 1)
            return NULL;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = result;
            return at;
        }
    }
    return NULL;
}

static uint8_t *write_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *write_field(uint8_t *at, unsigned number, uint64_t value)
{
    *at++ = (uint8_t)(number << 3);
    return write_varint(at, value);
}

int64_t lm_pagestream_count(const uint8_t *data, uint64_t size, lm_error *err)
{
    int64_t count = 0;

    for (uint64_t offset = 0; offset < size; count++) {
        uint32_t length;

        if (!record_at(data, size, offset, &length, err))
            return -1;
        offset += 4 + (uint64_t)length;
    }
    return count;
}

/* One payload into value[FIELDS]; bit n of the result is set if field n is there. -1 with *err if it is not a pagemap_entry. */
static int read_fields(const uint8_t *at, const uint8_t *end, uint64_t offset, uint64_t value[FIELDS], lm_error *err)
{
    int seen = 0;

    while (at < end) {
        unsigned tag = *at++, number = tag >> 3;

        if (number >= FIRST_OF_COMPRESSION && number <= LAST_OF_COMPRESSION)
            return refuse(err, offset, "it uses page compression, which CRIU has had since 4.3 and this version cannot read");
        if ((tag & 0x87) != 0 || number < VADDR || number > NR_PAGES)
            return refuse(err, offset, "it has a field this version does not know; it may come from a newer CRIU");
        at = read_varint(at, end, &value[number]);
        if (!at)
            return refuse(err, offset, "a number does not end inside the record");
        if (number != VADDR && number != NR_PAGES && value[number] > UINT32_MAX)
            return refuse(err, offset, "a 32-bit field holds a larger number");
        seen |= 1 << number;
    }
    return seen;
}

static int64_t flags_of(int seen, const uint64_t value[FIELDS])
{
    uint32_t flags = seen & 1 << FLAGS ? (uint32_t)value[FLAGS] : 0;

    if (seen & 1 << IN_PARENT && value[IN_PARENT])
        flags |= LM_PE_PARENT;
    else if (!(seen & 1 << FLAGS))
        flags = LM_PE_PRESENT;
    if (flags & ~(uint32_t)(LM_PE_PARENT | LM_PE_LAZY | LM_PE_PRESENT))
        return -1;
    if (flags & LM_PE_PARENT)
        flags &= ~(uint32_t)LM_PE_PRESENT;
    return flags;
}

int64_t lm_pagestream_decode(const uint8_t *data, uint64_t size, uint64_t page_size, uint64_t room, uint64_t *vaddr, uint64_t *pages,
                             uint32_t *flags, lm_error *err)
{
    uint64_t offset = 0, count = 0, reached = 0;

    while (offset < size) {
        uint64_t value[FIELDS] = {0};
        uint64_t nr;
        uint32_t length;
        int64_t flag;
        const uint8_t *payload = record_at(data, size, offset, &length, err);
        int seen;

        if (!payload)
            return -1;
        if (count == room)
            return refuse(err, offset, "there are more records than were counted");
        seen = read_fields(payload, payload + length, offset, value, err);
        if (seen < 0)
            return -1;
        nr = seen & 1 << NR_PAGES ? value[NR_PAGES] : value[COMPAT_NR_PAGES];
        flag = flags_of(seen, value);
        if (!(seen & 1 << VADDR) || !nr)
            return refuse(err, offset, "it has no address or no pages");
        if (flag < 0)
            return refuse(err, offset, "it has a flag this version does not know; it may come from a newer CRIU");
        if (value[VADDR] % page_size)
            return refuse(err, offset, "its address is not page aligned");
        if (value[VADDR] < reached)
            return refuse(err, offset, "it begins before the end of the one before it");
        if (value[VADDR] > INT64_MAX || nr > (INT64_MAX - value[VADDR]) / page_size)
            return refuse(err, offset, "it ends beyond the address space");
        vaddr[count] = value[VADDR];
        pages[count] = nr;
        flags[count++] = (uint32_t)flag;
        reached = value[VADDR] + nr * page_size;
        offset += 4 + (uint64_t)length;
    }
    return (int64_t)count;
}

int64_t lm_pagestream_encode(const uint64_t *vaddr, const uint64_t *pages, const uint32_t *flags, uint64_t count, uint8_t *out,
                             uint64_t room, lm_error *err)
{
    uint8_t *at = out;

    for (uint64_t i = 0; i < count; i++) {
        uint8_t *payload = at + 4;
        uint32_t length;

        if (room - (uint64_t)(at - out) < LM_PAGESTREAM_MAX_RECORD)
            return lm_refuse(err, "pagemap entry", (int64_t)i, "the buffer is too small");
        /* Older readers see only 32 bits of the count. */
        if (!pages[i] || pages[i] > UINT32_MAX)
            return lm_refuse(err, "pagemap entry", (int64_t)i, "a run of %llu pages cannot be written", (unsigned long long)pages[i]);
        at = write_field(payload, VADDR, vaddr[i]);
        at = write_field(at, COMPAT_NR_PAGES, pages[i]);
        if (flags[i] & LM_PE_PARENT)
            at = write_field(at, IN_PARENT, 1);
        at = write_field(at, FLAGS, flags[i]);
        at = write_field(at, NR_PAGES, pages[i]);
        length = (uint32_t)(at - payload);
        for (int byte = 0; byte < 4; byte++)
            payload[byte - 4] = (uint8_t)(length >> 8 * byte);
    }
    return at - out;
}
