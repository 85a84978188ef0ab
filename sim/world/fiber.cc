#include "sluice/sim/world/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include "sluice/core/base/check.h"

#if defined(__x86_64__) && !defined(SLUICE_FIBER_UCONTEXT)
#define SLUICE_FIBER_ASM 1
#else
#define SLUICE_FIBER_ASM 0
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SLUICE_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLUICE_FIBER_ASAN 1
#endif
#endif
#ifndef SLUICE_FIBER_ASAN
#define SLUICE_FIBER_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define SLUICE_FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLUICE_FIBER_TSAN 1
#endif
#endif
#ifndef SLUICE_FIBER_TSAN
#define SLUICE_FIBER_TSAN 0
#endif

#if SLUICE_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if SLUICE_FIBER_TSAN
extern "C" void* __tsan_get_current_fiber();
extern "C" void* __tsan_create_fiber(unsigned flags);
extern "C" void __tsan_destroy_fiber(void* fiber);
extern "C" void __tsan_switch_to_fiber(void* fiber, unsigned flags);
#endif

#if SLUICE_FIBER_ASM
// Saves what a callee must save by the System V ABI, except the floating-point control words, which
// nothing here changes.
extern "C" void sluice_fiber_switch(void** save_stack, void* load_stack);
asm(R"(
.text
.globl sluice_fiber_switch
.type sluice_fiber_switch,@function
sluice_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size sluice_fiber_switch,.-sluice_fiber_switch
)");
#endif

namespace sluice::sim {

namespace {

Fiber* entering = nullptr;  // The fiber that Main() belongs to.
constexpr size_t kGuardBytes = 4096;

char* NewStack(size_t bytes) {
  // Not from the allocator: untouched pages cost nothing, and one page is the guard.
  void* memory = mmap(nullptr, bytes + kGuardBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  SLUICE_CHECK(memory != MAP_FAILED, "no memory for a fiber's stack");
  SLUICE_CHECK(mprotect(memory, kGuardBytes, PROT_NONE) == 0);
  return static_cast<char*>(memory) + kGuardBytes;
}

}  // namespace

struct Fiber::Context {
#if SLUICE_FIBER_ASM
  void* inside = nullptr;
  void* outside = nullptr;
#else
  ucontext_t inside;
  ucontext_t outside;
#endif
#if SLUICE_FIBER_ASAN
  void* fake_outside = nullptr;
  void* fake_inside = nullptr;
  const void* outside_bottom = nullptr;
  size_t outside_bytes = 0;
#endif
#if SLUICE_FIBER_TSAN
  void* tsan_inside = nullptr;
  void* tsan_outside = nullptr;
#endif
};

Fiber::Fiber(std::function<void()> body, size_t stack_bytes, FakeFrames fake_frames)
    : body_(std::move(body)),
      stack_bytes_(stack_bytes),
      fake_frames_(fake_frames),
      stack_(NewStack(stack_bytes)),
      context_(std::make_unique<Context>()) {
  Prepare();
}

void Fiber::Prepare() {
#if SLUICE_FIBER_ASM
  uintptr_t top = reinterpret_cast<uintptr_t>(stack_) + stack_bytes_;
  top &= ~uintptr_t{15};
  void** place = reinterpret_cast<void**>(top);
  *--place = nullptr;  // Main()'s return address, never used; aligns the stack as after a call.
  *--place = reinterpret_cast<void*>(&Fiber::Main);
  for (int i = 0; i < 6; ++i) *--place = nullptr;
  context_->inside = place;
#else
  getcontext(&context_->inside);
  context_->inside.uc_stack.ss_sp = stack_;
  context_->inside.uc_stack.ss_size = stack_bytes_;
  context_->inside.uc_link = nullptr;
  makecontext(&context_->inside, &Fiber::Main, 0);
#endif
#if SLUICE_FIBER_TSAN
  context_->tsan_inside = __tsan_create_fiber(0);
#endif
}

void Fiber::Abandon() {
#if SLUICE_FIBER_ASAN
  // Unpoison the frames that will not return.
#if SLUICE_FIBER_ASM
  char* const used = static_cast<char*>(context_->inside);
#else
  char* const used = stack_;
#endif
  __asan_unpoison_memory_region(used, static_cast<size_t>(stack_ + stack_bytes_ - used));
#endif
#if SLUICE_FIBER_TSAN
  __tsan_destroy_fiber(context_->tsan_inside);
#endif
  Prepare();
}

Fiber::~Fiber() {
  Abandon();
#if SLUICE_FIBER_TSAN
  __tsan_destroy_fiber(context_->tsan_inside);
#endif
  munmap(stack_ - kGuardBytes, stack_bytes_ + kGuardBytes);
}

void Fiber::Resume() { SwitchIn(); }
void Fiber::Yield() { SwitchOut(/*returned=*/false); }

void Fiber::Main() {
  Fiber* const self = entering;
  self->Arrive();
  for (;;) {
    self->body_();
    self->SwitchOut(/*returned=*/true);
  }
}

void Fiber::SwitchIn() {
  Context& context = *context_;
  entering = this;
#if SLUICE_FIBER_TSAN
  context.tsan_outside = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(context.tsan_inside, 0);
#endif
#if SLUICE_FIBER_ASAN
  __sanitizer_start_switch_fiber(&context.fake_outside, stack_, stack_bytes_);
#endif
#if SLUICE_FIBER_ASM
  sluice_fiber_switch(&context.outside, context.inside);
#else
  swapcontext(&context.outside, &context.inside);
#endif
#if SLUICE_FIBER_ASAN
  __sanitizer_finish_switch_fiber(context.fake_outside, nullptr, nullptr);
#endif
}

void Fiber::SwitchOut([[maybe_unused]] bool returned) {
  Context& context = *context_;
#if SLUICE_FIBER_TSAN
  __tsan_switch_to_fiber(context.tsan_outside, 0);
#endif
#if SLUICE_FIBER_ASAN
  if (fake_frames_ == FakeFrames::kNone) {
    // Finishes the switch in only now, at the switch out. In between AddressSanitizer keeps no fake
    // stack: abandoned frames would fill it (four times slower).
    __sanitizer_finish_switch_fiber(nullptr, &context.outside_bottom, &context.outside_bytes);
  }
  __sanitizer_start_switch_fiber(
      fake_frames_ == FakeFrames::kKept && !returned ? &context.fake_inside : nullptr,
      context.outside_bottom, context.outside_bytes);
  if (returned) context.fake_inside = nullptr;
#endif
#if SLUICE_FIBER_ASM
  sluice_fiber_switch(&context.inside, context.outside);
#else
  swapcontext(&context.inside, &context.outside);
#endif
  Arrive();
}

void Fiber::Arrive() {
#if SLUICE_FIBER_ASAN
  if (fake_frames_ == FakeFrames::kKept) {
    __sanitizer_finish_switch_fiber(context_->fake_inside, &context_->outside_bottom,
                                    &context_->outside_bytes);
  }
#endif
}

}  // namespace sluice::sim
