#ifndef LAMINA_COMPARE_H
#define LAMINA_COMPARE_H
#include "error.h"

#include "cdef/compare.h"
#endif
