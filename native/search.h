#ifndef LAMINA_SEARCH_H
#define LAMINA_SEARCH_H
#include <stdint.h>

#include "cdef/search.h"
#endif
