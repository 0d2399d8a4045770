#ifndef LAMINA_PAGERECV_H
#define LAMINA_PAGERECV_H
#include "error.h"
#include "pageframe.h"

#include "cdef/pagerecv.h"
#endif
