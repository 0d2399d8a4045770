#ifndef LAMINA_UFFD_H
#define LAMINA_UFFD_H
#include "error.h"

#include "cdef/uffd.h"
#endif
