// Faults says which faults happen in a simulation, and how often: chances in a million of the
// calls, segments or turns concerned. Each of them may happen on a real machine; docs/testing.md
// says where.
//
// Owner:  a value; the owner of a Simulation may change its faults while it runs.
#ifndef SLUICE_SIM_WORLD_FAULTS_H_
#define SLUICE_SIM_WORLD_FAULTS_H_

#include <cstdint>

#include "sluice/core/base/language.h"

namespace sluice::sim {

struct Faults {
  // At a system call in the middle of a turn, another thread runs first.
  uint32_t preempt = 20'000;
  // A segment carries a single byte; a segment carries a random part of the bytes.
  uint32_t one_byte_segment = 20'000;
  uint32_t part_segment = 300'000;
  // A send takes only a part of its bytes, or none (EAGAIN), though there is room.
  uint32_t short_send = 50'000;
  uint32_t refused_send = 20'000;
  // An event for a descriptor on which nothing has changed.
  uint32_t spurious_event = 10'000;
  // A wait reports only some of the pending events; the next wait reports the others.
  uint32_t few_events = 50'000;
  // Per segment: a reset arrives in its place; or nothing of this connection arrives any more.
  uint32_t reset = 0;
  uint32_t vanish = 0;
  // A call that makes a descriptor fails with EMFILE, ENFILE, ENOBUFS or ENOMEM.
  uint32_t no_descriptor = 0;
  // A connect fails at once (ENETUNREACH), or its peer never answers (time-out).
  uint32_t unreachable = 0;
  uint32_t lost_connect = 0;
  // No name server answers a look-up (EAGAIN, after 5 s).
  uint32_t lost_lookup = 0;
  // A thread cannot be started (EAGAIN).
  uint32_t no_thread = 0;
  // A block of a file is not in memory when it is looked for first; a disk cannot read one (EIO).
  uint32_t cold_file = 300'000;
  uint32_t unreadable_file = 0;
  // Shortest and longest time that a segment travels, in nanoseconds.
  int64_t delay_ns_min = 10'000;
  int64_t delay_ns_max = 400'000;
  // True: the news that a closed window is open again travels as long as a segment. False: it
  // arrives at once.
  bool windows_travel = false;

  // No faults: every call does all that it can. For measuring, and for a first look.
  static Faults None() {
    Faults faults;
    faults.preempt = faults.one_byte_segment = faults.part_segment = faults.short_send =
        faults.refused_send = faults.spurious_event = faults.few_events = faults.cold_file = 0;
    return faults;
  }
  // Harmful faults on top of the usual ones: resets, lost peers, no descriptors.
  static Faults Harsh() {
    Faults faults;
    faults.preempt = 100'000;
    faults.reset = 2'000;
    faults.vanish = 500;
    faults.no_descriptor = 5'000;
    faults.unreadable_file = 1'000;
    faults.unreachable = faults.lost_connect = faults.lost_lookup = 5'000;
    return faults;
  }
};

// The chances by name, for flags and for leaving each out in turn.
struct FaultName {
  const char* name;
  uint32_t Faults::*chance;
};
inline constexpr FaultName kFaultNames[] = {
    {"preempt", &Faults::preempt},
    {"one_byte_segment", &Faults::one_byte_segment},
    {"part_segment", &Faults::part_segment},
    {"short_send", &Faults::short_send},
    {"refused_send", &Faults::refused_send},
    {"spurious_event", &Faults::spurious_event},
    {"few_events", &Faults::few_events},
    {"reset", &Faults::reset},
    {"vanish", &Faults::vanish},
    {"no_descriptor", &Faults::no_descriptor},
    {"unreachable", &Faults::unreachable},
    {"lost_connect", &Faults::lost_connect},
    {"no_thread", &Faults::no_thread},
    {"lost_lookup", &Faults::lost_lookup},
    {"cold_file", &Faults::cold_file},
    {"unreadable_file", &Faults::unreadable_file},
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_FAULTS_H_
