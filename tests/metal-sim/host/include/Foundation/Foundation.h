// The part of Foundation that the Metal backend of ggml uses; Foundation.m has it.
//
// Classes without an implementation are declared for code that the backend compiles but does not call when the kernel
// sources are embedded; to use one is an error at link time.
#pragma once

#include <TargetConditionals.h>
#include <inttypes.h>
#include <limits.h>
#include <mach/vm.h>
#include <objc/runtime.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef long NSInteger;
typedef unsigned long NSUInteger;
typedef double NSTimeInterval;
typedef double CFTimeInterval;

#define NS_ENUM(type, name) \
    enum name : type name;  \
    enum name : type
#define NS_OPTIONS(type, name) NS_ENUM(type, name)

typedef struct {
    NSUInteger location;
    NSUInteger length;
} NSRange;

static inline NSRange NSMakeRange(NSUInteger location, NSUInteger length) {
    NSRange range = {location, length};
    return range;
}

typedef NSUInteger NSStringEncoding;
enum { NSUTF8StringEncoding = 4 };

typedef struct {
    unsigned long state;
    id __unsafe_unretained * itemsPtr;
    unsigned long * mutationsPtr;
    unsigned long extra[5];
} NSFastEnumerationState;

@class NSArray, NSDictionary, NSError, NSString;

@protocol NSObject
- (id)retain;
- (void)release;
- (id)autorelease;
- (NSUInteger)retainCount;
- (Class) class;
- (BOOL)isKindOfClass:(Class)cls;
- (BOOL)respondsToSelector:(SEL)selector;
- (BOOL)isEqual:(id)other;
- (NSUInteger)hash;
- (NSString *)description;
@end

@protocol NSFastEnumeration
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState *)state
                                  objects:(id *)room
                                    count:(NSUInteger)count;
@end

__attribute__((objc_root_class)) @interface NSObject<NSObject> {
    Class isa;
    long _retainCount; // counted by the runtime
}
+ (id)alloc;
+ (id)new;
- (id)init;
- (id)copy; // of what cannot change: itself
- (void)dealloc;
@end

@interface NSString : NSObject {
  @public
    // the layout of string literals, which the compiler writes: isa, flags, characters, length
    char * _characters;
    NSUInteger _length; // bytes of UTF-8
}
@property(readonly) NSUInteger length;
@property(readonly) const char * UTF8String;
@property(readonly) int intValue;
+ (id)stringWithUTF8String:(const char *)characters;
+ (id)stringWithCString:(const char *)characters encoding:(NSStringEncoding)encoding;
+ (id)stringWithFormat:(NSString *)format, ...;
- (id)initWithBytes:(const void *)bytes length:(NSUInteger)length encoding:(NSStringEncoding)encoding;
- (id)initWithUTF8String:(const char *)characters;
- (BOOL)isEqualToString:(NSString *)other;
- (BOOL)hasPrefix:(NSString *)other;
- (BOOL)containsString:(NSString *)other;
@end

// not implemented
@interface NSString (NotImplemented)
+ (NSString *)stringWithContentsOfFile:(NSString *)path encoding:(NSStringEncoding)encoding error:(NSError **)error;
+ (NSString *)pathWithComponents:(NSArray *)components;
- (NSArray *)componentsSeparatedByString:(NSString *)separator;
- (NSString *)stringByTrimmingCharactersInSet:(id)set;
- (NSString *)stringByAppendingPathComponent:(NSString *)component;
- (NSString *)stringByAppendingPathExtension:(NSString *)extension;
- (NSString *)stringByDeletingLastPathComponent;
- (NSString *)stringByStandardizingPath;
- (NSString *)substringToIndex:(NSUInteger)index;
@end

@interface NSMutableString : NSString
- (void)appendString:(NSString *)other;
@end

@interface NSNumber : NSObject {
    int64_t _integer;
    double _real;
    BOOL _isReal;
}
@property(readonly) BOOL boolValue;
@property(readonly) int intValue;
@property(readonly) NSInteger integerValue;
@property(readonly) double doubleValue;
+ (id)numberWithBool:(BOOL)value;
+ (id)numberWithInt:(int)value;
+ (id)numberWithUnsignedInt:(unsigned)value;
+ (id)numberWithLong:(long)value;
+ (id)numberWithUnsignedLong:(unsigned long)value;
+ (id)numberWithLongLong:(long long)value;
+ (id)numberWithInteger:(NSInteger)value;
+ (id)numberWithDouble:(double)value;
@end

