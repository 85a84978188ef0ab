// Checks the compiler flags that Sluice needs, and says in one sentence which is missing. Every
// header includes this one, directly or not, before its own first line, so the compiler stops here.
// Otherwise a page of errors about concepts, typeid or try would follow.
//
// Owner:  none; no code.
// Thread: none.
// Bound:  none.
// Errors: #error, and then an include of a missing file: an #error alone does not stop g++ or
//         clang.
#ifndef SLUICE_CORE_BASE_LANGUAGE_H_
#define SLUICE_CORE_BASE_LANGUAGE_H_

#if !defined(__cplusplus) || __cplusplus <= 201703L
#error "Sluice needs C++20: compile with -std=c++20 (Bazel: --cxxopt=-std=c++20 in .bazelrc)"
#include "the compiler stops here, because of the error above"
#elif !defined(__cpp_exceptions)
#error "Sluice needs exceptions, as one that leaves a handler ends its actor: no -fno-exceptions"
#include "the compiler stops here, because of the error above"
#elif !defined(__cpp_rtti)
#error "Sluice needs RTTI, as logs and names use the types of actors: compile without -fno-rtti"
#include "the compiler stops here, because of the error above"
#endif

#endif  // SLUICE_CORE_BASE_LANGUAGE_H_
