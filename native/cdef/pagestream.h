/* The records of a pagemap image behind its head record: pagemap_entry, each after its 32-bit length (docs/image-format.md). The one
   image that can have millions of records, so the one that is not left to the protobuf library. The input is untrusted. */

enum {
    LM_PE_PARENT = 1,    /* the content is in the parent's images */
    LM_PE_LAZY = 2,      /* may be fetched on demand */
    LM_PE_PRESENT = 4,   /* the content is in this layer's pages file */
    LM_PAGESTREAM_MAX_RECORD = 44 /* bytes of the longest record lm_pagestream_encode writes, its length included */
};

/* Records in `size` bytes at `data`. Fails (errnum 0, object = offset of the record) if a length runs past the end. */
int64_t lm_pagestream_count(const uint8_t *data, uint64_t size, lm_error *err);

/* Decode at most `room` records into three arrays; returns how many. Refuses, with the offset of the record in err->object: an unknown
   field or flag (a newer format would be misread), a missing address or count, an address that is not a multiple of `page_size`, a run
   of no pages, a run that begins before the end of the one before it, or one that ends beyond 2^63.
   Reads what old and new writers mean: no nr_pages means compat_nr_pages; in_parent means LM_PE_PARENT; no flags at all means
   LM_PE_PRESENT; LM_PE_PARENT wins over LM_PE_PRESENT. */
int64_t lm_pagestream_decode(const uint8_t *data, uint64_t size, uint64_t page_size, uint64_t room, uint64_t *vaddr, uint64_t *pages,
                             uint32_t *flags, lm_error *err);

/* Encode `count` records into `out`, which holds `room` bytes (count * LM_PAGESTREAM_MAX_RECORD is enough); returns the bytes written.
   Every record has vaddr, compat_nr_pages, flags and nr_pages, and in_parent where LM_PE_PARENT is set. */
int64_t lm_pagestream_encode(const uint64_t *vaddr, const uint64_t *pages, const uint32_t *flags, uint64_t count, uint8_t *out,
                             uint64_t room, lm_error *err);
