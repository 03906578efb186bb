// Captures for Xcode: asked for, they are refused with an error, as macOS does without METAL_CAPTURE_ENABLED.
#include "device.h"

@interface SimCaptureScope : NSObject<MTLCaptureScope>
@end

@implementation SimCaptureScope

- (void)beginScope {
}

- (void)endScope {
}

@end

@implementation MTLCaptureDescriptor

- (void)dealloc {
    self.captureObject = nil;
    self.outputURL = nil;
    [super dealloc];
}

@end

@implementation MTLCaptureManager

+ (MTLCaptureManager *)sharedCaptureManager {
    static MTLCaptureManager * manager = [MTLCaptureManager new];
    return manager;
}

- (id<MTLCaptureScope>)newCaptureScopeWithDevice:(id<MTLDevice>)device {
    return [SimCaptureScope new];
}

- (BOOL)startCaptureWithDescriptor:(MTLCaptureDescriptor *)descriptor error:(NSError **)error {
    if (error) {
        *error = sim_error(@"MTLCaptureErrorDomain", 1, "the simulator has no captures");
    }
    return NO;
}

- (void)stopCapture {
}

@end
