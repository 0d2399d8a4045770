#ifndef LAMINA_PAGEMAP_H
#define LAMINA_PAGEMAP_H
#include "array.h"

#include "cdef/pagemap.h"
#endif
