/* Who owns each page of an address space (core/image/owners.py): the maps of a layer and its ancestors, read side by side. */

/* The map of one layer: `count` runs as lm_pagestream_decode gives them (ascending, disjoint, none beyond 2^63). */
typedef struct {
    const uint64_t *vaddr;   /* first byte of each run */
    const uint64_t *pages;   /* its length, in pages */
    const uint32_t *flags;   /* LM_PE_* */
    uint64_t count;
} lm_owner_map;

enum {
    LM_OWNED_DATA = 0,       /* the owner's pages file has it */
    LM_OWNED_NOWHERE = 1,    /* the owner's map names it without data */
    LM_OWNED_MISSING = 2     /* all layers above leave it to the owner, whose map lacks it; owner == count of layers: they left it to no one */
};
enum { LM_OWNERS_MAX = 4096 };

/* Every page that maps[0] knows, as pieces in ascending order; neighbours of one owner and kind are joined. maps[n + 1] is that of the
   parent of maps[n]. Four columns with room for `room` pieces; one for each beginning and end of a run, plus one, is enough. `offsets`:
   where a piece of kind LM_OWNED_DATA begins in its owner's pages file, which has the present runs end to end; else 0.
   Returns how many pieces there are. One pass over all runs with a heap of layers: (runs × log layers), however many bytes they are. */
int64_t lm_owners_resolve(const lm_owner_map *maps, uint64_t layers, uint64_t page_size, uint64_t room, uint64_t *starts, uint64_t *ends,
                          uint64_t *offsets, uint16_t *owners, uint8_t *kinds, lm_error *err);

/* Pieces with data of one address space, as lm_owners_resolve gives them: ascending, disjoint. */
typedef struct {
    const uint64_t *starts, *ends, *offsets;
    const uint16_t *owners;
    uint64_t count;
} lm_owner_pieces;

enum {
    LM_PIECE_GONE = 0,       /* only in `a` */
    LM_PIECE_ADDED = 1,      /* only in `b` */
    LM_PIECE_SAME = 2,       /* the same bytes of the same file */
    LM_PIECE_OTHER = 3       /* different places: the contents may differ */
};

/* Two such address spaces, whose owners are numbered alike, side by side. Pieces are as long as they can be: neighbours are joined, but those
   of LM_PIECE_OTHER only where both sides go on without a gap. `at_a` and `at_b`: the index of the piece of each side that a piece of
   LM_PIECE_OTHER lies in. Room for 2 × (a.count + b.count) is enough. Returns how many there are. */
int64_t lm_owners_compare(const lm_owner_pieces *a, const lm_owner_pieces *b, uint64_t room, uint64_t *starts, uint64_t *ends,
                          uint8_t *kinds, uint32_t *at_a, uint32_t *at_b, lm_error *err);
