#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void fill(lm_error *err, int errnum, const char *where, int64_t object, const char *format, va_list args)
{
    if (!err)
        return;
    err->errnum = errnum;
    err->object = object;
    snprintf(err->where, sizeof err->where, "%s", where);
    vsnprintf(err->detail, sizeof err->detail, format, args);
}

int lm_fail(lm_error *err, const char *where, int64_t object, const char *format, ...)
{
    va_list args;
    int saved = errno;

    va_start(args, format);
    fill(err, saved, where, object, format, args);
    va_end(args);
    errno = saved;
    return -1;
}

int lm_refuse(lm_error *err, const char *where, int64_t object, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fill(err, 0, where, object, format, args);
    va_end(args);
    return -1;
}
