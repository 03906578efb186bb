// Allocation of pages, as the Mach kernel has it; memory.cpp has it, with guard pages.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int kern_return_t;
typedef unsigned int vm_map_t;
typedef uintptr_t vm_address_t;
typedef uintptr_t vm_size_t;

#define KERN_SUCCESS 0
#define KERN_INVALID_ADDRESS 1
#define KERN_NO_SPACE 3
#define VM_FLAGS_ANYWHERE 1

static inline vm_map_t mach_task_self(void) { return 0; }

kern_return_t vm_allocate(vm_map_t task, vm_address_t * address, vm_size_t size, int flags);
kern_return_t vm_deallocate(vm_map_t task, vm_address_t address, vm_size_t size);

#ifdef __cplusplus
}
#endif
