#ifndef LAMINA_TRIAL_H
#define LAMINA_TRIAL_H
#include <stdint.h>

#include "error.h"
#include "cdef/trial.h"

#endif
