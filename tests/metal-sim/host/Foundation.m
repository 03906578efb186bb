// The part of Foundation that the Metal backend of ggml uses: strings, numbers, collections, errors, locks.
#import <Foundation/Foundation.h>

#include <pthread.h>
#include <stdarg.h>

NSString * const NSLocalizedDescriptionKey = @"NSLocalizedDescription";

@implementation NSObject

+ (id)alloc {
    return objc_alloc((Class) self);
}

+ (id)new {
    return [[self alloc] init];
}

+ (Class) class {
    return (Class) self;
}

- (Class) class {
    return object_getClass(self);
}

- (id)init {
    return self;
}

- (id)copy {
    return [self retain];
}

- (void)dealloc {
    objc_free_instance(self);
}

- (id)retain {
    return objc_retain(self);
}

- (void)release {
    objc_release(self);
}

- (id)autorelease {
    return objc_autorelease(self);
}

- (NSUInteger)retainCount {
    return objc_retain_count(self);
}

- (BOOL)isKindOfClass:(Class)cls {
    return class_isSubclass(object_getClass(self), cls);
}

- (BOOL)respondsToSelector:(SEL)selector {
    return class_hasMethod(object_getClass(self), selector);
}

- (BOOL)isEqual:(id)other {
    return self == other;
}

- (NSUInteger)hash {
    return (NSUInteger) self >> 4;
}

- (NSString *)description {
    return [NSString stringWithUTF8String:class_getName(object_getClass(self))];
}

@end

//
// Strings
//

// Text that grows.
struct text {
    char * characters;
    size_t length;
    size_t room;
};

static void text_add(struct text * text, const char * characters, size_t length) {
    if (text->length + length + 1 > text->room) {
        text->room = 2 * (text->length + length + 1);
        text->characters = realloc(text->characters, text->room);
    }
    memcpy(text->characters + text->length, characters, length);
    text->length += length;
    text->characters[text->length] = 0;
}

// Formats like printf, and %@. Each conversion is handed to snprintf by itself, so that %@ can be among them.
static struct text text_with_format(const char * format, va_list arguments) {
    struct text text = {0};
    text_add(&text, "", 0);
    va_list rest;
    va_copy(rest, arguments);
    while (*format) {
        const size_t plain = strcspn(format, "%");
        text_add(&text, format, plain);
        format += plain;
        if (!*format) {
            break;
        }
        if (format[1] == '%') {
            text_add(&text, "%", 1);
            format += 2;
            continue;
        }
        char conversion[64];
        size_t n = 1 + strspn(format + 1, "-+ #0123456789.*hljzt");
        if (n + 2 > sizeof(conversion)) {
            break;
        }
        const char kind = format[n];
        memcpy(conversion, format, n + 1);
        conversion[n + 1] = 0;
        format += n + (kind != 0);

        // a width or precision given as an argument
        int stars[2] = {0, 0};
        int n_stars = 0;
        for (const char * c = conversion; *c && n_stars < 2; ++c) {
            if (*c == '*') {
                stars[n_stars++] = va_arg(rest, int);
            }
        }
        const bool is_long = strpbrk(conversion, "ljzt") != NULL;
        char * piece = NULL;
        int length = 0;
#define PRINT(value)                                                                            \
    (n_stars == 0   ? asprintf(&piece, conversion, value)                                       \
     : n_stars == 1 ? asprintf(&piece, conversion, stars[0], value)                             \
                    : asprintf(&piece, conversion, stars[0], stars[1], value))
        switch (kind) {
            case '@': {
                NSString * description = [va_arg(rest, id) description];
                const char * characters = description ? description.UTF8String : "(null)";
                text_add(&text, characters, strlen(characters));
                break;
            }
            case 'd': case 'i': case 'u': case 'x': case 'X': case 'o': case 'c':
                length = is_long ? PRINT(va_arg(rest, long)) : PRINT(va_arg(rest, int));
                break;
            case 'e': case 'E': case 'f': case 'F': case 'g': case 'G': case 'a': case 'A':
                length = PRINT(va_arg(rest, double));
                break;
            case 's': length = PRINT(va_arg(rest, const char *)); break;
            case 'p': length = PRINT(va_arg(rest, void *)); break;
            default:
                fprintf(stderr, "metal-sim: stringWithFormat: does not know '%s'\n", conversion);
                abort();
        }
#undef PRINT
        if (piece) {
            text_add(&text, piece, (size_t) length);
            free(piece);
        }
    }
    va_end(rest);
    return text;
}

