// The Objective-C runtime, Foundation and libdispatch.
#include "harness.h"

#include <atomic>
#include <chrono>
#include <thread>

namespace {

struct Counted {
    static std::atomic<int> living;
    Counted() { ++living; }
    ~Counted() { --living; }
};
std::atomic<int> Counted::living = 0;

struct Slow {
    ~Slow() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }
};

} // namespace

@interface Thing : NSObject {
    Counted counted;
    std::string text;
}
- (MTLSize)size;
- (double)twice:(double)value;
@end

@implementation Thing

- (MTLSize)size {
    return MTLSizeMake(1, 2, 3);
}

- (double)twice:(double)value {
    return 2 * value;
}

@end

@interface SlowThing : Thing {
    Slow slow; // before what the superclass counts
}
@end

@implementation SlowThing
@end

TEST(messages) {
    Thing * thing = [Thing new];
    CHECK([thing size].height == 2); // returned in memory
    CHECK([thing twice:2.5] == 5.0); // in a floating-point register
    CHECK([thing isKindOfClass:[NSObject class]]);
    CHECK(![thing respondsToSelector:@selector(lock)]);
    [thing release];

    Thing * none = nil;
    CHECK([none twice:3] == 0.0);
    CHECK([none retain] == nil);
}

TEST_WITH(unknown_message, 134, "-[Thing lock] is not implemented") {
    [(id) [Thing new] lock];
}

TEST(retain_counts_and_members) {
    Thing * thing = [Thing new];
    CHECK(Counted::living == 1);
    @autoreleasepool {
        [[thing retain] autorelease];
        CHECK([thing retainCount] == 2);
    }
    CHECK([thing retainCount] == 1);
    [thing release];
    CHECK(Counted::living == 0);
}

TEST(blocks_retain_what_they_capture) {
    Thing * thing = [Thing new];
    __block int calls = 0;
    void (^block)(void) = Block_copy(^{
      CHECK([thing size].width == 1);
      ++calls;
    });
    CHECK([thing retainCount] == 2);
    block();
    Block_release(Block_copy(block));
    block();
    CHECK(calls == 2);
    Block_release(block);
    CHECK([thing retainCount] == 1);
    [thing release];
}

TEST(formats) {
    NSString * text =
        [NSString stringWithFormat:@"%s-%05d|%@|%.2f|%zu|%*d|%%", "a", 42, @"literal", 1.5, (size_t) 7, 4, 9];
    CHECK([text isEqualToString:@"a-00042|literal|1.50|7|   9|%"]);
    CHECK([@"Apple M5" containsString:@"M5"]);
}

TEST(dictionaries) {
    NSMutableDictionary * numbers = [NSMutableDictionary dictionary];
    for (int i = 0; i < 500; ++i) {
        numbers[[NSString stringWithFormat:@"key %d", i]] = @(i);
    }
    numbers[@"key 3"] = @(1003);
    CHECK(numbers.count == 500);
    int sum = 0;
    for (NSString * key in numbers) {
        sum += [numbers[key] intValue];
    }
    CHECK(sum == 499 * 500 / 2 + 1000);
    CHECK(numbers[@"key 500"] == nil);
}

TEST(arrays) {
    NSMutableArray * array = [[NSMutableArray alloc] init];
    Thing * thing = [Thing new];
    [array addObject:thing];
    for (int i = 0; i < 100; ++i) {
        [array addObject:@(i)];
    }
    CHECK([thing retainCount] == 2);
    [array removeObject:thing];
    [array removeObject:@(50)];
    CHECK(array.count == 99);
    CHECK([array[50] intValue] == 51);
    [array removeAllObjects];
    [array release];
    CHECK([thing retainCount] == 1);
    [thing release];
}

TEST(groups_and_queues) {
    __block int done = 0;
    NSLock * lock = [NSLock new];
    dispatch_group_t group = dispatch_group_create();
    for (int i = 0; i < 20; ++i) {
        dispatch_group_async(group, dispatch_get_global_queue(QOS_CLASS_DEFAULT, 0), ^{
          [lock lock];
          ++done;
          [lock unlock];
        });
    }
    dispatch_group_wait(group, DISPATCH_TIME_FOREVER);
    dispatch_release(group);
    CHECK(done == 20);
    [lock release];

    dispatch_queue_t serial = dispatch_queue_create("serial", DISPATCH_QUEUE_SERIAL);
    __block int next = 0;
    for (int i = 0; i < 50; ++i) {
        dispatch_async(serial, ^{
          next += next == i;
        });
    }
    dispatch_sync(serial, ^{});
    CHECK(next == 50);
    dispatch_release(serial);

    dispatch_semaphore_t semaphore = dispatch_semaphore_create(1);
    CHECK(dispatch_semaphore_wait(semaphore, DISPATCH_TIME_FOREVER) == 0);
    CHECK(dispatch_semaphore_wait(semaphore, dispatch_time(DISPATCH_TIME_NOW, NSEC_PER_MSEC)) != 0);
    dispatch_release(semaphore);
}

// Not when the thread ends, which whoever waits for the group cannot wait for. The destructor is slow, so that a thread that
// tells the group first is seen.
TEST(groups_wait_for_what_blocks_autorelease) {
    dispatch_queue_t queues[] = {dispatch_get_global_queue(QOS_CLASS_DEFAULT, 0),
                                 dispatch_queue_create("serial", DISPATCH_QUEUE_SERIAL)};
    for (dispatch_queue_t queue : queues) {
        dispatch_group_t group = dispatch_group_create();
        dispatch_group_async(group, queue, ^{
          [[SlowThing new] autorelease];
        });
        dispatch_group_wait(group, DISPATCH_TIME_FOREVER);
        CHECK(Counted::living == 0);
        @autoreleasepool {
            dispatch_apply(3, queue, ^(size_t) {
              [[SlowThing new] autorelease];
            });
        }
        CHECK(Counted::living == 0);
        dispatch_release(group);
    }
    dispatch_release(queues[1]);
}

// Static objects of the backend are destroyed when the main thread's own variables are gone.
TEST_WITH(pools_after_the_end_of_main, 0, "pool at exit: 1") {
    static struct AtExit {
        ~AtExit() {
            Thing * thing = [Thing new];
            @autoreleasepool {
                [[thing retain] autorelease];
            }
            fprintf(stderr, "pool at exit: %lu\n", (unsigned long) [thing retainCount]);
        }
    } at_exit;
    (void) at_exit;
}
