// What a kernel does that the processor does not allow: reads of addresses that are not mapped, integer division by 0.
#pragma once

namespace gpu {

// Installs the handlers, once for the process. Signals that do not come from kernels go where they went before.
void handle_signals();

// Gives this thread a stack for handlers, if it has none: a fibre's is too small, or is what overflowed.
void provide_signal_stack();

} // namespace gpu
