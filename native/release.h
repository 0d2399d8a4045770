#ifndef LAMINA_RELEASE_H
#define LAMINA_RELEASE_H
#include <stdint.h>

#include "error.h"
#include "cdef/release.h"
#endif
