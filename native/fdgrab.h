#ifndef LAMINA_FDGRAB_H
#define LAMINA_FDGRAB_H
#include <stdint.h>

#include "error.h"
#include "cdef/fdgrab.h"
#endif
