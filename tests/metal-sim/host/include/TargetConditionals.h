// What the sources are built for: macOS on this CPU.
#pragma once

#ifndef TARGET_OS_OSX
#define TARGET_OS_OSX 1
#endif

// Macs with GPUs that are not Apple's have Intel CPUs, so sources see an Intel Mac on any host unless told otherwise.
// With 0 they see an Apple Silicon Mac: residency sets are compiled in.
#ifndef TARGET_CPU_X86_64
#define TARGET_CPU_X86_64 1
#endif

#ifndef __MAC_OS_X_VERSION_MAX_ALLOWED
#define __MAC_OS_X_VERSION_MAX_ALLOWED 150000
#endif