@implementation NSString

+ (id)stringWithUTF8String:(const char *)characters {
    return [[[self alloc] initWithUTF8String:characters] autorelease];
}

+ (id)stringWithCString:(const char *)characters encoding:(NSStringEncoding)encoding {
    return [self stringWithUTF8String:characters];
}

+ (id)stringWithFormat:(NSString *)format, ... {
    va_list arguments;
    va_start(arguments, format);
    struct text text = text_with_format(format.UTF8String, arguments);
    va_end(arguments);
    NSString * string = [[self alloc] initWithBytes:text.characters length:text.length encoding:NSUTF8StringEncoding];
    free(text.characters);
    return [string autorelease];
}

- (id)initWithBytes:(const void *)bytes length:(NSUInteger)length encoding:(NSStringEncoding)encoding {
    _characters = malloc(length + 1);
    memcpy(_characters, bytes, length);
    _characters[length] = 0;
    _length = length;
    return self;
}

- (id)initWithUTF8String:(const char *)characters {
    return [self initWithBytes:characters length:strlen(characters) encoding:NSUTF8StringEncoding];
}

- (void)dealloc {
    free(_characters);
    [super dealloc];
}

- (NSUInteger)length {
    return _length;
}

- (const char *)UTF8String {
    return _characters ? _characters : "";
}

- (int)intValue {
    return atoi(self.UTF8String);
}

- (NSString *)description {
    return self;
}

- (BOOL)isEqualToString:(NSString *)other {
    return other && strcmp(self.UTF8String, other.UTF8String) == 0;
}

- (BOOL)isEqual:(id)other {
    return [other isKindOfClass:[NSString class]] && [self isEqualToString:other];
}

- (NSUInteger)hash {
    NSUInteger hash = 5381;
    for (const char * c = self.UTF8String; *c; ++c) {
        hash = hash * 33 + (unsigned char) *c;
    }
    return hash;
}

- (BOOL)hasPrefix:(NSString *)other {
    return strncmp(self.UTF8String, other.UTF8String, other.length) == 0;
}

- (BOOL)containsString:(NSString *)other {
    return strstr(self.UTF8String, other.UTF8String) != NULL;
}

@end

// The class of literals: the compiler refers to it by the second name.
@interface NSConstantString : NSString
@end

@implementation NSConstantString
@end

__asm__(".globl __CFConstantStringClassReference\n"
        ".set __CFConstantStringClassReference, OBJC_CLASS_$_NSConstantString\n");

@implementation NSMutableString

- (void)appendString:(NSString *)other {
    _characters = realloc(_characters, _length + other.length + 1);
    memcpy(_characters + _length, other.UTF8String, other.length);
    _length += other.length;
    _characters[_length] = 0;
}

- (id)copy {
    return [[NSString alloc] initWithBytes:self.UTF8String length:_length encoding:NSUTF8StringEncoding];
}

@end

void NSLog(NSString * format, ...) {
    va_list arguments;
    va_start(arguments, format);
    struct text text = text_with_format(format.UTF8String, arguments);
    va_end(arguments);
    fprintf(stderr, "%s\n", text.characters);
    free(text.characters);
}

//
// Numbers
//

@implementation NSNumber

static NSNumber * integer_number(int64_t value) {
    NSNumber * number = [[NSNumber new] autorelease];
    number->_integer = value;
    number->_real = (double) value;
    return number;
}

+ (id)numberWithBool:(BOOL)value {
    return integer_number(value);
}

+ (id)numberWithInt:(int)value {
    return integer_number(value);
}

+ (id)numberWithUnsignedInt:(unsigned)value {
    return integer_number(value);
}

+ (id)numberWithLong:(long)value {
    return integer_number(value);
}

+ (id)numberWithUnsignedLong:(unsigned long)value {
    return integer_number((int64_t) value);
}

+ (id)numberWithLongLong:(long long)value {
    return integer_number(value);
}

+ (id)numberWithInteger:(NSInteger)value {
    return integer_number(value);
}

+ (id)numberWithDouble:(double)value {
    NSNumber * number = integer_number((int64_t) value);
    number->_real = value;
    number->_isReal = YES;
    return number;
}

- (BOOL)boolValue {
    return _real != 0;
}

- (int)intValue {
    return (int) _integer;
}

