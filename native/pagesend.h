#ifndef LAMINA_PAGESEND_H
#define LAMINA_PAGESEND_H
#include "array.h"
#include "error.h"
#include "pageframe.h"

#include "cdef/pagesend.h"
#endif
