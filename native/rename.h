#ifndef LAMINA_RENAME_H
#define LAMINA_RENAME_H
#include "error.h"

#include "cdef/rename.h"
#endif