- (NSInteger)integerValue {
    return _integer;
}

- (double)doubleValue {
    return _real;
}

- (BOOL)isEqual:(id)other {
    return [other isKindOfClass:[NSNumber class]] && [other doubleValue] == _real;
}

- (NSUInteger)hash {
    return (NSUInteger) _integer;
}

- (NSString *)description {
    if (_isReal) {
        return [NSString stringWithFormat:@"%g", _real];
    }
    return [NSString stringWithFormat:@"%lld", (long long) _integer];
}

@end

//
// Collections
//

@implementation NSArray

static void array_add(NSArray * array, id object) {
    if (array->_count == array->_room) {
        array->_room = 2 * array->_room + 8;
        array->_objects = realloc(array->_objects, array->_room * sizeof(id));
    }
    array->_objects[array->_count++] = [object retain];
    ++array->_changes;
}

+ (id)array {
    return [[self new] autorelease];
}

+ (id)arrayWithObjects:(const id *)objects count:(NSUInteger)count {
    NSArray * array = [self array];
    for (NSUInteger i = 0; i < count; ++i) {
        array_add(array, objects[i]);
    }
    return array;
}

- (void)dealloc {
    for (NSUInteger i = 0; i < _count; ++i) {
        [_objects[i] release];
    }
    free(_objects);
    [super dealloc];
}

- (NSUInteger)count {
    return _count;
}

- (id)objectAtIndex:(NSUInteger)index {
    if (index >= _count) {
        fprintf(stderr, "metal-sim: index %lu of an array of %lu\n", index, _count);
        abort();
    }
    return _objects[index];
}

- (id)objectAtIndexedSubscript:(NSUInteger)index {
    return [self objectAtIndex:index];
}

- (BOOL)containsObject:(id)object {
    for (NSUInteger i = 0; i < _count; ++i) {
        if ([_objects[i] isEqual:object]) {
            return YES;
        }
    }
    return NO;
}

- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState *)state
                                  objects:(id *)room
                                    count:(NSUInteger)count {
    if (state->state) {
        return 0;
    }
    state->state = 1;
    state->itemsPtr = _objects;
    state->mutationsPtr = &_changes;
    return _count;
}

@end

@implementation NSMutableArray

- (id)copy {
    return [[NSArray arrayWithObjects:_objects count:_count] retain];
}

- (void)addObject:(id)object {
    array_add(self, object);
}

- (void)removeObject:(id)object {
    NSUInteger kept = 0;
    for (NSUInteger i = 0; i < _count; ++i) {
        if ([_objects[i] isEqual:object]) {
            [_objects[i] release];
        } else {
            _objects[kept++] = _objects[i];
        }
    }
    _count = kept;
    ++_changes;
}

- (void)removeAllObjects {
    // the array is empty before the first -dealloc runs, which may look at it
    id * objects = _objects;
    const NSUInteger count = _count;
    _objects = NULL;
    _count = _room = 0;
    ++_changes;
    for (NSUInteger i = 0; i < count; ++i) {
        [objects[i] release];
    }
    free(objects);
}

@end

@implementation NSDictionary

// Where a key is or would be put.
static NSUInteger dictionary_slot(id * keys, NSUInteger room, id key) {
    NSUInteger slot = [key hash] % room;
    while (keys[slot] && ![keys[slot] isEqual:key]) {
        slot = (slot + 1) % room;
    }
    return slot;
}

static void dictionary_set(NSDictionary * dictionary, id object, id key) {
    if (2 * (dictionary->_count + 1) > dictionary->_room) {
        const NSUInteger room = 2 * dictionary->_room + 16;
        id * keys = calloc(room, sizeof(id));
        id * values = calloc(room, sizeof(id));
        for (NSUInteger i = 0; i < dictionary->_room; ++i) {
            if (dictionary->_keys[i]) {
                const NSUInteger slot = dictionary_slot(keys, room, dictionary->_keys[i]);
                keys[slot] = dictionary->_keys[i];
                values[slot] = dictionary->_values[i];
            }
        }
        free(dictionary->_keys);
        free(dictionary->_values);
        dictionary->_keys = keys;
        dictionary->_values = values;
        dictionary->_room = room;
    }
    const NSUInteger slot = dictionary_slot(dictionary->_keys, dictionary->_room, key);
    if (!dictionary->_keys[slot]) {
        dictionary->_keys[slot] = [key copy];
        ++dictionary->_count;
    }
    [object retain];
    [dictionary->_values[slot] release];
    dictionary->_values[slot] = object;
}

