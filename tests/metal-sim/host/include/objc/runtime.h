// What the compiler calls, and what the classes of this folder need of the runtime; objc_runtime.cpp has it.
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct objc_class * Class;
typedef struct objc_object {
    Class isa;
} * id;
typedef struct objc_selector * SEL;
typedef bool BOOL;

#define YES ((BOOL) 1)
#define NO ((BOOL) 0)

#ifdef __cplusplus
#define nil nullptr
#define Nil nullptr
#else
#define nil ((void *) 0)
#define Nil ((void *) 0)
#endif

id objc_alloc(Class cls);
id objc_retain(id object);
void objc_release(id object);
id objc_autorelease(id object);
unsigned long objc_retain_count(id object);

// Destroys the C++ members of an object and frees it; the end of -dealloc.
void objc_free_instance(id object);

void * objc_autoreleasePoolPush(void);
void objc_autoreleasePoolPop(void * pool);

const char * class_getName(Class cls);
Class object_getClass(id object);
BOOL class_isSubclass(Class cls, Class of);
BOOL class_hasMethod(Class cls, SEL selector);

#ifdef __cplusplus
}
#endif
