// The part of libdispatch that the Metal backend of ggml uses; dispatch.cpp has it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dispatch_object * dispatch_object_t;
typedef dispatch_object_t dispatch_queue_t;
typedef dispatch_object_t dispatch_queue_attr_t;
typedef dispatch_object_t dispatch_group_t;
typedef dispatch_object_t dispatch_semaphore_t;
typedef void (^dispatch_block_t)(void);
typedef uint64_t dispatch_time_t;

#define DISPATCH_TIME_NOW 0ull
#define DISPATCH_TIME_FOREVER (~0ull)
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_SEC 1000000000ull

#ifdef __APPLE__
// Where the sources are checked for macOS its own headers are there, and have these as names of an enumeration.
#include <sys/qos.h>
#else
#define QOS_CLASS_USER_INTERACTIVE 0x21
#define QOS_CLASS_USER_INITIATED 0x19
#define QOS_CLASS_DEFAULT 0x15
#define QOS_CLASS_UTILITY 0x11
#endif

// A queue without this attribute runs its blocks one after the other.
#define DISPATCH_QUEUE_SERIAL ((dispatch_queue_attr_t) 0)
#define DISPATCH_QUEUE_CONCURRENT ((dispatch_queue_attr_t) 1)

void dispatch_retain(dispatch_object_t object);
void dispatch_release(dispatch_object_t object);

dispatch_time_t dispatch_time(dispatch_time_t when, int64_t nanoseconds);

dispatch_queue_t dispatch_get_global_queue(intptr_t quality, uintptr_t flags);
dispatch_queue_t dispatch_queue_create(const char * label, dispatch_queue_attr_t attribute);
void dispatch_async(dispatch_queue_t queue, dispatch_block_t block);
void dispatch_sync(dispatch_queue_t queue, dispatch_block_t block);
void dispatch_apply(size_t count, dispatch_queue_t queue, void (^block)(size_t));

dispatch_group_t dispatch_group_create(void);
void dispatch_group_async(dispatch_group_t group, dispatch_queue_t queue, dispatch_block_t block);
intptr_t dispatch_group_wait(dispatch_group_t group, dispatch_time_t timeout);

dispatch_semaphore_t dispatch_semaphore_create(intptr_t value);
intptr_t dispatch_semaphore_wait(dispatch_semaphore_t semaphore, dispatch_time_t timeout);
intptr_t dispatch_semaphore_signal(dispatch_semaphore_t semaphore);

#ifdef __cplusplus
}
#endif
