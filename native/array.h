#ifndef LAMINA_ARRAY_H
#define LAMINA_ARRAY_H
#include "error.h"

#include "cdef/array.h"
#endif
