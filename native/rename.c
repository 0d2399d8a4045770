#include "rename.h"

#include <fcntl.h>
#include <stdio.h>

int lm_rename_exchange(const char *one, const char *other, lm_error *err)
{
    if (renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) < 0)
        return lm_fail(err, "renameat2(RENAME_EXCHANGE)", 0, "%s", "");
    return 0;
}

int lm_rename_new(const char *from, const char *to, lm_error *err)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
        return lm_fail(err, "renameat2(RENAME_NOREPLACE)", 0, "%s", "");
    return 0;
}
