// What Sluice needs of the compiler's flags, said in one sentence where it is missing. Every header
// comes to include this one before its own first line, and the compiler stops here: what would
// follow is a page of errors about concepts, typeid or try.
//
// Owner:  none; no code.
// Thread: none.
// Bound:  none.
// Errors: #error, and then an include of a file that is not there: an #error alone does not stop
//         g++ or clang.
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
