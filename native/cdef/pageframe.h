/* Frames of CRIU's page server: criu up to 4.1.1 has them in 24 bytes, 4.2 in 32. */
enum { LM_FRAME_24 = 24, LM_FRAME_32 = 32 };

/* Commands that carry pages or say where they are; the others are lamina.core.transfer.wire's. Flags of a run (CRIU's PE_*) are in the
   upper half of LM_FRAME_ADD_F. FORGET is lamina's own, and is only said between two laminas. */
enum { LM_FRAME_ADD = 1, LM_FRAME_HOLE = 2, LM_FRAME_ADD_F = 6, LM_FRAME_FORGET = 0x4c03 };
enum { LM_RUN_PARENT = 1, LM_RUN_LAZY = 2, LM_RUN_PRESENT = 4 };

typedef struct {
    uint32_t cmd;
    uint64_t pages, vaddr, dst_id;
} lm_frame;
