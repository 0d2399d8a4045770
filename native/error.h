#ifndef LAMINA_ERROR_H
#define LAMINA_ERROR_H
#include <stdint.h>

#include "cdef/error.h"

/* Fill *err from errno and return -1: `return lm_fail(err, "ptrace(SEIZE)", tid, "…")`. `err` may be NULL. */
int lm_fail(lm_error *err, const char *where, int64_t object, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for a failure that is not a system call's: errnum stays 0. */
int lm_refuse(lm_error *err, const char *where, int64_t object, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#endif
