#ifndef LAMINA_CPU_H
#define LAMINA_CPU_H
#include "error.h"

#include "cdef/cpu.h"
#endif
