#include "sluice/tests/model/fiber.h"

#include <cstdint>
#include <utility>

#if defined(__x86_64__) && !defined(SLUICE_MODEL_UCONTEXT)
#define SLUICE_MODEL_ASM 1
#else
#define SLUICE_MODEL_ASM 0
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SLUICE_MODEL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLUICE_MODEL_ASAN 1
#endif
#endif
#ifndef SLUICE_MODEL_ASAN
#define SLUICE_MODEL_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define SLUICE_MODEL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLUICE_MODEL_TSAN 1
#endif
#endif
#ifndef SLUICE_MODEL_TSAN
#define SLUICE_MODEL_TSAN 0
#endif

#if SLUICE_MODEL_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if SLUICE_MODEL_TSAN
extern "C" void* __tsan_get_current_fiber();
extern "C" void* __tsan_create_fiber(unsigned flags);
extern "C" void __tsan_destroy_fiber(void* fiber);
extern "C" void __tsan_switch_to_fiber(void* fiber, unsigned flags);
#endif

#if SLUICE_MODEL_ASM
// What the System V ABI says a callee keeps, but for the floating-point control words: nobody
// changes them here.
extern "C" void sluice_model_switch(void** save_stack, void* load_stack);
asm(R"(
.text
.globl sluice_model_switch
.type sluice_model_switch,@function
sluice_model_switch:
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
.size sluice_model_switch,.-sluice_model_switch
)");
#endif

namespace sluice::model {

namespace {
Fiber* entering = nullptr;  // The one that Main() belongs to.
}  // namespace

struct Fiber::Context {
#if SLUICE_MODEL_ASM
  void* inside = nullptr;
  void* outside = nullptr;
#else
  ucontext_t inside;
  ucontext_t outside;
#endif
#if SLUICE_MODEL_ASAN
  void* fake_outside = nullptr;
#endif
#if SLUICE_MODEL_TSAN
  void* tsan_inside = nullptr;
  void* tsan_outside = nullptr;
#endif
};

Fiber::Fiber(std::function<void()> body)
    : body_(std::move(body)), stack_(new char[kStackBytes]), context_(std::make_unique<Context>()) {
  Prepare();
}

void Fiber::Prepare() {
#if SLUICE_MODEL_ASM
  uintptr_t top = reinterpret_cast<uintptr_t>(stack_.get()) + kStackBytes;
  top &= ~uintptr_t{15};
  void** place = reinterpret_cast<void**>(top);
  *--place = nullptr;  // Where Main() would return to; and so aligned as after a call.
  *--place = reinterpret_cast<void*>(&Fiber::Main);
  for (int i = 0; i < 6; ++i) *--place = nullptr;
  context_->inside = place;
#else
  getcontext(&context_->inside);
  context_->inside.uc_stack.ss_sp = stack_.get();
  context_->inside.uc_stack.ss_size = kStackBytes;
  context_->inside.uc_link = nullptr;
  makecontext(&context_->inside, &Fiber::Main, 0);
#endif
#if SLUICE_MODEL_TSAN
  context_->tsan_inside = __tsan_create_fiber(0);
#endif
}

void Fiber::Abandon() {
#if SLUICE_MODEL_ASAN
  // The frames that will not return.
#if SLUICE_MODEL_ASM
  char* const used = static_cast<char*>(context_->inside);
#else
  char* const used = stack_.get();
#endif
  __asan_unpoison_memory_region(used, static_cast<size_t>(stack_.get() + kStackBytes - used));
#endif
#if SLUICE_MODEL_TSAN
  __tsan_destroy_fiber(context_->tsan_inside);
#endif
  Prepare();
}

Fiber::~Fiber() {
  Abandon();
#if SLUICE_MODEL_TSAN
  __tsan_destroy_fiber(context_->tsan_inside);
#endif
}

void Fiber::Resume() { SwitchIn(); }
void Fiber::Yield() { SwitchOut(); }

void Fiber::Main() {
  Fiber* const self = entering;
  for (;;) {
    self->body_();
    self->SwitchOut();
  }
}

void Fiber::SwitchIn() {
  Context& context = *context_;
  entering = this;
#if SLUICE_MODEL_TSAN
  context.tsan_outside = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(context.tsan_inside, 0);
#endif
#if SLUICE_MODEL_ASAN
  __sanitizer_start_switch_fiber(&context.fake_outside, stack_.get(), kStackBytes);
#endif
#if SLUICE_MODEL_ASM
  sluice_model_switch(&context.outside, context.inside);
#else
  swapcontext(&context.outside, &context.inside);
#endif
#if SLUICE_MODEL_ASAN
  __sanitizer_finish_switch_fiber(context.fake_outside, nullptr, nullptr);
#endif
}

void Fiber::SwitchOut() {
  Context& context = *context_;
#if SLUICE_MODEL_TSAN
  __tsan_switch_to_fiber(context.tsan_outside, 0);
#endif
#if SLUICE_MODEL_ASAN
  // The way in is finished on the way out: until then AddressSanitizer keeps no fake stack, which
  // the frames that are abandoned would fill (four times slower).
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  __sanitizer_start_switch_fiber(nullptr, bottom, bytes);
#endif
#if SLUICE_MODEL_ASM
  sluice_model_switch(&context.inside, context.outside);
#else
  swapcontext(&context.inside, &context.outside);
#endif
}

}  // namespace sluice::model
