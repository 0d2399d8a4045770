#ifndef LAMINA_STANDIN_H
#define LAMINA_STANDIN_H
#include "error.h"
#include "cdef/standin.h"
#endif