@interface NSArray<__covariant T> : NSObject<NSFastEnumeration> {
  @protected
    id * _objects;
    NSUInteger _count;
    NSUInteger _room;
    unsigned long _changes;
}
@property(readonly) NSUInteger count;
+ (id)array;
+ (id)arrayWithObjects:(const id *)objects count:(NSUInteger)count;
- (T)objectAtIndex:(NSUInteger)index;
- (T)objectAtIndexedSubscript:(NSUInteger)index;
- (BOOL)containsObject:(T)object;
@end

@interface NSMutableArray<T> : NSArray <T>
- (void)addObject:(T)object;
- (void)removeObject:(T)object;
- (void)removeAllObjects;
@end

@interface NSDictionary<__covariant K, __covariant V> : NSObject<NSFastEnumeration> {
  @protected
    id * _keys; // open addressing; nil where free
    id * _values;
    NSUInteger _count;
    NSUInteger _room;
}
@property(readonly) NSUInteger count;
+ (id)dictionary;
+ (id)dictionaryWithObjects:(const id *)objects forKeys:(const id *)keys count:(NSUInteger)count;
- (V)objectForKey:(K)key;
- (V)objectForKeyedSubscript:(K)key;
@end

@interface NSMutableDictionary<K, V> : NSDictionary <K, V>
- (void)setObject:(V)object forKey:(K)key;
- (void)setObject:(V)object forKeyedSubscript:(K)key;
@end

@interface NSSet<__covariant T> : NSObject {
  @protected
    NSMutableDictionary * _members;
}
@property(readonly) NSUInteger count;
+ (id)set;
+ (id)setWithArray:(NSArray<T> *)array;
- (BOOL)containsObject:(T)object;
@end

@interface NSMutableSet<T> : NSSet <T>
- (void)addObject:(T)object;
@end

@interface NSError : NSObject {
    NSString * _domain;
    NSInteger _code;
    NSDictionary * _userInfo;
}
@property(readonly) NSString * domain;
@property(readonly) NSInteger code;
@property(readonly) NSDictionary * userInfo;
@property(readonly) NSString * localizedDescription;
+ (id)errorWithDomain:(NSString *)domain code:(NSInteger)code userInfo:(NSDictionary *)info;
@end

@interface NSLock : NSObject {
    void * _mutex;
}
- (void)lock;
- (void)unlock;
@end

@interface NSURL : NSObject {
    NSString * _path;
}
@property(readonly) NSString * path;
+ (id)fileURLWithPath:(NSString *)path;
@end

// not implemented
@interface NSProcessInfo : NSObject
@property(readonly) NSArray<NSString *> * arguments;
@property(readonly) NSDictionary * environment;
+ (NSProcessInfo *)processInfo;
@end

// not implemented
@interface NSBundle : NSObject
+ (NSBundle *)bundleForClass:(Class)cls;
- (NSString *)pathForResource:(NSString *)name ofType:(NSString *)type;
@end

// not implemented
@interface NSFileManager : NSObject
+ (NSFileManager *)defaultManager;
- (BOOL)isReadableFileAtPath:(NSString *)path;
- (NSDictionary *)attributesOfItemAtPath:(NSString *)path error:(NSError **)error;
- (NSString *)destinationOfSymbolicLinkAtPath:(NSString *)path error:(NSError **)error;
@end

// not implemented
@interface NSCharacterSet : NSObject
+ (NSCharacterSet *)whitespaceCharacterSet;
@end

// not implemented
@interface NSScanner : NSObject
@property(nonatomic, copy) NSCharacterSet * charactersToBeSkipped;
+ (id)scannerWithString:(NSString *)string;
- (BOOL)scanString:(NSString *)string intoString:(NSString **)found;
- (BOOL)scanUpToString:(NSString *)string intoString:(NSString **)found;
@end

#ifdef __cplusplus
extern "C" {
#endif

extern NSString * const NSLocalizedDescriptionKey;
extern NSString * const NSFileType;             // not implemented
extern NSString * const NSFileTypeSymbolicLink; // not implemented

void NSLog(NSString * format, ...);

#ifdef __cplusplus
}
#endif