+ (id)dictionary {
    return [[self new] autorelease];
}

+ (id)dictionaryWithObjects:(const id *)objects forKeys:(const id *)keys count:(NSUInteger)count {
    NSDictionary * dictionary = [self dictionary];
    for (NSUInteger i = 0; i < count; ++i) {
        dictionary_set(dictionary, objects[i], keys[i]);
    }
    return dictionary;
}

- (void)dealloc {
    for (NSUInteger i = 0; i < _room; ++i) {
        [_keys[i] release];
        [_values[i] release];
    }
    free(_keys);
    free(_values);
    [super dealloc];
}

- (NSUInteger)count {
    return _count;
}

- (id)objectForKey:(id)key {
    if (_room == 0) {
        return nil;
    }
    return _values[dictionary_slot(_keys, _room, key)];
}

- (id)objectForKeyedSubscript:(id)key {
    return [self objectForKey:key];
}

// Gives the keys, as many at a time as there is room for.
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState *)state
                                  objects:(id *)room
                                    count:(NSUInteger)count {
    NSUInteger given = 0;
    while (state->state < _room && given < count) {
        id key = _keys[state->state++];
        if (key) {
            room[given++] = key;
        }
    }
    state->itemsPtr = room;
    state->mutationsPtr = &_count;
    return given;
}

@end

@implementation NSMutableDictionary

- (id)copy {
    NSDictionary * copy = [NSDictionary new];
    for (id key in self) {
        dictionary_set(copy, [self objectForKey:key], key);
    }
    return copy;
}

- (void)setObject:(id)object forKey:(id)key {
    dictionary_set(self, object, key);
}

- (void)setObject:(id)object forKeyedSubscript:(id)key {
    dictionary_set(self, object, key);
}

@end

@implementation NSSet

+ (id)set {
    return [[self new] autorelease];
}

+ (id)setWithArray:(NSArray *)array {
    NSSet * set = [self set];
    for (id object in array) {
        [set->_members setObject:object forKey:object];
    }
    return set;
}

- (id)init {
    _members = [NSMutableDictionary new];
    return self;
}

- (void)dealloc {
    [_members release];
    [super dealloc];
}

- (NSUInteger)count {
    return _members.count;
}

- (BOOL)containsObject:(id)object {
    return [_members objectForKey:object] != nil;
}

@end

@implementation NSMutableSet

- (void)addObject:(id)object {
    [_members setObject:object forKey:object];
}

@end

//
// The rest
//

@implementation NSError

+ (id)errorWithDomain:(NSString *)domain code:(NSInteger)code userInfo:(NSDictionary *)info {
    NSError * error = [[NSError new] autorelease];
    error->_domain = [domain copy];
    error->_code = code;
    error->_userInfo = [info copy];
    return error;
}

- (void)dealloc {
    [_domain release];
    [_userInfo release];
    [super dealloc];
}

- (NSString *)domain {
    return _domain;
}

- (NSInteger)code {
    return _code;
}

- (NSDictionary *)userInfo {
    return _userInfo;
}

- (NSString *)localizedDescription {
    NSString * text = [_userInfo objectForKey:NSLocalizedDescriptionKey];
    return text ? text : [NSString stringWithFormat:@"%@ error %ld", _domain, (long) _code];
}

- (NSString *)description {
    return [NSString stringWithFormat:@"Error Domain=%@ Code=%ld \"%@\"", _domain, (long) _code,
                                      self.localizedDescription];
}

@end

@implementation NSLock

- (id)init {
    pthread_mutex_t * mutex = malloc(sizeof(*mutex));
    pthread_mutex_init(mutex, NULL);
    _mutex = mutex;
    return self;
}

- (void)dealloc {
    pthread_mutex_destroy(_mutex);
    free(_mutex);
    [super dealloc];
}

- (void)lock {
    pthread_mutex_lock(_mutex);
}

- (void)unlock {
    pthread_mutex_unlock(_mutex);
}

@end

@implementation NSURL

+ (id)fileURLWithPath:(NSString *)path {
    NSURL * url = [[NSURL new] autorelease];
    url->_path = [path copy];
    return url;
}

- (void)dealloc {
    [_path release];
    [super dealloc];
}

- (NSString *)path {
    return _path;
}

@end
