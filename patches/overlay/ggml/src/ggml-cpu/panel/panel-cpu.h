// Which kernels the CPU that this runs on can use.
#pragma once

#include "panel-kernels.h"

// The fastest first, ended by null.
const panel_kernels * const * panel_kernels_of_this_cpu(void);
