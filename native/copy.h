#ifndef LAMINA_COPY_H
#define LAMINA_COPY_H
#include "array.h"

#include "cdef/copy.h"
#endif
